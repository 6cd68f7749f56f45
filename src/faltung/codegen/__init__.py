"""How code is written: loops, vectors, masks and tiles as LLVM IR text."""
