"""What kernels run with: the thread team, and aligned memory."""
