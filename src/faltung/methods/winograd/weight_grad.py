"""The gradient for the weight by Winograd's algorithm: kernels of 3 or 5 taps, stride 1.

What it is.  Along an axis of ``r`` taps the gradient is itself a short correlation: over ``m``
  neighbouring outputs it is ``r`` sums of ``m`` products, F(r, m), for which ``r + m - 1``
  multiplications do instead of ``r m``. So ``grad_w = A^T (sum over samples and tiles of (B^T x) *
  (G grad))`` along every axis; as ``A^T`` is linear, it is applied once, to the sums. A. Lavin, S.
  Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016, section 4.1.
  Tiles of both arrays are transformed, so many in one pass that they stay in a cache; then at every
  point the tiles of one are multiplied with those of the other, the outer product that the plain
  gradient has for positions.
When it applies.  Axes of 3 or 5 taps and stride 1, any dilation and borders (tiles are entries of
  tables), beside axes of one tap and any stride; up to three axes. Groups are independent problems.
What it costs.  ``(r + m - 1) / (r m)`` of the multiply-adds for each axis, a quarter for 3x3 with
  tiles of 4x4. Transforms cost as much as about a dozen channels, and turning sums into taps as
  much as five tiles: few channels, or few tiles, gain nothing.
Accuracy.  Four to six times the error of a plain sum: 1e-6 to 2e-6 of the whole gradient with 3
  taps, up to 4e-6 with 5. Sums are split into passes, so accuracy does not degrade with their
  length. What is not finite spreads over all taps of its pairs of channels.
"""

from functools import cached_property
from math import inf, prod

import numpy as np

from faltung.codegen.tile import budget, parts, split
from faltung.geometry.record import dataclass
from faltung.machine.costs import WEIGHT_GRAD_STACK_BYTES
from faltung.machine.table import Machine
from faltung.methods.base.blocks import ChannelBlocks
from faltung.methods.base.correlation import Correlation, Window
from faltung.methods.base.epilogue_arrays import input_of, output_of
from faltung.methods.base.method import WeightGradMethod
from faltung.methods.base.step import Argument, Arrays, Operand, Table, Work, table
from faltung.methods.copies.weights import unpack_weight_grad
from faltung.methods.winograd.tiles import AxisTiles, axis_tiles, tiles_along
from faltung.methods.winograd.transforms import Transform, moved_vectors, transform
from faltung.methods.winograd.weight_grad_sums import WeightGradSums
from faltung.methods.winograd.weight_grad_tiles import Tiles

# Outputs of a tile along an axis.
TILE_OUTPUTS = 4
# Bytes of transformed tiles in one pass.
PASS_BYTES = 2 << 20
# All tiles are one pass, whose sums need no memory, where they are no more than so many bytes or
# than so many times the sums, which every pass loads and stores.
SINGLE_PASS_BYTES, SINGLE_PASS_SUMS = 4 << 20, 2
# Tiles of one pass at the least: sums are loaded and stored once in each.
MIN_PASS_TILES = 32
# Cycles for each vector that a transform reads or writes, and more for one that waits in a cache
# for the products; of a register tile beside its products.
TRANSFORM_VECTOR_CYCLES, CACHED_VECTOR_CYCLES, WEIGHT_GRAD_REGISTER_TILE_CYCLES = 1.0, 1.5, 30.0
# Products take so many times what registers and FMA would let them take.
PRODUCTS_SLOWDOWN = 1.15


class WinogradWeightGrad(WeightGradMethod):
    transform = True

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
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

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core: transforms of both arrays, products, sums to taps."""
        if self.why_not(c, machine) is not None:
            return inf
        return _Shape.of(c, machine).cycles

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Whether the input must be copied, its channels contiguous."""
        return c.x[2] != 1

    def needs_channels_last(self, c: Correlation, machine: Machine) -> bool:
        return c.out[2] != 1

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        shape = _Shape.of(c, machine)
        passes = shape.passes
        x, grad = (shape.tiles_of(name, work, arrays) for name in ("input", "gradient"))
        kernel, items, given, copied = _sums(shape, work, arrays.w, len(passes) == 1)
        given |= x.arguments("x") | grad.arguments("grad")
        title = "winograd_weight_grad sums"
        for first, stop in passes:
            work.steps.append(x.step(first, stop, barrier))
            work.steps.append(grad.step(first, stop, False))
            given |= {"tiles": stop - first, "before": first, "last": int(stop == shape.tiles)}
            work.steps.append(kernel.step(items, title, barrier=True, **given))
            barrier = True
        if copied is not None:
            whole = ChannelBlocks(0, 1, c.channels_out, c.channels_out)
            weight = arrays.w, whole, c.w[1], c.w[2], c.channels_in
            work.steps.append(unpack_weight_grad(c, copied, *weight))


WINOGRAD_WEIGHT_GRAD = WinogradWeightGrad()


# Sizes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shape:
    """How a gradient is cut: channels of a group in blocks of vectors; register tiles, ``rows`` by
    up to ``columns`` vectors.
    """

    c: Correlation
    lanes: int
    rows: int
    columns: int

    @staticmethod
    def of(c: Correlation, machine: Machine) -> "_Shape":
        """The register tile with the fewest loads for its products; rows must not cross a block of
        channels.
        """
        lanes, most = machine.lanes(c.dtype), budget(machine)
        sizes = [(rows, min(4, most // rows)) for rows in (1, 2, 4, 8) if rows <= min(lanes, most)]
        rows, columns = min(sizes, key=lambda s: (s[0] + s[1]) / (s[0] * s[1]))
        return _Shape(c, lanes, rows, columns)

    @property
    def x_blocks(self) -> int:
        return -(-self.c.channels_in // self.lanes)

    @property
    def grad_blocks(self) -> int:
        return -(-self.c.channels_out // self.lanes)

    @property
    def register_tiles(self) -> int:
        """In a block of output channels."""
        return -(-self.c.channels_in // self.rows)

    @cached_property
    def transforms(self) -> list[Transform]:
        """Taps are the outputs of the transform, a tile of the gradient its taps."""
        taps = [window.axis.kernel for window in self.c.windows]
        return [transform(r, TILE_OUTPUTS if r > 1 else 1) for r in taps]

    @property
    def forward(self) -> list[Transform]:
        """The same tiles as those of the forward pass."""
        return [transform(t.r, t.m) for t in self.transforms]

    @cached_property
    def tiles(self) -> int:
        along = zip(self.c.windows, self.forward, strict=True)
        return self.c.batch * prod(tiles_along(window, t) for window, t in along)

    @property
    def points(self) -> int:
        return prod(t.alpha for t in self.transforms)

    @property
    def passes(self) -> list[tuple[int, int]]:
        """Tiles first to stop of each pass: by spec and machine, not by threads."""
        c, tiles, size = self.c, self.tiles, self.c.item_bytes
        each = self.points * c.groups * (self.x_blocks + self.grad_blocks) * self.lanes * size
        sums = self.points * c.groups * c.channels_in * c.channels_out * size
        whole = each * tiles <= max(SINGLE_PASS_BYTES, SINGLE_PASS_SUMS * sums)
        most = tiles if whole else max(MIN_PASS_TILES, PASS_BYTES // each)
        count = max(1, -(-tiles // max(1, most)))
        return [(tiles * i // count, tiles * (i + 1) // count) for i in range(count)]

    @cached_property
    def axes(self) -> list[tuple[Window, AxisTiles, Transform]]:
        """Each axis with its tiles and its transform."""
        cut = [axis_tiles(w, t) for w, t in zip(self.c.windows, self.forward, strict=True)]
        return list(zip(self.c.windows, cut, self.transforms, strict=True))

    def tiles_of(self, name: str, work: Work, arrays: Arrays) -> Tiles:
        """The transformed tiles of the "input" or of the output "gradient"."""
        c, longest = self.c, max(stop - first for first, stop in self.passes)
        if name == "input":
            array = input_of(c, arrays)
            axes = [(w.x, tiles.inputs, t.bt) for w, tiles, t in self.axes]
        else:
            array = output_of(c, arrays)
            axes = [(w.out, tiles.outputs, t.g) for w, tiles, t in self.axes]
        return Tiles(c, work, name, array, axes, longest, self.lanes)

    @property
    def cycles(self) -> float:
        """Of one core."""
        rows, points = self.rows, self.points
        blocks = sum(n for _, n in split(self.grad_blocks, self.columns))
        step = max(rows * self.grad_blocks / 2, blocks * (rows + self.columns) / 2)
        begins = len(self.passes) * blocks * WEIGHT_GRAD_REGISTER_TILE_CYCLES
        products = self.tiles * step * PRODUCTS_SLOWDOWN + begins
        products *= self.register_tiles * points
        bt, g, at = (
            TRANSFORM_VECTOR_CYCLES * moved_vectors([getattr(t, name) for t in self.transforms])
            for name in ("bt", "g", "at")
        )
        made = self.x_blocks * (bt + CACHED_VECTOR_CYCLES * points)
        made += self.grad_blocks * (g + CACHED_VECTOR_CYCLES * points)
        back = self.c.channels_in * self.grad_blocks * at
        return self.c.groups * (products + self.tiles * made + back)


# Steps --------------------------------------------------------------------------------------------


def _sums(
    shape: _Shape, work: Work, w: Operand, whole: bool
) -> tuple[WeightGradSums, int, dict[str, Argument], Operand | None]:
    """The kernel of the sums, its items, the arguments that are the same in every pass, and where
    it writes, where the weight has an order that it cannot write.
    """
    c, size, places = shape.c, shape.c.item_bytes, shape.c.tap_offsets
    kinds, blocks = _blocks(shape)
    tile = shape.points * shape.rows * shape.columns * shape.lanes
    channel_groups = -(-shape.register_tiles // max(1, WEIGHT_GRAD_STACK_BYTES // (tile * size)))
    tiles = -(-shape.register_tiles // channel_groups)
    items = c.groups * len(blocks) * channel_groups
    transposed = c.w[1] != 1 and c.w[2] == c.taps and sorted(places) == list(range(c.taps))
    copied: Operand | None = None
    target, (w_group, w_out, w_in) = w, c.w
    if c.w[1] != 1 and not transposed and c.channels_out > 1:
        pairs = c.channels_in * c.channels_out
        copied = work.borrow("weight", c.groups * c.taps * pairs * size)
        target, w_group, w_out, w_in = copied, c.taps * pairs, 1, c.channels_out
        places = [k * pairs for k in range(c.taps)]
    memory = 0 if whole else items * tiles * tile * size
    given: dict[str, Argument] = {
        **{"w": target, "w_group": w_group, "w_out": w_out, "w_in": w_in},
        **{"sums": work.borrow("sums", memory), "item_sums": tiles * tile},
        **{"blocks": blocks, "places": np.array(places, np.int64)},
        **{"block_count": len(blocks), "channel_groups": channel_groups},
        **{"register_tiles": shape.register_tiles, "channels_in": c.channels_in},
    }
    inverse = tuple(t.at for t in shape.transforms)
    kernel = WeightGradSums(c.dtype, inverse, shape.rows, tiles, kinds, whole, transposed)
    return kernel, items, given, copied


def _blocks(shape: _Shape) -> tuple[tuple[tuple[int, int], ...], Table]:
    """Blocks of output channels: kinds (vectors, lanes of the last one), and for each block its
    kind and first vector.
    """
    kinds: dict[tuple[int, int], int] = {}
    blocks = []
    for vector, vectors in parts(shape.grad_blocks, shape.columns):
        last = vector + vectors - 1
        kind = (vectors, min(shape.lanes, shape.c.channels_out - last * shape.lanes))
        blocks.append((kinds.setdefault(kind, len(kinds)), vector))
    return tuple(kinds), table(blocks, 2)
