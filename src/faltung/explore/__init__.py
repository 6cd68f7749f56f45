"""The explorer: one self-contained page that shows what a convolution is, and what computes it."""
