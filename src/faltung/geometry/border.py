"""What stands beyond the ends of an axis: the home of the rules by which an axis goes on.

A mode says which entry stands at any position, however far outside the array it is:

constant     one value, which is no entry of the array (``zeros``: that value is 0)
reflect      the mirror is at the edge, which is not repeated:  d c b | a b c d | c b a
symmetric    the mirror is outside the edge:                    c b a | a b c d | d c b
replicate    the edge is repeated:                              a a a | a b c d | d d d
circular     the array is repeated:                             b c d | a b c d | a b c
"""

from collections.abc import Iterable

from faltung.geometry.record import dataclass

# Modes in which every position beyond the ends repeats an entry.
REPEATING = ("reflect", "symmetric", "replicate", "circular")


@dataclass(frozen=True, slots=True)
class Border:
    """What stands beyond both ends of an axis: a mode, and the value of a constant one.

    Attributes
    ----------
    mode : str
        One of ``REPEATING``, or "constant".
    value : float
        What "constant" puts there; of no account in the other modes.

    Examples
    --------
    >>> Border("reflect").source(-2, 4), Border("constant", 7.0).source(-2, 4)
    (2, None)
    """

    mode: str
    value: float = 0.0

    def source(self, i: int, size: int) -> int | None:
        """The entry that stands at position ``i`` of an axis of ``size``; None for the constant."""
        return source(i, size, self.mode)

    def sources(self, positions: Iterable[int], size: int) -> list[int]:
        """The entry at each of the positions, -1 for the constant."""
        found = (source(i, size, self.mode) for i in positions)
        return [-1 if entry is None else entry for entry in found]


def source(i: int, size: int, mode: str) -> int | None:
    """The entry of an axis of ``size`` that stands at position ``i``; None where none does.

    ``i`` is any whole number: a mode goes on for ever on both sides.
    """
    if 0 <= i < size:
        return i
    match mode:
        case "reflect":
            period = 2 * (size - 1)
            at = i % period if period else 0
            return at if at < size else period - at
        case "symmetric":
            at = i % (2 * size)
            return at if at < size else 2 * size - 1 - at
        case "replicate":
            return 0 if i < 0 else size - 1
        case "circular":
            return i % size
        case _:
            return None
