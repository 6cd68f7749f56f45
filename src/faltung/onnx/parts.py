"""A model as a sequence of parts: compiled programs, and nodes that run on the host between them.

First the host runs what it can with what is given; then a program is made of what follows, as far
as it goes; its results lead to the next nodes for the host, and so on. A program is made for the
sizes that it finds, which may depend on what the host computed, and is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from hashlib import blake2b
from typing import Any, TypeGuard
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.foreign import Unsaid
from faltung.onnx import control, fallback, flat, host, unroll
from faltung.onnx.fold import evaluate
from faltung.onnx.gaps import Gap, node, title, unsupported
from faltung.onnx.importer import import_part
from faltung.onnx.knowledge import Knowledge
from faltung.onnx.part import Held, Later, Needed, Part
from faltung.onnx.programs import Program, Programs
from faltung.onnx.read import Body, Call
from faltung.onnx.tensors import dtype_of

Array = npt.NDArray[Any]
Values = dict[str, Array]

# Programs that are kept of the same nodes, each for other sizes, and of a whole model.
MAX_PROGRAMS = 8
MOST_PROGRAMS = 64
# Numbers that a node on the host reads at most, or makes, for its results to be remembered.
MOST_REMEMBERED = 16
# Elements of an array whose values a program is made for, such as a shape, or a weight.
MOST_FIXED = 1 << 24


@dataclass(slots=True)
class Plan:
    """What the host does at a stage: nodes, each by itself, or several together by another runtime;
    the reason of each; and what is left.
    """

    actions: list[tuple[Sequence[Call], bool]]
    reasons: list[tuple[Call, str]]
    rest: Sequence[Call]


@dataclass(eq=False, slots=True, weakref_slot=True)
class Stage:
    """Nodes that are left. known: what follows from the file and the sizes. forced: nodes that run
    on the host, by id, and why. names: what the nodes read. settings: names of which programs are
    made for each value. programs: by sizes, each with what is left after it. plans: what the host
    does first, by what there is.
    """

    calls: Sequence[Call]
    known: Mapping[str, Array]
    forced: Mapping[int, str]
    names: frozenset[str]
    settings: set[str] = field(default_factory=set)
    programs: dict[Any, tuple[Program, "Stage"]] = field(default_factory=dict)
    plans: dict[Any, Plan] = field(default_factory=dict)


@dataclass(slots=True)
class Record:
    """What a run did, one after the other: nodes on the host with the reasons, and a program."""

    host: list[tuple[Call, str]] = field(default_factory=list)
    program: Program | None = None

    @property
    def part(self) -> Part | None:
        return None if self.program is None else self.program.part


class Engine:
    """What all parts of a model share."""

    def __init__(self, knowledge: Knowledge, dtype: Float, programs: Programs) -> None:
        self.knowledge, self.dtype, self.programs = knowledge, dtype, programs
        self.runtime = fallback.Runtime(knowledge)
        self.ran = False  # whether a part has run since the model was called
        self._routines: dict[int, Routine] = {}
        self._stages: WeakSet[Stage] = WeakSet()

    def routine(self, body: Body) -> "Routine":
        """A body of a loop, as parts of its own."""
        found = self._routines.get(id(body))
        if found is None:
            found = self._routines[id(body)] = Routine(self, body)
        return found

    def stage(
        self, calls: Sequence[Call], known: Mapping[str, Array], forced: Mapping[int, str]
    ) -> Stage:
        names = frozenset(name for call in calls for name in self.knowledge.reads(call))
        made = Stage(calls, known, forced, names)
        self._stages.add(made)
        return made

    def forget(self) -> None:
        """Drop all programs where there are too many."""
        if sum(len(stage.programs) for stage in self._stages) < MOST_PROGRAMS:
            return
        for stage in self._stages:
            stage.programs.clear()
        for routine in self._routines.values():
            routine.roots.clear()


class Routine:
    """A body that runs with inputs by name, as often as one likes."""

    def __init__(self, engine: Engine, body: Body) -> None:
        self.engine, self.body = engine, body
        self.knowledge = engine.knowledge
        self.free = flat.free(body)
        self.wanted = frozenset(body.outputs)
        self.roots: dict[Any, tuple[list[Array], Stage]] = {}
        self.records: list[Record] = []
        self.remembered: dict[int, tuple[Call, list[Any], list[Array]]] = {}
        # Names of arrays that a program has made in the last run, so that nobody else has them.
        self.fresh: set[str] = set()
        # The program that was all of the last run.
        self.single: Program | None = None
        # What a look ahead has found, of use where it was for the sizes of the first call.
        self.ahead: tuple[Mapping[str, Held | Later], Part] | None = None

    def run(self, values: Mapping[str, Array], known: Mapping[str, Array]) -> list[Array]:
        """The outputs. values: inputs, and what the body reads around it. known: the part of that
        which does not change from call to call with the same sizes.
        """
        first = stage = self.root(known, values)
        values = dict(values)
        self.records, self.fresh = [], set()
        while True:
            record = Record()
            self.records.append(record)
            rest = self.on_host(stage, values, record)
            if not rest:
                break
            program, after = self.program(stage, rest, values)
            record.program = program
            program.run(values)
            self.engine.ran = True
            self.fresh |= program.part.outputs.keys()
            stage = after
            for name in values.keys() - stage.names - self.wanted:
                del values[name]
        programs = [record.program for record in self.records if record.program is not None]
        alone = len(programs) == 1 and not any(r.host for r in self.records) and not first.settings
        self.single = programs[0] if alone else None
        found = [values[n] if n in values else stage.known.get(n) for n in self.body.outputs]
        for name, array in zip(self.body.outputs, found, strict=True):
            if array is None:
                raise self.knowledge.error(f"output {name!r}: is made by no node")
        return [array for array in found if array is not None]

    def root(self, known: Mapping[str, Array], values: Mapping[str, Array]) -> Stage:
        """Where a run begins. Constants that the call replaces are no constants."""
        mine = self.body.constants
        replaced = tuple(sorted(name for name in values if name in mine or name in known))
        key = replaced, tuple(sorted((name, id(array)) for name, array in known.items()))
        found = self.roots.pop(key, None)
        if found is None:
            left = {n: array for n, array in {**mine, **known}.items() if n not in values}
            found = list(known.values()), self.engine.stage(self.body.calls, left, {})
        self.roots[key] = found
        if len(self.roots) > MAX_PROGRAMS:
            del self.roots[next(iter(self.roots))]
        return found[1]

    def release(self) -> bool:
        """Let go of constants that the one program of the model has packed; whether it is one, so
        that nobody asks for them again.
        """
        if len(self.roots) != 1 or any(record.host for record in self.records):
            return False
        ((_, stage),) = self.roots.values()
        if len(stage.programs) != 1 or stage.settings:
            return False
        ((program, after),) = stage.programs.values()
        if program.compiled is None or after.calls:
            return False
        program.compiled.inference.release()
        for each in (stage, after):
            each.known = {name: a for name, a in each.known.items() if name in self.wanted}
        self.knowledge.release()
        return True

    # On the host ---------------------------------------------------------------------------------

    def on_host(self, stage: Stage, values: Values, record: Record) -> Sequence[Call]:
        """Run what is for the host and has all that it reads; what is left. Which nodes these are
        follows from what there is and of which types, and is kept.
        """
        key = frozenset((name, a.dtype) for name, a in values.items() if name in stage.names)
        plan = stage.plans.get(key)
        if plan is None:
            stage.plans[key] = self.planned(stage, values)
        else:
            for calls, runtime in plan.actions:
                if runtime:
                    self.in_runtime(stage, calls, values)
                else:
                    self.execute(stage, calls[0], values)
        plan = stage.plans[key]
        record.host = plan.reasons
        self.engine.ran |= bool(plan.actions)
        return plan.rest

    def planned(self, stage: Stage, values: Values) -> Plan:
        """What the host does, found while it is done."""
        made = Plan([], [], stage.calls)
        while True:
            rest, group = self.swept(stage, made, values)
            if len(rest) + len(group) < len(made.rest):
                made.rest = [call for call in made.rest if id(call) in rest or id(call) in group]
            if not group:
                return made
            ready = [call for call in made.rest if id(call) in group]
            calls = fallback.connected(self.knowledge, made.rest, ready)
            self.in_runtime(stage, calls, values)
            made.actions.append((calls, True))
            reasons = self.knowledge.foreign
            made.reasons += [(call, f"onnxruntime: {reasons[id(call)]}") for call in calls]
            taken = set(map(id, calls))
            made.rest = [call for call in made.rest if id(call) not in taken]

    def swept(self, stage: Stage, plan: Plan, values: Values) -> tuple[set[int], set[int]]:
        """Run the nodes for the host that are ready; which are left for a program, and which are
        ready for another runtime.
        """
        rest: set[int] = set()
        group: set[int] = set()
        waiting: set[str] = set()
        for call in plan.rest:
            reads = self.knowledge.reads(call)
            reason = None
            if waiting.isdisjoint(reads):
                if id(call) in self.knowledge.foreign:
                    group.add(id(call))
                    waiting.update(call.outputs)
                    continue
                reason = self.reason(stage, call, reads, values)
            if reason is None:
                rest.add(id(call))
                waiting.update(call.outputs)
                continue
            self.execute(stage, call, values)
            plan.actions.append(([call], False))
            plan.reasons.append((call, reason))
        return rest, group

    def in_runtime(self, stage: Stage, group: Sequence[Call], values: Values) -> None:
        """Run nodes by another runtime, together."""
        inputs = {
            name: values[name] if name in values else stage.known[name]
            for name in fallback.inputs_of(group)
        }
        try:
            values.update(self.engine.runtime.run(group, inputs, stage.known))
        except FaltungError as error:
            raise self.knowledge.error(str(error)) from None

    def reason(
        self, stage: Stage, call: Call, reads: Sequence[str], values: Mapping[str, Array]
    ) -> str | None:
        """Why a node whose inputs are all there runs on the host; None: it is for a program."""
        if call.op in ("If", "Shape", "Size", "EyeLike") and not call.domain:
            return None
        forced = stage.forced.get(id(call))
        if forced is not None:
            return forced
        if call.op not in host.LOOPS and all(name in stage.known for name in reads):
            return None
        try:
            self.knowledge.check(call)
        except FaltungError:
            return None  # the part that it is for says what is wrong
        if call.op in host.LOOPS and self.turns(stage, call, values) is not None:
            return None
        return host.eager(call, [self.dtype(stage, name, values) for name in call.inputs])

    def turns(self, stage: Stage, call: Call, values: Mapping[str, Array]) -> int | None:
        """How often a loop runs that becomes nodes."""

        def shape(name: str) -> tuple[int, ...]:
            return (values[name] if name in values else stage.known[name]).shape

        return unroll.turns(call, stage.known.get, shape)

    def dtype(self, stage: Stage, name: str, values: Mapping[str, Array]) -> str | None:
        if not name:
            return None
        found = values[name] if name in values else stage.known[name]
        return str(found.dtype)

    def evaluated(self, call: Call, inputs: Sequence[Array | None]) -> list[Array]:
        """The results of a node on the host. Of a few numbers, such as a sampling rate, which are
        mostly what they were before, they are remembered.
        """
        key: list[Any] = []
        for x in inputs:
            if x is not None and x.size > MOST_REMEMBERED:
                return list(evaluate(call, inputs))
            key.append(x if x is None else (x.dtype, x.shape, x.tobytes()))
        before = self.remembered.get(id(call))
        if before is None or before[1] != key:
            before = call, key, list(evaluate(call, inputs))
            if sum(made.size for made in before[2]) > MOST_REMEMBERED:
                return before[2]
            self.remembered[id(call)] = before
        return [made.copy() for made in before[2]]

    def execute(self, stage: Stage, call: Call, values: Values) -> None:
        def value(name: str) -> Array:
            return values[name] if name in values else stage.known[name]

        try:
            if call.op in host.LOOPS:
                body = call.attributes.get("body")
                if not isinstance(body, Body):
                    raise FaltungError("its body is missing")
                routine = self.engine.routine(body)
                around = {n: values[n] for n in routine.free if n in values}
                known = {n: stage.known[n] for n in routine.free if n not in values}
                inputs = [value(name) if name else None for name in call.inputs]
                made = control.run(call, routine.run, body, inputs, around, known)
            else:
                made = self.evaluated(call, [value(n) if n else None for n in call.inputs])
        except Unsaid as error:
            raise unsupported(
                self.knowledge.where, [Gap(title(call), node(call), "", str(error))], run=True
            ) from None
        except MemoryError:
            raise
        except FaltungError as error:
            if str(error).startswith(f"{self.knowledge.where}: "):
                raise
            message = f"node {node(call)} ({title(call)}): {error}"
            raise self.knowledge.error(message) from None
        for name, array in zip(call.outputs, made, strict=False):
            if name:
                values[name] = array
        for name in call.outputs[len(made) :]:
            if name:
                message = f"node {node(call)} ({title(call)}): has no output {name!r}"
                raise self.knowledge.error(message)

    # Programs ------------------------------------------------------------------------------------

    def program(
        self, stage: Stage, rest: Sequence[Call], values: Mapping[str, Array]
    ) -> tuple[Program, Stage]:
        """The program for the sizes that are there, and the stage after it."""
        names = sorted(name for name in values if name in stage.names)
        if rest is not stage.calls:
            read = {name for call in rest for name in self.knowledge.reads(call)}
            names = [name for name in names if name in read]
        while True:
            settings = [name for name in names if name in stage.settings]
            key = (
                None if rest is stage.calls else tuple(map(id, rest)),
                *((n, values[n].shape, values[n].dtype) for n in names),
                *(digest(values[n]) for n in settings),
            )
            found = stage.programs.pop(key, None)
            if found is None:
                try:
                    found = self.made(stage, rest, names, settings, values)
                except Needed as need:
                    if need.name in stage.settings or values[need.name].size > MOST_FIXED:
                        raise self.knowledge.error(f"{need.name!r}: must be a constant") from None
                    stage.settings.add(need.name)
                    continue
            stage.programs[key] = found  # in order of use
            if len(stage.programs) > MAX_PROGRAMS:
                del stage.programs[next(iter(stage.programs))]
            return found

    def made(
        self,
        stage: Stage,
        rest: Sequence[Call],
        names: Sequence[str],
        settings: Sequence[str],
        values: Mapping[str, Array],
    ) -> tuple[Program, Stage]:
        known = {**stage.known, **{name: values[name] for name in settings}}
        held = {
            name: Held(values[name].shape, str(values[name].dtype), values[name])
            for name in names
            if name not in settings
        }
        ahead, self.ahead = self.ahead, None
        if ahead is not None and rest is self.body.calls and not settings and _as(ahead[0], held):
            part = ahead[1]
        else:
            part = self.imported(rest, known, held)
        if part.gaps:
            raise unsupported(self.knowledge.where, part.gaps, run=self.engine.ran)
        self.engine.forget()
        before = [program for program, _ in stage.programs.values()]
        program = self.engine.programs.made(part, before, bool(settings))
        new = part.known.keys() - known.keys()
        if len(part.later) == len(rest) and not (new or part.forced or part.outputs):
            raise self.knowledge.error(f"node {node(rest[0])}: cannot be computed")
        return program, self.engine.stage(part.later, {**known, **part.known}, part.forced)

    def imported(
        self,
        rest: Sequence[Call],
        known: Mapping[str, Array],
        held: Mapping[str, Held | Later],
    ) -> Part:
        """The part that begins with these nodes."""
        # That an array has no elements says all of it.
        empty: dict[str, Array] = {
            n: np.zeros(x.shape, dtype_of(x.dtype)) for n, x in held.items() if _is_empty(x)
        }
        full = {name: x for name, x in held.items() if name not in empty}
        return import_part(
            self.knowledge, rest, {**known, **empty}, full, self.wanted, self.engine.dtype
        )


def _as(one: Mapping[str, Held | Later], other: Mapping[str, Held]) -> bool:
    """Whether inputs have the same shapes and types."""
    return one.keys() == other.keys() and all(
        (one[n].shape, one[n].dtype) == (x.shape, x.dtype) for n, x in other.items()
    )


def _is_empty(x: Held | Later) -> TypeGuard[Held]:
    return x.shape is not None and 0 in x.shape


def digest(array: Array) -> bytes:
    return blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).digest()
