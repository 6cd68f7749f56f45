"""How code is kept: compiled, stored on disk, called."""
