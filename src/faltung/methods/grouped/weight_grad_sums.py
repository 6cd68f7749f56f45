"""The sums of a block of taps, in registers while rows go by: the inside of
``depthwise_grad_kernel``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.base.tiles import Kind
from faltung.methods.grouped.kernel import load_column

# Columns of the table of runs of tiles: tiles, input, gradient.
RUN = 3


@dataclass(frozen=True)
class Masked:
    """A tile of ``positions`` vectors whose lanes are neighbouring positions; for each tap those
    that read the array, None for all.
    """

    positions: int
    masks: tuple[tuple[bool, ...] | None, ...]


Tile = Kind | Masked


@dataclass(frozen=True)
class Block:
    """Taps whose sums are in registers together: ``rows`` rows of the taps ``offsets`` (input
    elements), in them the input channels ``inputs`` of a group; ``copies``: sums of each, for
    neighbouring positions; ``kinds``: the tiles of a row, in their order, the runs of which are
    ``run`` onwards in the table.
    """

    rows: int
    offsets: tuple[int, ...]
    inputs: tuple[int, ...]
    copies: int
    kinds: tuple[Tile, ...]
    run: int


@dataclass(frozen=True)
class Reads:
    """How sums find what they read; the fields are those of ``DepthwiseGrad``."""

    dtype: str
    lanes: tuple[tuple[int, ...], ...]
    taps: int
    stride: int
    x_pitch: int
    g_pitch: int
    g_copied: bool


def span(module: Module, machine: Machine, reads: Reads, block: Block, name: str) -> None:
    """The sums of a block of taps over some rows."""
    pointers = [("ptr", at) for at in ("x", "g", "sums", "entries", "runs")]
    f = module.function(name, [*pointers, ("i64", "count"), ("i64", "width")])
    v = Vectors(f, machine, reads.dtype)
    inputs = len(reads.lanes)
    places = [
        v.at("%sums", f.mul("%width", r * reads.taps + k * inputs + number))
        for r in range(block.rows)
        for k in range(len(block.offsets))
        for number in range(len(block.inputs))
    ]
    start = [("ptr", "%entries")]
    for place in places:
        start += [(v.type, v.load(place)), *[(v.type, v.zero)] * (block.copies - 1)]
    with f.loop(0, "%count", start) as row:
        entry, *acc = row.values
        xs = [v.at("%x", f.word(entry, r)) for r in range(block.rows)]
        g = v.at("%g", f.word(entry, block.rows))
        for number, kind in enumerate(block.kinds):
            run = f.at("%runs", RUN * (block.run + number), "i64")
            at = [v.at(x, f.word(run, 1)) for x in xs]
            carried = [*(("ptr", x) for x in at), ("ptr", v.at(g, f.word(run, 2)))]
            carried += [(v.type, value) for value in acc]
            with f.loop(0, f.word(run, 0), carried) as turn:
                now, g_now = turn.values[: block.rows], turn.values[block.rows]
                given = now, g_now, turn.values[block.rows + 1 :]
                if isinstance(kind, Masked):
                    made = _lanes(v, reads, block, kind, *given)
                else:
                    made = _columns(v, reads, block, kind, *given)
                step = kind.positions * reads.stride * reads.x_pitch
                onward = [v.at(x, step) for x in now]
                turn.carry([*onward, v.at(g_now, kind.positions * reads.g_pitch), *made])
            acc = turn.results[block.rows + 1 :]
        row.carry([f.at(entry, block.rows + 1, "i64"), *acc])
    acc = row.results[1:]
    for i, place in enumerate(places):
        total, *others = acc[i * block.copies : (i + 1) * block.copies]
        for other in others:
            total = v.add(total, other)
        v.store(total, place)


def _columns(
    v: Vectors,
    reads: Reads,
    block: Block,
    kind: Kind,
    xs: Sequence[str],
    g: str,
    acc: Sequence[str],
) -> list[str]:
    """One tile: every column of the input meets the gradients of all positions that read it."""
    made, taps = list(acc), len(block.offsets)
    mask = None if reads.g_copied else v.first(len(reads.lanes[0]))
    columns: dict[int, list[tuple[int, int]]] = {}
    for p in range(kind.positions):
        for k, offset in enumerate(block.offsets):
            if p not in kind.outside[k]:
                column_at = p * reads.stride * reads.x_pitch + offset
                columns.setdefault(column_at, []).append((p, k))
    grads: dict[int, str] = {}
    for offset, products in sorted(columns.items()):
        for p, _ in products:
            if p not in grads:
                grads[p] = v.load(v.at(g, p * reads.g_pitch), mask)
        for r, x in enumerate(xs):
            for i, number in enumerate(block.inputs):
                read = load_column(v, reads.lanes, v.at(x, offset), number)
                for p, k in products:
                    here = (r * taps + k) * len(block.inputs) + i
                    here = here * block.copies + p % block.copies
                    made[here] = v.multiply_add(read, grads[p], made[here])
    return made


def _lanes(
    v: Vectors,
    reads: Reads,
    block: Block,
    tile: Masked,
    xs: Sequence[str],
    g: str,
    acc: Sequence[str],
) -> list[str]:
    """One tile whose lanes are positions. A lane outside a mask is zero in both arrays, whatever
    lies there.
    """
    made, taps = list(acc), len(block.offsets)
    for p in range(tile.positions):
        grads: dict[tuple[bool, ...] | None, str] = {}
        for k, (offset, lanes) in enumerate(zip(block.offsets, tile.masks, strict=True)):
            if lanes is not None and not any(lanes):
                continue
            mask = None if lanes is None else v.mask(lanes)
            if lanes not in grads:
                grads[lanes] = v.load(v.at(g, p * v.lanes), mask)
            for r, x in enumerate(xs):
                here = (r * taps + k) * block.copies + p % block.copies
                read = v.load(v.at(x, p * v.lanes + offset), mask)
                made[here] = v.multiply_add(read, grads[lanes], made[here])
    return made
