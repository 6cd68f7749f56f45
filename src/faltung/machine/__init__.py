"""What kernels run on: processors as data, and how this one is recognised."""
