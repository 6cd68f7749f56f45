"""Integer convolution: exact sums of 8-bit numbers, whatever the geometry.

What it computes.  ``y = store(formula(float32(sum((x - zero) * w) + bias), *aux))``. x: levels of
  a grid, uint8 or int8 in memory, any strides; padding of mode "zeros" is the level ``zero``, of
  other modes the level that it repeats. w: whole numbers from -128 to 127; bias: whole numbers of
  32 bits; the sum is an int32 (modulo 2**32). formula: an ``Epilogue``, of which operand 0 is the
  sum as a float32, and operand 1 + i array i: numbers, or levels, which count as (q - zero) *
  scale. store: float32, or levels of the grid ``result``: ``geometry/levels.py``.
What it is.  An item copies the levels that a chunk of the outputs reads into a patch, in the form
  that the inner product of the machine takes (``inner.py``), and goes over blocks of output
  channels, tile by tile. There is no im2col: a patch has each level once. Weights are packed once.
When it applies.  Always; output channels are contiguous.
What it costs.  A multiplication for ``group`` terms in each lane, two in a cycle; the copy.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Table, Work
from faltung.methods.integer import minimal_plan
from faltung.methods.integer.choice import (
    COPY_CYCLES,
    CORE_CALLS,
    Choice,
    choose,
    padded,
    sums_cycles,
)
from faltung.methods.integer.inner import BYTES, SINGLE, Inner
from faltung.methods.integer.kernel import (
    BytesKernel,
    DenseKernel,
    DepthwiseKernel,
    IntegerKernel,
    Tile,
)
from faltung.methods.integer.minimal import COMPONENTS, MinimalKernel
from faltung.methods.integer.packing import TAPS, PackBytes, PackIntegers, PackMinimal
from faltung.methods.integer.patch import Form
from faltung.methods.integer.problem import Problem
from faltung.methods.integer.store import Store
from faltung.methods.integer.tables import block_tables, tables

LINE = 64
# Bytes beyond a patch that its last vector may read.
SLACK = 128


# The plan -----------------------------------------------------------------------------------------


def plan(
    p: Problem,
    machine: Machine,
    work: Work,
    *,
    bias: bool,
    weights: str = "float32",
    inner: Inner | None = None,
) -> Choice:
    """Add the steps: packing, then the sums. The arrays are "x", "w", "out", "bias", "aux0", ...

    weights: their type, "float32" or "int8"; a bias is float32. inner: an inner product other than
    that of the machine.
    """
    chosen = choose(p, machine, inner)
    form = Form(chosen.inner, p.x.stored == "int8", p.x.zero, p.contiguous)
    run = padded(p.c.channels_in if chosen.minimal else p.run, chosen.inner.group * chosen.unroll)
    parts = (_minimal if chosen.minimal else _plain)(p, machine, work, chosen, form, run)
    pack = parts.pack("int32", weights, chosen.bits, chosen.inner.group, bias)
    packed, totals = work.keep("weights", parts.sizes[0]), work.keep("bias", parts.sizes[1] * 4)
    work.prepare.append(
        pack.step(
            len(parts.packs),
            "pack weights",
            barrier=False,
            w=Operand("w"),
            given_bias=Operand("bias") if bias else Operand("w"),
            blocks=parts.packs,
            packed=packed,
            bias=totals,
            channel=p.c.w[0] if chosen.slice else p.c.w[1],
            correction=form.shift - p.x.zero,
            **parts.packing,
        )
    )
    items = chosen.chunks(p.outputs) * chosen.parts
    calls = min(items, CORE_CALLS * machine.cores)
    arrays: dict[str, Argument] = {name: Operand(name) for name in parts.kernel.store.names}
    work.steps.append(
        parts.kernel.step(
            calls,
            _title(p, chosen, parts.kernel.tiles),
            barrier=False,
            x=Operand("x"),
            w=packed,
            bias=totals,
            patches=work.borrow("patches", calls * parts.patch),
            patch_bytes=parts.patch,
            inner=items,
            calls=calls,
            parts=chosen.parts,
            run_bytes=run * chosen.inner.bytes,
            x_channel=p.channel_step,
            **parts.given,
            **arrays,
        )
    )
    return chosen


@dataclass(frozen=True, slots=True)
class _Parts:
    """What kinds of plans differ in. packs, sizes: of ``block_tables``; packing, given: arguments
    of both kernels; patch: bytes of the memory of a call.
    """

    pack: type[PackIntegers]
    packs: Table
    sizes: tuple[int, int]
    packing: dict[str, Argument]
    kernel: IntegerKernel
    given: dict[str, Argument]
    patch: int


def _plain(
    p: Problem, machine: Machine, work: Work, chosen: Choice, form: Form, run: int
) -> _Parts:
    """Sums as they are."""
    count, size = p.sum_length // p.run, chosen.inner.bytes
    blocks, packs, sizes = block_tables(p, machine, chosen, count * run)
    given, tiles = tables(p, machine, chosen, len(blocks))
    sliced = replace(p, slice=chosen.slice)
    entries = sliced.tap_entries(chosen.chunk) * size
    given |= {"blocks": blocks, "entries": entries, "entry_count": count}
    packing: dict[str, Argument] = {"reduction": p.reduction(run), "length": count * run}
    pack, kinds = PackIntegers, {SINGLE.name: DepthwiseKernel, BYTES.name: BytesKernel}
    if chosen.inner is BYTES:
        quads, pack = count * run // BYTES.group, PackBytes
        steps = {
            "steps": work.keep("steps", len(blocks) * quads * 4),
            "counts": work.keep("counts", len(blocks) * 8),
        }
        within = np.arange(0, run * size, 4, dtype=np.int64)
        packing |= {"places": (entries[:, None] + within).ravel(), **steps}
        given |= {"quads": quads, **steps}
    kernel = kinds.get(chosen.inner.name, DenseKernel)(
        product=chosen.inner.name,
        form=form,
        store=store_of(p),
        tiles=tiles,
        kinds=len(chosen.blocks),
        unroll=chosen.unroll,
        bits=chosen.bits,
    )
    patch = padded(sliced.patch_size(chosen.chunk) * size + SLACK, LINE)
    return _Parts(pack, packs, sizes, packing, kernel, given, patch)


def _minimal(
    p: Problem, machine: Machine, work: Work, chosen: Choice, form: Form, run: int
) -> _Parts:
    """By minimal filtering."""
    count = p.sum_length // p.c.channels_in // TAPS**2
    blocks, packs, sizes = block_tables(p, machine, chosen, count * run * COMPONENTS)
    given, tiles, finishes = minimal_plan.tables(p, machine, chosen, len(blocks))
    entries = minimal_plan.entries(p, chosen)
    runs = -(-p.channels * chosen.inner.bytes // machine.vector_bytes)
    memory = minimal_plan.memory(p, chosen, machine.lanes("int32"))
    patch = memory.pop("patch_bytes")
    given |= {"blocks": blocks, "entries": entries, "entry_count": count, "transform_runs": runs}
    given |= memory
    kernel = MinimalKernel(
        product=chosen.inner.name,
        form=form,
        store=store_of(p),
        tiles=tiles,
        kinds=len(chosen.blocks),
        unroll=chosen.unroll,
        bits=chosen.bits,
        finishes=finishes,
    )
    packing: dict[str, Argument] = {
        "reduction": minimal_plan.reduction(p, run),
        "length": count * run,
    }
    return _Parts(PackMinimal, packs, sizes, packing, kernel, given, patch)


def cycles(p: Problem, machine: Machine, chosen: Choice) -> float:
    """Of one core: sums and copies."""
    patch = replace(p, slice=chosen.slice).patch_size(chosen.chunk)
    copied = chosen.chunks(p.outputs) * chosen.parts * patch
    return sums_cycles(p, machine, chosen.inner) + COPY_CYCLES * copied


def traffic(p: Problem) -> int:
    """Bytes of the arrays, each once."""
    c = p.c
    out = c.batch * c.groups * c.channels_out * c.outputs * (1 if p.result else 4)
    levels = c.batch * c.groups * c.channels_in * c.inputs
    return out + levels + c.groups * c.channels_out * p.sum_length


def describe(p: Problem, chosen: Choice) -> str:
    """How it proceeds, for people."""
    outputs = "x".join(map(str, chosen.chunk))
    return f"{chosen.inner.name}, patches for {outputs} outputs"


def _title(p: Problem, chosen: Choice, tiles: Sequence[Tile]) -> str:
    largest = max(tiles, key=lambda tile: tile.height * tile.vectors)
    kind = "integer depthwise" if chosen.slice else "integer"
    kind = "integer F(2x2)" if chosen.minimal else kind
    what = f"{kind} {largest.height}x{largest.vectors}, {chosen.inner.name}"
    stored = f", to {p.result.stored}" if p.result else ""
    return f"{what}{stored}" + (f", {p.epilogue}" if p.epilogue else "")


def store_of(p: Problem) -> Store:
    along = list(zip(*(w.aux for w in p.windows), strict=True))
    return Store(
        p.result,
        p.epilogue,
        p.grids,
        tuple(aux[2] for aux in p.c.aux),
        tuple(not any(steps) for steps in along),
    )
