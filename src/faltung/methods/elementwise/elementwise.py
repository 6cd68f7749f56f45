"""Everything elementwise in a network: formulas of maps, and sums of formulas, in one pass.

What it is.  A map is a matrix of rows (samples * positions) by channels, ``pitch`` elements from
  row to row. Operands are maps, or stay the same along samples, positions or channels; results are
  maps, and sums over rows or over everything. Sums are made in two steps: each band of rows adds up
  its own, then the bands are added in order (``totals``); where one band is all, at once.
When it applies.  Always. Where all arrays are contiguous and nothing depends on row or channel, the
  map is taken as one row, so that few channels cost nothing.
What it costs.  A load or a store for each array and vector, and the operations of the formulas.

The bits of a map's elements depend on the formula alone, those of sums on sizes and machine; those
of a sum over the positions of a sample not on how many samples there are.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.expr import Expr, operand
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Work
from faltung.methods.elementwise.bands import Cut, Load, flat_cut, rows_cut, up
from faltung.methods.elementwise.kernel import (
    ElementwiseKernel,
    FlatKernel,
    RowsKernel,
    partial_pitch,
)
from faltung.methods.elementwise.totals import StoredTotal, TotalsKernel, scale_bits

# Kind and formula of a partial sum; the text of a formula, as 0.0 and -0.0 are equal.
PartialSum = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Input:
    """An operand. kind: "full" (samples * positions rows, ``pitch`` apart), "sample" (a row of
    channels for each sample, ``pitch`` apart), "channel" (one row), "scalar" (one element) or "key"
    (an int64, for ``random``).
    """

    kind: str
    operand: Operand
    pitch: int = 0


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
) -> None:
    """Add the steps that compute all outputs and sums, after a barrier if asked for."""
    call = _simplified(
        _Call(samples, positions, channels, tuple(inputs), tuple(outputs), tuple(sums))
    )
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

    @property
    def rows(self) -> int:
        return self.samples * self.positions

    @property
    def kinds(self) -> set[str]:
        return {given.kind for given in self.inputs} | {s.kind for s in self.sums}

    @property
    def flat(self) -> bool:
        """Whether it is all one row."""
        maps = [given.pitch for given in self.inputs if given.kind == "full"]
        pitches = {*maps, *(output.pitch for output in self.outputs)}
        return pitches <= {self.channels} and self.kinds <= {"full", "scalar", "key"}


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


def _kernel(call: _Call, dtype: str, machine: Machine) -> ElementwiseKernel:
    asked = (
        dtype,
        tuple(given.kind for given in call.inputs),
        tuple(output.expr for output in call.outputs),
        tuple({_key(s): (s.kind, s.expr) for s in call.sums}.values()),
    )
    if call.flat:
        return FlatKernel(*asked)
    return RowsKernel(*asked, tail=call.channels % machine.lanes(dtype))


def _cut(call: _Call, kernel: ElementwiseKernel, machine: Machine) -> Cut:
    cycles = (kernel.work + kernel.streams) / 2
    load = Load(machine.lanes(kernel.dtype), kernel.unroll, cycles)
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
