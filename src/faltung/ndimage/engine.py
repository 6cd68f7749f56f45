"""The filters of real arrays that everything here is built on."""

from faltung.ops.lines import filter_lines
from faltung.ops.stencil import correlate, filter_footprint

__all__ = ["correlate", "filter_footprint", "filter_lines"]
