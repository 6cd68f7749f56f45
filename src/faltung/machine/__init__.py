"""What kernels run on: processors as data, and the detection of this one."""
