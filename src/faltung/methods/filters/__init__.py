"""Filters of arrays of one channel, of any dtype, along their axes."""
