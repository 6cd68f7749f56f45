"""Parts of an axis: which entries some outputs read, and the axis of these outputs alone.

A part has the padding of the whole at the true ends, and none elsewhere: what it reads beyond its
own outputs are the entries that are there. So a layer of a part adds what the layer of the whole
adds. A span is a half-open range ``(first, stop)``.
"""

from collections.abc import Iterable

from faltung.geometry.adjoint import has_taps
from faltung.geometry.axis import Axis
from faltung.geometry.resample import Table

Span = tuple[int, int]


def hull(spans: Iterable[Span]) -> Span:
    """The smallest span that covers all of these, at least one."""
    firsts, stops = zip(*spans, strict=True)
    return min(firsts), max(stops)


def aligned(span: Span, grid: int, size: int) -> Span:
    """The span widened to multiples of ``grid``, within an axis of ``size`` entries."""
    first, stop = span
    return first // grid * grid, min(size, -(-stop // grid) * grid)


def _some(first: int, stop: int, size: int) -> Span:
    """What is inside an axis of a range of positions; where nothing is, one entry near it."""
    first, stop = max(0, first), min(size, stop)
    if first >= stop:
        first = min(max(0, first), size - 1)
        return first, first + 1
    return first, stop


def reads(axis: Axis, span: Span) -> Span:
    """The entries of the input that the outputs in ``span`` read, those that the padding repeats
    among them: the smallest span that covers them, of at least one entry.

    >>> reads(Axis(100, 3, lo=1, hi=1), (0, 10)), reads(Axis(100, 3, lo=1, hi=1), (10, 20))
    ((0, 11), (9, 21))
    """
    first, stop = axis.input_range(*span)
    direct = max(0, first), min(axis.size, stop)
    found = [direct] if direct[0] < direct[1] else []
    if axis.mode != "zeros":
        first, stop = max(first, -axis.lo), min(stop, axis.size + axis.hi)
        outside = (*range(first, min(0, stop)), *range(max(axis.size, first), stop))
        sources = map(axis.source, outside)
        found += [(i, i + 1) for i in sources if i is not None]
    return hull(found) if found else _some(first, stop, axis.size)


def pads(axis: Axis, span: Span) -> bool:
    """Whether the outputs in ``span`` read padding."""
    first, stop = axis.input_range(*span)
    return first < 0 or stop > axis.size


def part(axis: Axis, span: Span, given: Span) -> Axis:
    """The axis of the outputs in ``span`` over the entries ``given`` of the input; entries that no
    output reads are cropped. What is outside of these is zero.
    """
    first, stop = axis.input_range(*span)
    lo, hi = given[0] - first, stop - given[1]
    return Axis(given[1] - given[0], axis.kernel, axis.stride, axis.dilation, lo, hi)


def padded_sources(axis: Axis, span: Span) -> list[int | None]:
    """The entry of the input at each position that the outputs in ``span`` read, in order."""
    return [axis.source(i) for i in range(*axis.input_range(*span))]


# The transpose ------------------------------------------------------------------------------------


def reads_transposed(axis: Axis, span: Span) -> Span:
    """The outputs of ``axis`` that read the entries in ``span``: what its transpose reads for them.

    >>> reads_transposed(Axis(200, 2, stride=2), (20, 40))
    (10, 20)
    """
    first, stop = span
    low = -(-(first + axis.lo - axis.extent + 1) // axis.stride)
    return _some(low, (stop - 1 + axis.lo) // axis.stride + 1, axis.output)


def part_transposed(axis: Axis, span: Span, given: Span) -> Axis:
    """The axis whose transpose makes the entries in ``span`` of the outputs ``given``."""
    lo = axis.lo + span[0] - given[0] * axis.stride
    size, whole = span[1] - span[0], (given[1] - given[0] - 1) * axis.stride + axis.extent
    return Axis(size, axis.kernel, axis.stride, axis.dilation, lo, whole - size - lo)


def fully(axis: Axis, span: Span) -> Span:
    """The span widened by whole strides, until each phase of the transpose has a position in it
    that reads something; or the whole axis. Near an end there may be none.
    """
    while span != (0, axis.size) and not has_taps(
        part_transposed(axis, span, reads_transposed(axis, span))
    ):
        span = max(0, span[0] - axis.stride), min(axis.size, span[1] + axis.stride)
    return span


# Tables -------------------------------------------------------------------------------------------


def reads_table(table: Table, span: Span) -> Span:
    """The entries that the rows in ``span`` read: the smallest span that covers them."""
    found = table.indices[table.starts[span[0]] : table.starts[span[1]]]
    return (min(found), max(found) + 1) if found else (0, 1)


def part_table(table: Table, span: Span, given: Span) -> Table:
    """The rows in ``span`` over the entries ``given``."""
    begin, end = table.starts[span[0]], table.starts[span[1]]
    starts = tuple(start - begin for start in table.starts[span[0] : span[1] + 1])
    indices = tuple(index - given[0] for index in table.indices[begin:end])
    return Table(given[1] - given[0], starts, indices, table.weights[begin:end])


def slope(table: Table, most: int = 16) -> tuple[int, int] | None:
    """(entries, rows): after how few rows of the middle of a table its taps are the same ones, so
    many entries further on. None: after none of the first ``most``.

    >>> from faltung.geometry.resample import repeated
    >>> slope(repeated(100, 3))
    (1, 3)
    """
    middle = table.output // 2
    for rows in range(1, most + 1):
        if middle < rows or middle + 2 * rows > table.output:
            return None
        pairs = [(table.row(o), table.row(o + rows)) for o in range(middle - rows, middle + rows)]
        steps = {b[0][0] - a[0][0] for a, b in pairs if a and b}
        if len(steps) != 1:
            continue
        step = steps.pop()
        if all([(i + step, w) for i, w in a] == b for a, b in pairs):
            return step, rows
    return None
