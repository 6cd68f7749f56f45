"""Copies inside kernels: segments to and from a buffer, and squares transposed in registers."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from faltung.codegen.ir import parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.machine.costs import LINE_BYTES

# Vectors that one iteration copies.
UNROLLED_VECTORS = 4


def write_fill(code: Functions, contiguous: bool, *, prefetch: bool = False) -> None:
    """``blank`` (to, count): zeros, a whole number of vectors. ``fill`` (to, from, count, step,
    ahead): elements of memory; ``contiguous``: the step is 1; ``prefetch``: what lies ``ahead``
    elements further on.
    """
    v = code.open("blank", parameters(["to"], ["count"]))
    f = v.function
    with f.loop(0, "%count", step=v.lanes) as place:
        v.store(v.zero, v.at("%to", place.index))
    v = code.open("fill", parameters(["to", "from"], ["count", "step", "ahead"]))
    f = v.function
    if not contiguous:
        _fill_singly(v, "0")
        return
    start = "0"
    for many in (UNROLLED_VECTORS, 1):
        step = many * v.lanes
        stop = f.mul(f.divmod("%count", step)[0], step)
        with f.loop(start, stop, step=step) as place:
            for i in range(many):
                at = f.add(place.index, i * v.lanes)
                here = v.at("%from", at)
                if prefetch and i * v.lanes * v.bytes % LINE_BYTES == 0:
                    f.prefetch(v.at(here, "%ahead"))
                v.store(v.load(here), v.at("%to", at))
        start = stop
    rest = f.value(f"icmp slt i64 {start}, %count")
    with f.when(rest):
        some = f.value(f"icmp sge i64 %count, {v.lanes}")
        last = f.sub("%count", v.lanes)

        def whole() -> None:
            v.store(v.load(v.at("%from", last)), v.at("%to", last))

        f.choose(some, whole, lambda: _fill_singly(v, start))


def write_spread(code: Functions, stride: int) -> None:
    """``spread`` (to, from, count, step): from a step to ``stride`` elements apart."""
    arguments = parameters(["to", "from"], ["count", "step"])
    _fill_singly(code.open("spread", arguments), "0", stride)


def _fill_singly(v: Vectors, start: str, stride: int = 1) -> None:
    f = v.function
    with f.loop(start, "%count") as i:
        source = v.at("%from", f.mul(i.index, "%step"))
        v.store_one(v.load_one(source), v.at("%to", f.mul(i.index, stride)))


def each_group(
    v: Vectors, length: str, vectors: Sequence[int], write: Callable[[str, int], None]
) -> str:
    """``write`` (first element, vectors) as long as so many ``vectors`` fit into what is left of
    ``length`` elements, the most first; where the rest begins, less than a vector.
    """
    f, done = v.function, "0"
    for count in vectors:
        size = count * v.lanes
        with f.loop(done, f.sub(length, size - 1), step=size) as at:
            write(at.index, count)
        done = at.index
    return done


# Rows ---------------------------------------------------------------------------------------------


def interleaved(v: Vectors, rows: Sequence[str]) -> list[str]:
    """The first elements of all rows, then the second, ...: as many vectors as there are rows."""
    count = len(rows)
    places = [divmod(e, count) for e in range(count * v.lanes)]
    return [_picked(v, rows, [(row, j) for j, row in part]) for part in _cut(places, v.lanes)]


def parted(v: Vectors, vectors: Sequence[str]) -> list[str]:
    """The reverse: of elements that follow each other every n-th, for n vectors."""
    count = len(vectors)
    return [
        _picked(v, vectors, [divmod(j * count + row, v.lanes) for j in range(v.lanes)])
        for row in range(count)
    ]


def _cut(places: list[tuple[int, int]], size: int) -> list[list[tuple[int, int]]]:
    return [places[i : i + size] for i in range(0, len(places), size)]


def _picked(v: Vectors, vectors: Sequence[str], places: Sequence[tuple[int, int]]) -> str:
    """A vector whose lanes are elements of others: (vector, lane) for each."""
    made, done = "", set[int]()
    for number in sorted({vector for vector, _ in places}):
        if not made:
            lanes = [lane if vector == number else 0 for vector, lane in places]
            made = v.shuffle(vectors[number], vectors[number], lanes)
        else:
            lanes = [
                v.lanes + lane if vector == number else i if vector in done else 0
                for i, (vector, lane) in enumerate(places)
            ]
            made = v.shuffle(made, vectors[number], lanes)
        done.add(number)
    return made


# Squares ------------------------------------------------------------------------------------------

# The mask under which a row is read; None for whole rows.
RowMask = Callable[[int], str | None]


def transpose_square(
    v: Vectors,
    least: str,
    columns: str,
    read: Callable[[RowMask], Sequence[str]],
    store: Callable[[int, str, str | None], None],
    *,
    rows: str = "",
    stored: str = "",
) -> None:
    """Transpose a square as wide as a vector, of which ``columns`` exist, and ``rows`` (all by
    default): without masks, which are slow on some machines, where ``least``, the smaller number,
    is that of the lanes.

    ``read``: its rows. ``store`` (column, its elements, mask): one of the columns that exist; the
    mask is that of the first ``stored`` lanes, if given.
    """
    f = v.function
    for whole in f.branches(f.value(f"icmp sge i64 {least}, {v.lanes}")):
        mask = None if whole else v.below(columns)

        def mask_of(row: int, mask: str | None = mask) -> str | None:
            if mask is None or not rows:
                return mask
            # Beyond the last row the mask is empty: the load touches no memory and returns zeros.
            return v.kept(f.value(f"icmp sgt i64 {rows}, {row}"), mask)

        loaded = read(mask_of)
        lanes = None if whole or not stored else v.below(stored)
        for i, column in enumerate(v.transpose(loaded)):
            with nullcontext() if whole else f.when(f.value(f"icmp sgt i64 {columns}, {i}")):
                store(i, column, lanes)


def load_columns(
    v: Vectors, rows: Sequence[str], count: int, *, overlapping: bool = False
) -> list[str]:
    """``count`` contiguous elements at each of ``lanes`` addresses -> a vector for each element.

    No element beyond them is read: the last vectors are masked or, where there are enough elements
    and they may be ``overlapping``, moved back.
    """
    found: list[str] = []
    for start in range(0, count, v.lanes):
        at = max(0, min(start, count - v.lanes)) if overlapping else start
        loaded = [v.load(v.at(row, at), v.first(count - at)) for row in rows]
        found += v.transpose(loaded)[start - at :]
    return found[:count]
