"""The functions on NumPy arrays."""
