"""A filter along one axis: what each output reads, and what is made of it.

A separable filter is a sequence of these, one axis after the other.
"""

from typing import Literal

from faltung.geometry.border import Border
from faltung.geometry.record import dataclass

Reduction = Literal["sum", "mean", "max", "min"]


@dataclass(frozen=True, slots=True)
class Line:
    """Output ``o`` reads positions ``o - before .. o - before + size - 1`` along ``axis``.

    Attributes
    ----------
    axis : int
        The axis of the array, at least 0.
    reduction : str
        "sum": of products with ``weights``, in their order (a correlation); "mean", "max", "min"
        of the window.
    size : int
        Entries that an output reads.
    before : int
        How many of them lie before the output: ``size // 2`` for a centred window. It may be
        negative, and larger than ``size``.
    border : Border
        What is read beyond the ends of the axis.
    weights : tuple of float
        ``size`` numbers for "sum", else empty.

    Examples
    --------
    >>> Line(0, "sum", 3, 1, Border("symmetric"), (0.25, 0.5, 0.25)).after
    1
    """

    axis: int
    reduction: Reduction
    size: int
    before: int
    border: Border
    weights: tuple[float, ...] = ()

    @property
    def after(self) -> int:
        """How many of the entries lie behind the output; negative if the last lies before it."""
        return self.size - 1 - self.before
