"""The filters of real arrays that everything here is built on."""

from faltung.reference.filters import correlate, filter_footprint, filter_lines

__all__ = ["correlate", "filter_footprint", "filter_lines"]
