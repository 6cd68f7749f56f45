"""The gradient for the weight by Winograd's algorithm: kernels of 3 or 5 taps, stride 1.

What it is.  Along an axis of ``r`` taps the gradient is itself a short correlation: over ``m``
  neighbouring outputs it is ``r`` sums of ``m`` products, F(r, m), for which ``r + m - 1``
  multiplications do instead of ``r m``. So ``grad_w = A^T (sum over samples and tiles of (B^T x) *
  (G grad))`` along every axis; as ``A^T`` is linear, it is applied once, to the sums. A. Lavin, S.
  Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016, section 4.1.
  Tiles of both arrays are transformed, so many in one go that they stay in a cache; then at every
  point the tiles of one are multiplied with those of the other, the outer product that
  ``weight_grad`` has for positions.
When it applies.  Axes of 3 or 5 taps and stride 1, any dilation and borders (tiles are entries of
  tables), beside axes of one tap and any stride; up to three axes. Groups are problems side by
  side.
What it costs.  ``(r + m - 1) / (r m)`` of the multiply-adds for each axis, a quarter for 3x3 with
  tiles of 4x4. Transforms cost as much as about a dozen channels, and turning sums into taps as
  much as five tiles: few channels, or few tiles, gain nothing.
Accuracy.  Four to six times the error of a plain sum: 1e-6 to 2e-6 of the whole gradient with 3
  taps, up to 4e-6 with 5. Sums are cut into goes, so that long ones get no worse. What is not
  finite spreads over all taps of its pairs of channels.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

import numpy as np

from faltung.codegen.tile import budget, split
from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation, Window
from faltung.methods.base.parameters import ordered
from faltung.methods.base.step import Argument, Arrays, Operand, Step, Table, Work, shifted, table
from faltung.methods.copies.copy import spread
from faltung.methods.winograd.points import Matrix, Transform, transform
from faltung.methods.winograd.tiles import axis_tiles, count
from faltung.methods.winograd.weight_grad_kernel import WORDS as SUM_WORDS
from faltung.methods.winograd.weight_grad_kernel import GradSums
from faltung.methods.winograd.weight_grad_tiles import View, tiles_of

# Outputs of a tile along an axis.
TILE = 4
# Bytes of transformed tiles in one go. All of them are one go, whose sums need no memory, where
# they are no more than ``WHOLE`` bytes or than ``SUMS`` times the sums, which every go loads and
# stores.
CHUNK, WHOLE, SUMS = 2 << 20, 4 << 20, 2
# Tiles of one go at the least: sums are loaded and stored once in each.
FEWEST = 32
# Bytes of sums on the stack of a thread.
STACK = 56 << 10
# Cycles for each vector that a transform reads or writes, and more for one that waits in a cache
# for the products; of a tile of sums beside its products.
LINE, WAIT, START = 1.0, 1.5, 30.0
# Products go so much slower than registers and FMA would let them.
SLOWER = 1.15


# When, and at what price --------------------------------------------------------------------------


def why_not(c: Correlation, machine: Machine) -> str | None:
    """In a few words why it does not apply; None where it does."""
    axes = [window.axis for window in c.windows]
    if all(axis.kernel == 1 for axis in axes):
        return "one tap"
    if any(axis.kernel not in (1, 3, 5) for axis in axes):
        return "an axis of other than 3 or 5 taps"
    if any(axis.stride > 1 for axis in axes if axis.kernel > 1):
        return "a stride"
    if len(axes) > 3:
        return "more than three axes"
    return None


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core: transforms of both arrays, products, sums to taps."""
    if why_not(c, machine) is not None:
        return inf
    shape, found = _shape(c, machine), [_transform(w) for w in c.windows]
    tiles = c.batch * prod(count(w, t) for w, t in zip(c.windows, _forward(c), strict=True))
    points = prod(t.alpha for t in found)
    row_blocks = -(-c.channels_in // shape.rows)
    blocks = sum(n for _, n in split(shape.grad_blocks, shape.columns))
    goes = len(_goes(c, shape, points, tiles))
    step = max(shape.rows * shape.grad_blocks / 2, blocks * (shape.rows + shape.columns) / 2)
    products = row_blocks * points * (tiles * step * SLOWER + goes * blocks * START)
    made = shape.x_blocks * (LINE * _lines([t.bt for t in found]) + WAIT * points)
    made += shape.grad_blocks * (LINE * _lines([t.g for t in found]) + WAIT * points)
    back = c.channels_in * shape.grad_blocks * LINE * _lines([t.at for t in found])
    return c.groups * (products + tiles * made + back)


def _lines(matrices: Sequence[Matrix]) -> float:
    """Vectors that all passes of a transform read and write."""
    sizes, total = [len(matrix[0]) for matrix in matrices], 0
    for axis in reversed(range(len(sizes))):
        read = prod(sizes)
        sizes[axis] = len(matrices[axis])
        total += read + prod(sizes)
    return total


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the input must be copied, its channels side by side."""
    return c.x[2] != 1


def needs_channels_last(c: Correlation, machine: Machine) -> bool:
    """The same for the output gradient."""
    return c.out[2] != 1


# The plan -----------------------------------------------------------------------------------------


def _transform(window: Window) -> Transform:
    """Taps are the outputs of the transform, a tile of the gradient its taps."""
    taps = window.axis.kernel
    return transform(taps, TILE if taps > 1 else 1)


def _forward(c: Correlation) -> list[Transform]:
    """The same tiles as those of the forward pass."""
    kernels = (window.axis.kernel for window in c.windows)
    return [transform(TILE if taps > 1 else 1, taps) for taps in kernels]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Channels of a group in blocks of vectors; tiles of sums, ``rows`` by up to ``columns``
    vectors.
    """

    rows: int
    columns: int
    lanes: int
    x_blocks: int
    grad_blocks: int


def _shape(c: Correlation, machine: Machine) -> _Shape:
    """The tile with the fewest loads for its products; rows must not cross a block of channels."""
    lanes, most = machine.lanes(c.dtype), budget(machine)
    sizes = [(rows, min(4, most // rows)) for rows in (1, 2, 4, 8) if rows <= min(lanes, most)]
    rows, columns = min(sizes, key=lambda s: (s[0] + s[1]) / (s[0] * s[1]))
    return _Shape(rows, columns, lanes, -(-c.channels_in // lanes), -(-c.channels_out // lanes))


def _goes(c: Correlation, shape: _Shape, points: int, tiles: int) -> list[tuple[int, int]]:
    """Tiles first to stop of each go: by spec and machine, not by threads."""
    blocks = c.groups * (shape.x_blocks + shape.grad_blocks)
    size = ELEMENTS[c.dtype][1]
    each = points * blocks * shape.lanes * size
    sums = points * c.groups * c.channels_in * c.channels_out * size
    whole = each * tiles <= max(WHOLE, SUMS * sums)
    most = tiles if whole else max(FEWEST, CHUNK // each)
    goes = max(1, -(-tiles // max(1, most)))
    return [(tiles * i // goes, tiles * (i + 1) // goes) for i in range(goes)]


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps that write the gradient of ``c`` for its weight; ``arrays.out`` is the output
    gradient. Channels are neighbours in both arrays.
    """
    shape, found = _shape(c, machine), [_transform(w) for w in c.windows]
    cut = [axis_tiles(w, t) for w, t in zip(c.windows, _forward(c), strict=True)]
    points = prod(t.alpha for t in found)
    tiles = c.batch * prod(part.count for part in cut)
    goes = _goes(c, shape, points, tiles)
    longest = max(stop - first for first, stop in goes)
    views = (
        View(
            shifted(arrays.x, c.x_base, c.dtype),
            c.x,
            tuple(w.x for w in c.windows),
            tuple(part.inputs for part in cut),
        ),
        View(
            shifted(arrays.out, c.out_base, c.dtype),
            c.out,
            tuple(w.out for w in c.windows),
            tuple(part.outputs for part in cut),
        ),
    )
    bt, g = tuple(t.bt for t in found), tuple(t.g for t in found)
    size = longest, shape.lanes
    x = tiles_of(c, work, "input", views[0], c.channels_in, bt, *size)
    grad = tiles_of(c, work, "gradient", views[1], c.channels_out, g, *size)
    sums = _sums(c, work, arrays, shape, len(goes) == 1)
    for first, stop in goes:
        work.steps.append(x.step(first, stop, barrier))
        work.steps.append(grad.step(first, stop, False))
        more: dict[str, Argument] = {
            **{"x": x.target, "x_block": x.block, "x_point": x.point},
            **{"grad": grad.target, "grad_block": grad.block, "grad_point": grad.point},
            **{"tiles": stop - first, "before": first, "last": int(stop == tiles)},
        }
        words = ordered(SUM_WORDS, {**sums.words, **more})
        work.steps.append(Step(sums.recipe, sums.items, words, "winograd_grad sums", True))
        barrier = True
    if sums.aside is not None:
        work.steps.append(_unpack(c, sums.aside, arrays.w))


# Sums ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sums:
    """The step of the sums, but for what changes from go to go. ``aside``: memory where the weight
    has an order that cannot be written.
    """

    recipe: GradSums
    items: int
    words: dict[str, Argument]
    aside: Operand | None


def _sums(c: Correlation, work: Work, arrays: Arrays, shape: _Shape, whole: bool) -> _Sums:
    inverse = tuple(_transform(w).at for w in c.windows)
    points, size = prod(len(matrix[0]) for matrix in inverse), ELEMENTS[c.dtype][1]
    kinds, blocks = _blocks(c, shape)
    tile = points * shape.rows * shape.columns * shape.lanes
    row_blocks = -(-c.channels_in // shape.rows)
    lots = -(-row_blocks // max(1, STACK // (tile * size)))
    lot = -(-row_blocks // lots)
    items = c.groups * len(blocks) * lots
    places = _places(c)
    turned = c.w[1] != 1 and c.w[2] == c.taps and sorted(places) == list(range(c.taps))
    aside: Operand | None = None
    target, (w_group, w_out, w_in) = arrays.w, c.w
    if c.w[1] != 1 and not turned and c.channels_out > 1:
        pairs = c.channels_in * c.channels_out
        aside = Operand(work.borrow("weight", c.groups * c.taps * pairs * size))
        target, w_group, w_out, w_in = aside, c.taps * pairs, 1, c.channels_out
        places = [k * pairs for k in range(c.taps)]
    memory = 0 if whole else items * lot * tile * size
    words: dict[str, Argument] = {
        **{"w": target, "w_group": w_group, "w_out": w_out, "w_in": w_in},
        **{"sums": Operand(work.borrow("sums", memory)), "item_sums": lot * tile},
        **{"blocks": blocks, "places": np.array(places, np.int64)},
        **{"block_count": len(blocks), "lots": lots, "row_blocks": row_blocks},
        **{"channels_in": c.channels_in, "x_blocks": shape.x_blocks},
        **{"grad_blocks": shape.grad_blocks},
    }
    recipe = GradSums(c.dtype, inverse, shape.rows, lot, kinds, whole, turned)
    return _Sums(recipe, items, words, aside)


def _blocks(c: Correlation, shape: _Shape) -> tuple[tuple[tuple[int, int], ...], Table]:
    """Blocks of output channels: kinds (vectors, lanes of the last one), and for each block its
    kind and first vector.
    """
    kinds: list[tuple[int, int]] = []
    blocks, vector = [], 0
    for vectors, times in split(shape.grad_blocks, shape.columns):
        for _ in range(times):
            last = vector + vectors - 1
            kind = (vectors, min(shape.lanes, c.channels_out - last * shape.lanes))
            if kind not in kinds:
                kinds.append(kind)
            blocks.append((kinds.index(kind), vector))
            vector += vectors
    return tuple(kinds), table(blocks, 2)


def _places(c: Correlation) -> list[int]:
    return [sum(tap) for tap in itertools.product(*(window.taps for window in c.windows))]


def _unpack(c: Correlation, aside: Operand, w: Operand) -> Step:
    """(group, tap, input channel, output channel) -> the weight's own order."""
    pairs = c.channels_in * c.channels_out
    outer = [(g * c.taps * pairs, g * c.w[0]) for g in range(c.groups)]
    runs = [
        (k * pairs + i * c.channels_out, tap + i * c.w[2], c.channels_out)
        for k, tap in enumerate(_places(c))
        for i in range(c.channels_in)
    ]
    title = "unpack weight gradient"
    return spread(c.dtype, aside, w, outer, runs, stride=c.w[1], title=title, barrier=True)
