"""The filters of real arrays that everything here is built on."""

from faltung.ops.stencil import correlate
from faltung.ops.windows import filter_footprint, filter_windows

__all__ = ["correlate", "filter_footprint", "filter_lines"]

# Also sums.
filter_lines = filter_windows
