"""Everything element-wise in a network: formulas of maps, and sums of formulas, in one pass.

What it is.  A map is a matrix of rows (samples * positions) by channels, ``pitch`` elements from
  row to row. Operands are maps, or stay the same along samples, positions or channels; results are
  maps, and sums over rows or over everything. Sums are made in two steps: each band of rows adds up
  its own, then the bands are added in order (`totals`); where one band is all, at once.
When it applies.  Always. Where all arrays are contiguous and nothing depends on row or channel, the
  map is taken as one row, so that few channels cost nothing.
What it costs.  A load or a store for each array and vector, and the operations of the formulas.

The bits of a map's elements depend on the formula alone, those of sums on sizes and machine; those
of a sum over the positions of a sample not on how many samples there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.expr import Expr, operand
from faltung.machine.table import Machine
from faltung.methods.base.parameters import ordered
from faltung.methods.base.step import Argument, Operand, Step, Work
from faltung.methods.elementwise.bands import Cut, Load, flat_cut, rows_cut, up
from faltung.methods.elementwise.elements import Elements, line
from faltung.methods.elementwise.kernel import Flat, Rows
from faltung.methods.elementwise.totals import Finish, Totals, scale_word, totals_step

# Kind and formula of a partial sum; the text of a formula, as 0.0 and -0.0 are equal.
Part = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Input:
    """An operand. kind: "full" (samples * positions rows, ``pitch`` apart), "sample" (a row of
    channels for each sample, ``pitch`` apart), "channel" (one row), "scalar" (one element) or "key"
    (an int64, for `random`).
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


def pointwise(
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
    """Add the steps that compute all outputs and sums; ``after`` a barrier if asked for."""
    call = _simplified(
        _Call(samples, positions, channels, tuple(inputs), tuple(outputs), tuple(sums))
    )
    asked = Elements(
        dtype,
        tuple(given.kind for given in call.inputs),
        tuple(output.expr for output in call.outputs),
        tuple({_part(s): (s.kind, s.expr) for s in call.sums}.values()),
    )
    cut = _cut(call, asked, machine)
    places = _places(call, asked, cut, work, machine)
    kinds = {kind: None for kind, _ in asked.sums}
    totals = {kind: _totals(call, dtype, cut, kind, places) for kind in kinds}
    # Where one band is all, it is finished at once.
    here = tuple(kind for kind in kinds if cut.items and cut.parts(kind) == 1)
    asked = replace(asked, totals=tuple((kind, totals[kind][0]) for kind in here))
    recipe = Flat(asked) if call.flat else Rows(asked, channels % machine.lanes(dtype))
    words = list(ordered(recipe.words, _words(call, cut, places)))
    for kind in here:
        made, given = totals[kind]
        words += ordered(made.words, given)
    work.steps.append(Step(recipe, cut.items, words, title, barrier))
    later = [kind for kind in kinds if kind not in here]
    for kind in later:
        made, given = totals[kind]
        groups = samples if kind == "sample" else 1
        step = totals_step(made, given, groups, machine, f"{title}: add bands, {kind}")
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


def _cut(call: _Call, asked: Elements, machine: Machine) -> Cut:
    load = Load(machine.lanes(asked.dtype), asked.unroll, (asked.work + asked.streams) / 2)
    if call.flat:
        return flat_cut(call.rows * call.channels, load)
    return rows_cut(call.samples, call.positions, call.channels, load, call.kinds)


# Words --------------------------------------------------------------------------------------------


def _part(s: Sum) -> Part:
    return s.kind, repr(s.expr)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where partial sums lie, and how many elements from one row to the next, by kind."""

    of: dict[Part, Operand]
    pitch: dict[str, int]


def _places(call: _Call, asked: Elements, cut: Cut, work: Work, machine: Machine) -> _Places:
    each = line(machine, asked.dtype)
    row = up(call.channels, each) * each
    pitch = {"channel": row, "sample": row, "scalar": each}
    parts = {"channel": cut.parts("channel"), "sample": call.samples * cut.bands}
    of: dict[Part, Operand] = {}
    for kind, expr in asked.sums:
        size = parts.get(kind, cut.items) * pitch[kind] * ELEMENTS[asked.dtype][1]
        of[kind, repr(expr)] = Operand(work.borrow("partial", size))
    return _Places(of, pitch)


def _words(call: _Call, cut: Cut, places: _Places) -> dict[str, Argument]:
    """The words of the pass by name; both kinds of pass find theirs."""
    found: dict[str, Argument] = {
        "length": call.rows * call.channels,
        "chunk": cut.block,
        "samples": call.samples,
        "positions": call.positions,
        "channels": call.channels,
        "step": cut.step,
        "bands": cut.bands,
        "band": cut.band,
        "blocks": cut.blocks,
        "block": cut.block,
        "pitch": places.pitch["channel"],
    }
    for i, given in enumerate(call.inputs):
        found |= {f"in{i}": given.operand, f"in{i}.pitch": given.pitch}
    for i, output in enumerate(call.outputs):
        found |= {f"out{i}": output.operand, f"out{i}.pitch": output.pitch}
    return found | {f"sum{i}": at for i, at in enumerate(places.of.values())}


def _totals(
    call: _Call, dtype: str, cut: Cut, kind: str, places: _Places
) -> tuple[Totals, dict[str, Argument]]:
    """How the sums of a kind are finished, and the words for it."""
    sums = [s for s in call.sums if s.kind == kind]
    parts = [part for part in places.of if part[0] == kind]
    given: dict[str, Argument] = {
        "bands": cut.parts(kind),
        "pitch": places.pitch[kind],
        "columns": 1 if kind == "scalar" else call.channels,
        "chunk": 0,
    }
    given |= {f"sum{i}": places.of[part] for i, part in enumerate(parts)}
    finishes = []
    for i, s in enumerate(sums):
        expr = operand(0) if s.finish is None else s.finish
        kinds = tuple("scalar" if o.kind == "scalar" else "beside" for o in s.operands)
        finishes.append(Finish(parts.index(_part(s)), expr, kinds))
        given |= {
            f"scale{i}": scale_word(dtype, s.scale),
            f"out{i}": s.operand,
            f"out{i}.pitch": s.pitch,
        }
        for j, o in enumerate(s.operands):
            given |= {f"in{i}.{j}": o.operand, f"in{i}.{j}.pitch": o.pitch}
    return Totals(dtype, len(parts), tuple(finishes), kind == "scalar"), given
