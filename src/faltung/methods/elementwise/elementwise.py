"""Everything elementwise in a network: formulas of maps, and sums of formulas, in one pass.

What it is.  A map is a matrix of rows (samples * positions) by channels, ``pitch`` elements from
  row to row. Operands are maps, or stay the same along any axes of one; results are maps, and sums
  over rows or over everything. Nothing that is broadcast is ever stored as a map. Sums are made in
  two steps: each band of rows adds up its own, then the bands are added in order (``totals``);
  where one band is all, at once.
When it applies.  Always. Where all arrays are contiguous and nothing depends on row or channel, the
  map is taken as one row, so that few channels cost nothing (``spread`` makes axes one where all
  arrays allow it). Rows of few channels are taken several at a time (``narrow``).
What it costs.  A load or a store for each array and vector, and the operations of the formulas.

The bits of a map's elements depend on the formula alone, those of sums on sizes and machine; those
of a sum over the positions of a sample not on how many samples there are.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from math import prod

from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.expr import Expr, operand
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Work
from faltung.methods.elementwise.bands import (
    SHORT_ITEM_CYCLES,
    Cut,
    Load,
    flat_cut,
    rows_cut,
    up,
)
from faltung.methods.elementwise.kernel import (
    SPREAD,
    ElementwiseKernel,
    FlatKernel,
    partial_pitch,
)
from faltung.methods.elementwise.narrow import NarrowKernel
from faltung.methods.elementwise.rows import RowsKernel
from faltung.methods.elementwise.spread import Axis, kind_of, normal, pitch_of
from faltung.methods.elementwise.totals import StoredTotal, TotalsKernel, scale_bits

# Instructions of one iteration over rows of few channels: those of a vector for each channel.
MOST_NARROW = 400

# Kind and formula of a partial sum; the text of a formula, as 0.0 and -0.0 are equal.
PartialSum = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Input:
    """An operand. kind: "full" (samples * positions rows, ``pitch`` apart), "sample" (a row of
    channels for each sample, ``pitch`` apart), "channel" (one row), "scalar" (one element), "key"
    (an int64, for ``random``) or "spread": with ``strides`` along the axes of the samples, of the
    positions and of the channels, 0 where it is the same; along the channels 1 or 0.
    """

    kind: str
    operand: Operand
    pitch: int = 0
    strides: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A formula of the inputs, stored to a map with ``pitch``. It may replace an input that is full
    and lies at the same place.
    """

    expr: Expr
    operand: Operand
    pitch: int


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of a formula of the inputs. kind: "channel" (over all rows), "sample" (over the
    positions of each sample, stored ``pitch`` apart) or "scalar" (over everything).

    finish: what is stored, a formula of ``scale`` times the sum (operand 0), of ``operands`` (1,
    2, ...: of the same kind as the sum, or "scalar") and, after these, of the scaled sums of this
    kind in their order. Sums of one formula and kind are made once.
    """

    expr: Expr
    kind: str
    operand: Operand
    pitch: int = 0
    scale: float = 1.0
    finish: Expr | None = None
    operands: tuple[Input, ...] = ()


def formulas(
    work: Work,
    dtype: str,
    machine: Machine,
    *,
    samples: int,
    positions: int,
    channels: int,
    inputs: Sequence[Input] = (),
    outputs: Sequence[Output] = (),
    sums: Sequence[Sum] = (),
    title: str,
    barrier: bool = False,
    sample_axes: Sequence[int] = (),
    axes: Sequence[int] = (),
) -> None:
    """Add the steps that compute all outputs and sums, after a barrier if asked for.

    sample_axes, axes: the axes of the samples and of the positions, which operands that are
    "spread" have strides for.
    """
    asked = _Call(samples, positions, channels, tuple(inputs), tuple(outputs), tuple(sums))
    if any(given.kind == "spread" for given in inputs):
        call = _spread(asked, sample_axes, axes)
    else:
        call = _simplified(asked)
    kernel = _kernel(call, dtype, machine)
    cut = _cut(call, kernel, machine)
    partial = _partial(call, kernel, cut, work, machine)
    kinds = {kind: None for kind, _ in kernel.sums}
    totals = {kind: _totals(call, dtype, cut, kind, partial) for kind in kinds}
    # Where one band is all, it is finished at once.
    here = [kind for kind in kinds if cut.items and cut.partial_sums(kind) == 1]
    kernel = replace(kernel, totals=tuple((kind, totals[kind][0]) for kind in here))
    given = _arguments(call, cut, partial)
    step = kernel.step(
        cut.items, title, barrier=barrier, **{name: given[name] for name in kernel.names}
    )
    for kind in here:
        made, more = totals[kind]
        finish = made.step(0, title, barrier=barrier, item_columns=0, **more)
        step = replace(step, arguments=(*step.arguments, *finish.arguments))
    work.steps.append(step)
    later = [kind for kind in kinds if kind not in here]
    for kind in later:
        made, more = totals[kind]
        groups = samples if kind == "sample" else 1
        step = made.totals_step(more, groups, machine, f"{title}: add bands, {kind}")
        # One barrier for all of them: they read the partial sums, and nothing of each other.
        work.steps.append(replace(step, barrier=kind == later[0]))


@dataclass(frozen=True, slots=True)
class _Call:
    """What is asked for."""

    samples: int
    positions: int
    channels: int
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    sums: tuple[Sum, ...]
    # The sizes of the axes of samples and of positions, where operands are spread.
    sizes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @property
    def rows(self) -> int:
        return self.samples * self.positions

    @property
    def kinds(self) -> set[str]:
        return {given.kind for given in self.inputs} | {s.kind for s in self.sums}

    @property
    def contiguous(self) -> bool:
        """Whether the rows of all maps follow each other."""
        maps = [given.pitch for given in self.inputs if given.kind == "full"]
        maps += [given.strides[-1] for given in self.inputs if given.kind == "map"]
        return {*maps, *(output.pitch for output in self.outputs)} <= {self.channels}

    @property
    def flat(self) -> bool:
        """Whether it is all one row."""
        return self.contiguous and self.kinds <= {"full", "scalar", "key"}

    def narrow(self, lanes: int) -> bool:
        """Whether a vector has room for several rows, and what the rows share is worth it."""
        if self.sums or not self.contiguous or self.channels >= lanes:
            return False
        run = self.sizes[1][-1] if self.sizes[1] else self.positions
        return min(run, self.positions) > 1


def _simplified(call: _Call) -> _Call:
    """Samples are rows like others where nothing is the same along one; one row is a map."""
    if call.positions == 1:
        same = tuple(replace(i, kind="full") if i.kind == "sample" else i for i in call.inputs)
        call = replace(call, inputs=same)
    if call.rows == 1 and not call.sums:
        inputs = tuple(
            replace(i, kind="full", pitch=call.channels) if i.kind in ("full", "channel") else i
            for i in call.inputs
        )
        outputs = tuple(replace(output, pitch=call.channels) for output in call.outputs)
        call = replace(call, inputs=inputs, outputs=outputs)
    if "sample" not in call.kinds:
        call = replace(call, samples=1, positions=call.rows)
    return call


def _spread(call: _Call, sample_axes: Sequence[int], axes: Sequence[int]) -> _Call:
    """The same call over as few axes as there can be, and with operands of what kinds they are."""
    if not call.rows * call.channels:
        same = tuple(replace(i, kind="scalar") if i.kind == "spread" else i for i in call.inputs)
        return _simplified(replace(call, inputs=same))
    rows, count = (*sample_axes, *axes), len(sample_axes)
    given = [i for i in call.inputs if i.kind != "key"]
    strides = [_strides(i, rows, count) for i in given]
    strides += [(*_row_major(rows, output.pitch), 1) for output in call.outputs]
    along = list(map(Axis, (*rows, call.channels), zip(*strides, strict=True)))
    form = normal(along[:count], along[count:-1], along[-1], [s.kind for s in call.sums])
    inputs = []
    for found in call.inputs:
        if found.kind != "key":
            array = given.index(found)
            kind, pitch = kind_of(form, array)
            steps = tuple(axis.strides[array] for axis in (*form.samples, *form.rows))
            found = replace(found, kind=kind, pitch=pitch, strides=steps)
        inputs.append(found)
    pitches = (
        pitch_of((*form.samples, *form.rows), len(given) + i, form.channels.size)
        for i in range(len(call.outputs))
    )
    sizes = [tuple(axis.size for axis in each) for each in (form.samples, form.rows)]
    return _Call(
        prod(sizes[0]),
        prod(sizes[1]),
        form.channels.size,
        tuple(inputs),
        tuple(
            replace(output, pitch=pitch)
            for output, pitch in zip(call.outputs, pitches, strict=True)
            if pitch is not None  # never: rows of an output are equally far apart
        ),
        call.sums,
        (sizes[0], sizes[1]),
    )


def _strides(given: Input, rows: Sequence[int], count: int) -> tuple[int, ...]:
    """Along all axes of rows, of which ``count`` are those of samples, and along the channels."""
    if given.kind == "spread":
        return given.strides
    still = (0,) * len(rows)
    if given.kind == "sample":
        return (*_row_major(rows[:count], given.pitch), *still[count:], 1)
    if given.kind == "full":
        return (*_row_major(rows, given.pitch), 1)
    return (*still, int(given.kind == "channel"))


def _row_major(sizes: Sequence[int], step: int) -> tuple[int, ...]:
    return tuple(step * prod(sizes[i + 1 :]) for i in range(len(sizes)))


def _kernel(call: _Call, dtype: str, machine: Machine) -> ElementwiseKernel:
    asked = (
        dtype,
        tuple(given.kind for given in call.inputs),
        tuple(output.expr for output in call.outputs),
        tuple({_key(s): (s.kind, s.expr) for s in call.sums}.values()),
    )
    if call.flat:
        return FlatKernel(*asked)
    lanes, channels = machine.lanes(dtype), call.channels
    spread = bool(call.kinds & set(SPREAD))
    before, after = (len(sizes) for sizes in call.sizes) if spread else (0, 0)
    rows = RowsKernel(*asked, (), channels % lanes, before, after)
    if call.narrow(lanes) and channels * rows.work <= MOST_NARROW:
        gathered = tuple(
            i
            for i, given in enumerate(call.inputs)
            if given.kind == "column" and given.strides[-1] != 1
        )
        return NarrowKernel(*asked, (), 0, before, after, channels, gathered)
    return rows


def _cut(call: _Call, kernel: ElementwiseKernel, machine: Machine) -> Cut:
    cycles = (kernel.work + kernel.streams) / 2
    lanes = machine.lanes(kernel.dtype)
    load = Load(lanes, kernel.unroll, cycles)
    if isinstance(kernel, NarrowKernel):
        # As many rows at once as there are lanes.
        load = Load(lanes, lanes, cycles * call.channels / lanes, row=0)
    if not call.sums:
        load = replace(load, item=SHORT_ITEM_CYCLES)
    if call.flat:
        return flat_cut(call.rows * call.channels, load)
    return rows_cut(call.samples, call.positions, call.channels, load, call.kinds)


# Arguments ----------------------------------------------------------------------------------------


def _key(s: Sum) -> PartialSum:
    return s.kind, repr(s.expr)


@dataclass(frozen=True, slots=True)
class _Partial:
    """Where partial sums lie, and how many elements from one row to the next, by kind."""

    of: dict[PartialSum, Operand]
    pitch: dict[str, int]


def _partial(
    call: _Call, kernel: ElementwiseKernel, cut: Cut, work: Work, machine: Machine
) -> _Partial:
    each = partial_pitch(machine, kernel.dtype)
    row = up(call.channels, each) * each
    pitch = {"channel": row, "sample": row, "scalar": each}
    counts = {"channel": cut.partial_sums("channel"), "sample": call.samples * cut.bands}
    of: dict[PartialSum, Operand] = {}
    for kind, expr in kernel.sums:
        size = counts.get(kind, cut.items) * pitch[kind] * ELEMENTS[kernel.dtype][1]
        of[kind, repr(expr)] = work.borrow("partial", size)
    return _Partial(of, pitch)


def _arguments(call: _Call, cut: Cut, partial: _Partial) -> dict[str, Argument]:
    """The arguments of both kinds of kernel by name."""
    found: dict[str, Argument] = {
        "length": call.rows * call.channels,
        "item_length": cut.block,
        "samples": call.samples,
        "positions": call.positions,
        "channels": call.channels,
        **asdict(cut),
        "pitch": partial.pitch["channel"],
    }
    for i, given in enumerate(call.inputs):
        found |= {f"in{i}": given.operand, f"in{i}_pitch": given.pitch}
        found |= {f"in{i}_axis{k}": stride for k, stride in enumerate(given.strides)}
    found |= {f"size{k}": size for k, size in enumerate((*call.sizes[0], *call.sizes[1]))}
    for i, output in enumerate(call.outputs):
        found |= {f"out{i}": output.operand, f"out{i}_pitch": output.pitch}
    return found | {f"sum{i}": at for i, at in enumerate(partial.of.values())}


def _totals(
    call: _Call, dtype: str, cut: Cut, kind: str, partial: _Partial
) -> tuple[TotalsKernel, dict[str, Argument]]:
    """How the sums of a kind are finished, and the arguments for it, but for "item_columns"."""
    found = [key for key in partial.of if key[0] == kind]
    given: dict[str, Argument] = {
        "bands": cut.partial_sums(kind),
        "pitch": partial.pitch[kind],
        "columns": 1 if kind == "scalar" else call.channels,
    }
    given |= {f"sum{i}": partial.of[key] for i, key in enumerate(found)}
    stored = []
    for i, s in enumerate(s for s in call.sums if s.kind == kind):
        expr = operand(0) if s.finish is None else s.finish
        kinds = tuple("scalar" if o.kind == "scalar" else "column" for o in s.operands)
        stored.append(StoredTotal(found.index(_key(s)), expr, kinds))
        given |= {
            f"scale{i}": scale_bits(dtype, s.scale),
            f"out{i}": s.operand,
            f"out{i}_pitch": s.pitch,
        }
        for j, o in enumerate(s.operands):
            given |= {f"in{i}_{j}": o.operand, f"in{i}_{j}_pitch": o.pitch}
    return TotalsKernel(dtype, len(found), tuple(stored), kind == "scalar"), given
