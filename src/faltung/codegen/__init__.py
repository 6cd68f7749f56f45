"""How code is written: loops, vectors, masks and tiles over the text of LLVM IR."""
