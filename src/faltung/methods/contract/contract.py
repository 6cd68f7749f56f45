"""Products of two arrays over any of their axes: matrix products, batched, of any strides.

What it is.  ``out[e, m, n] = sum over k of a[e, m, k] * b[e, k, n]``, an einsum of two operands
  whose labels have been sorted into independent products e, rows m, columns n, and terms k, each
  with a stride in every array. A tile of rows by vectors of columns stays in registers while the
  terms go by in their order: each step broadcasts one element of ``a`` for each row, and reads
  vectors of columns from a panel, into which a block of columns has been copied, transposed where
  the terms are contiguous in ``b``. What is contiguous in the result lies in the vectors: the
  operands exchange their roles where that is ``a``. (Goto and van de Geijn, "Anatomy of
  High-Performance Matrix Multiplication", 2008.)
When it applies.  Always.
What it costs.  The multiply-adds, and a copy of the columns for each thread that reads them.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from faltung.codegen.tile import rows_for
from faltung.codegen.tile import split as parts_of
from faltung.geometry.record import dataclass
from faltung.machine.costs import FMA_LATENCY_CYCLES, FMA_LATENCY_SUMS, PANEL_COPY_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offset_columns
from faltung.methods.base.correlation import Strides, step_kind
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import Argument, Operand, Table, Work, table
from faltung.methods.contract.axes import Dim, Product
from faltung.methods.contract.kernel import ENTRY, PAIR, RANGE, ContractKernel

# Vectors of a block of columns; more where there are few rows.
VECTORS = 2
# Items for each core, about: each has room for a panel.
CORE_ITEMS = 8
# Multiply-adds of a unit below which its rows are not divided.
UNIT_MACS = 1 << 16
# Cycles of a tile beside its sums.
TILE_CYCLES = 40
# Products that a table lists.
MOST_LISTED = 1 << 14


@dataclass(frozen=True, slots=True)
class Operands:
    """The arrays of a product; ``aux``: those that the epilogue reads."""

    a: Operand
    b: Operand
    out: Operand
    aux: tuple[Operand, ...] = ()

    def swapped(self) -> "Operands":
        return Operands(self.b, self.a, self.out, self.aux)


def contract(
    work: Work,
    p: Product,
    arrays: Operands,
    *,
    dtype: str,
    machine: Machine,
    epilogue: Epilogue | None = None,
) -> float:
    """Add the step that computes a product; about how many cycles of one core it takes.

    epilogue: a formula of the sum and of elements of ``arrays.aux``, whose strides ``p`` has.
    """
    if _columns_in_a(p):
        p, arrays = p.swapped(), arrays.swapped()
    lanes = machine.lanes(dtype)
    vectors = _vectors(p.rows.size, -(-p.columns.size // lanes), machine)
    heights = parts_of(p.rows.size, rows_for(machine, vectors))
    whole = vectors * lanes
    blocks, rest = -(-p.columns.size // whole), p.columns.size % whole
    tiles = [size for size, count in heights for _ in range(count)]
    ranges = _ranges(tiles, _range_count(p, blocks, len(tiles), machine))
    units = p.count * blocks * len(ranges)
    items = min(units, CORE_ITEMS * machine.cores)
    inner = p.sums[-1]
    kernel = ContractKernel(
        dtype,
        tuple(size for size, _ in heights),
        ((whole,) if blocks > 1 or not rest else ()) + ((rest,) if rest else ()),
        vectors,
        p.rows.steps[0],
        _panel(p, len(tiles)),
        p.columns.steps[2] == 1 or p.columns.size == 1,
        epilogue,
        tuple(map(step_kind, p.columns.steps[3:])),
    )
    panel = p.length * whole if kernel.panel else 0
    outer, (repeats, steps) = _entries(p)
    given: dict[str, Argument] = {"a": arrays.a, "b": arrays.b}
    size = items * panel * np.dtype(dtype).itemsize
    given["panels"] = work.borrow("panels", size) if panel else arrays.b
    for i, (name, array) in enumerate(zip(kernel.outputs, (arrays.out, *arrays.aux), strict=True)):
        along, across = p.rows.steps[2 + i], p.columns.steps[2 + i]
        given |= {name: array, f"{name}_position": along, f"{name}_channel": across}
        given[f"{name}_inner"] = steps[2 + i]
    work.steps.append(
        kernel.step(
            items,
            f"contract {vectors}x{tiles[0]}",
            barrier=False,
            **given,
            entries=_offsets(outer, ENTRY + len(kernel.outputs)),
            inner=repeats,
            a_inner=steps[0],
            b_inner=steps[1],
            pairs=_offsets(p.sums[:-1], PAIR),
            ranges=ranges,
            units=units,
            items=items,
            blocks=blocks,
            range_count=len(ranges),
            panel_size=panel,
            terms=p.length // inner.size,
            length=inner.size,
            a_step=inner.steps[0],
            b_step=inner.steps[1],
            b_column=p.columns.steps[1],
        )
    )
    return _cycles(p, blocks * whole, lanes, len(tiles) * blocks, bool(panel))


def _entries(p: Product) -> tuple[list[Dim], tuple[int, Strides]]:
    """The axes of products that a table lists, and the number and the steps of one that needs none:
    the longest, where the table would be too long.
    """
    if p.count <= MOST_LISTED:
        return list(p.entries), (1, (0,) * len(p.rows.steps))
    longest = max(p.entries, key=lambda dim: dim.size)
    rest = [dim for dim in p.entries if dim is not longest]
    return rest, (longest.size, longest.steps)


def _columns_in_a(p: Product) -> bool:
    """Whether what is contiguous in the result, or else the longer side, is in a."""
    rows, columns = p.rows, p.columns
    if 1 in (rows.size, columns.size):
        return columns.size < rows.size
    if 1 in (rows.steps[2], columns.steps[2]):
        return rows.steps[2] == 1
    return columns.size < rows.size


def _vectors(rows: int, most: int, machine: Machine) -> int:
    """Vectors of a block: as many as hide the latency of the sums of few rows, else two or three,
    whichever of these takes fewer cycles for ``most`` vectors in all.
    """
    usual = min(most, max(VECTORS, FMA_LATENCY_SUMS // rows))
    if usual != VECTORS:
        return usual
    return min((usual, usual + 1), key=lambda vectors: _row_cycles(most, vectors, machine))


def _row_cycles(most: int, vectors: int, machine: Machine) -> float:
    """Cycles of a term and a row, in tiles as high as whole blocks can have."""
    height, (whole, rest) = rows_for(machine, vectors), divmod(most, vectors)
    widths = [vectors] * whole + [rest] * (rest > 0)
    sums = (max(height * w, height + w) / 2 for w in widths)
    return sum(max(cycles, FMA_LATENCY_CYCLES) for cycles in sums) / height


def _panel(p: Product, tiles: int) -> str:
    """How the columns become a panel; those of one tile of rows are read where they are."""
    if p.columns.steps[1] == 1 or p.columns.size == 1:
        return "rows" if tiles > 1 else ""
    return "transpose" if p.sums[-1].steps[1] == 1 else "gather"


def _range_count(p: Product, blocks: int, tiles: int, machine: Machine) -> int:
    """Into how many ranges the rows are divided: so many that there is work for all cores."""
    wanted = -(-CORE_ITEMS * machine.cores // (p.count * blocks))
    return max(1, min(wanted, tiles, p.macs // (p.count * blocks * UNIT_MACS)))


def _ranges(tiles: Sequence[int], count: int) -> Table:
    """First row of each range, and how many tiles of either height it has."""
    found, row = [], 0
    for first, stop in pairwise(round(i * len(tiles) / count) for i in range(count + 1)):
        taken = tiles[first:stop]
        high = taken.count(tiles[0])
        found.append((row, high, len(taken) - high))
        row += sum(taken)
    return table(found, RANGE)


def _offsets(dims: Sequence[Dim], columns: int) -> Table:
    """The offsets in the first ``columns`` arrays of every entry of some axes."""
    steps = [[dim.steps[i] for dim in dims] for i in range(columns)]
    return table(offset_columns([dim.size for dim in dims], *steps), columns)


def _cycles(p: Product, columns: int, lanes: int, tiles: int, packed: bool) -> float:
    """Of one core."""
    products = p.count * p.rows.size * p.length * columns / lanes / 2
    copied = PANEL_COPY_CYCLES * p.count * p.length * columns if packed else 0.0
    return products + copied + p.count * tiles * TILE_CYCLES
