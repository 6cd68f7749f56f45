"""A training step as one program: forward, backward, optimizer, in one parallel region."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import minimum, operand, unary
from faltung.graph.differentiate import Training
from faltung.graph.fuse import fused
from faltung.graph.value import Node, Value
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Work
from faltung.methods.elementwise import elementwise
from faltung.plan.choose import policy_of
from faltung.program import answers as taught
from faltung.program import kept
from faltung.program.assemble import Assembly
from faltung.program.compared import Compared
from faltung.program.inputs import copy_in, input_layouts
from faltung.program.lowering import Lowering
from faltung.program.optimizer import AVERAGE, Rule
from faltung.program.places import Places
from faltung.program.running import Running
from faltung.program.state import State, strides
from faltung.program.threads import threads_for
from faltung.program.updates import fuse, fusible, ordered, scalars_of

Array = npt.NDArray[Any]
_MASK = (1 << 64) - 1


class Slots:
    """The state of an optimizer and the gradients, in the layout of the parameters.

    ``frozen``: names of parameters that are not trained.
    """

    def __init__(self, state: State, optimizer: Rule, frozen: Iterable[str] = ()) -> None:
        self.state, self.optimizer = state, optimizer
        left_out = set(frozen)
        self.trained = tuple(
            name for name, p in state.parameters.items() if p.trained and name not in left_out
        )
        self.gradients = state.zeros(trained=True)
        self.arrays = {name: state.zeros(trained=name != AVERAGE) for name in optimizer.slots}
        self.begin()

    def begin(self) -> None:
        """Forget all steps: zeros, and an average that is the parameters as they are."""
        for name, memory in self.arrays.items():
            memory[...] = self.state.memory if name == AVERAGE else 0

    def names(self, slot: str) -> tuple[str, ...]:
        """The parameters that a slot has numbers for; running statistics have an average too."""
        return tuple(self.state.parameters) if slot == AVERAGE else self.trained

    def all(self) -> dict[str, Array]:
        """Copies of all slots, "slot/parameter" -> array."""
        return {
            f"{slot}/{name}": self.state.get(name, memory)
            for slot, memory in self.arrays.items()
            for name in self.names(slot)
        }

    def update(self, values: Mapping[str, npt.ArrayLike]) -> None:
        """Write slots. ValueError: an unknown name, another shape."""
        for key, value in values.items():
            slot, _, name = key.partition("/")
            if slot not in self.arrays or name not in self.names(slot):
                raise FaltungError(f"slot={key!r}: the optimizer has no slot of this name")
            self.state.set(name, value, self.arrays[slot])


class TrainingStep:
    """``step(x, target, lr=...)`` trains on one batch of a fixed size.

    It owns its memory and is used by one thread at a time. Several of them, for other batch sizes,
    share state and slots. precision: as for ``Inference``. keep_gradients: all of them are in
    ``slots.gradients`` after a step; those of large matrices are otherwise used where they are
    made. keep: whether the program may come from disk, and be kept there. distil, temperature:
    where the graph has answers, how much of the loss is theirs, as ``answers.py`` says. over: no
    parameter is changed; the gradients, in ``slots.gradients``, are those of the sum of losses
    divided by this number, which ``accumulate.py`` adds up.
    """

    def __init__(
        self,
        training: Training,
        state: State,
        slots: Slots,
        batch: int,
        *,
        smoothing: float = 0.0,
        class_weight: Sequence[float] | None = None,
        precision: str = "fast",
        machine: Machine | None = None,
        keep_gradients: bool = False,
        distil: float = 0.0,
        temperature: float = 1.0,
        over: float | None = None,
        keep: bool = False,
    ) -> None:
        whole("batch", batch, 1)
        state.check(training.graph)
        if slots.state is not state:
            raise FaltungError("slots: must be those of the state")
        if set(slots.trained) != set(training.gradients):
            raise FaltungError("slots: must be of the parameters that have a gradient")
        self.training, self.state, self.slots, self.batch = training, state, slots, batch
        self._machine, self._precision = machine or current(), precision
        self._over = over
        self._keeps = keep_gradients or over is not None or slots.optimizer.clip is not None
        self._scalars = {
            name: Value(f"optimizer.{name}", (), batched=False)
            for name in (*slots.optimizer.scalars, "none", "most")
        }
        outside = {"state": state.memory, "gradients": slots.gradients, **slots.arrays}
        name, found = None, None
        if keep:
            own = tuple(state.parameters.values()), slots.trained, slots.optimizer
            asked = batch, precision, self._keeps, over is None
            name = kept.key(self._machine, "training", training, own, asked)
            found = kept.restored(name, outside, what=f"batch={batch}")
        self._planned: Assembly | None = None
        if found is None:
            self._planned = self._plan(outside)
            self.running: Running = self._planned
            inputs = {v.name: v for node in self._nodes for v in node.inputs if not v.batched}
            about = {
                kind: tuple(v for v in inputs.values() if v.kind == kind)
                for kind in ("key", "rows")
            }
        else:
            self.running, about = found, dict(found.about)
        self._keys, self._rows = about["key"], about["rows"]
        array = self.running.array
        self._input = array(training.graph.input)
        self._compared = Compared(training, batch, smoothing, class_weight, array)
        self._losses = [array(value) for value in training.losses]
        self._correct = None if training.correct is None else array(training.correct)
        self._numbers = {name: array(value) for name, value in self._scalars.items()}
        self._key_arrays = list(map(array, self._keys))
        for value in self._rows:
            array(value)[...] = batch * value.shape[0]
        self._taught: taught.Taught | None = None
        if training.answers is not None:
            self._taught = taught.Taught(training.answers, distil, temperature, array)
        self._constants()
        self._run = self.running.region.run
        if name is not None and self._planned is not None:
            kept.keep(name, self._planned, feed=self._planned.constants, about=about)

    def _plan(self, outside: Mapping[str, Array]) -> Assembly:
        """The program, planned now; its nodes."""
        training, state, slots, batch = self.training, self.state, self.slots, self.batch
        graph = training.graph
        item = state.dtype.itemsize
        grads = {grad.name: name for name, grad in training.gradients.items()}
        updates = {value.name: parameter.name for parameter, value in graph.updates}
        results = [v for v in (*training.losses, training.correct) if v is not None]
        results += taught.results(training.answers)
        ends = {*grads, *updates, *(value.name for value in results)}
        nodes, first = input_layouts(graph.inputs, fused(training.nodes, ends))
        at_once = {} if self._keeps else fusible(nodes, grads)
        self._nodes = nodes = tuple(ordered(nodes, at_once))
        given = [graph.input.name, *grads, *updates]
        places = Places(nodes, given, first)
        weights = {name: strides(p) for name, p in state.parameters.items()}
        weights |= {grad: weights[name] for grad, name in grads.items()}
        policy = replace(policy_of(self._precision), packs=True)
        lowering = Lowering(places, weights, batch, graph.dtype, self._machine, policy)
        fixed = {name: ("state", state.offset(name) * item) for name in state.parameters}
        fixed |= {v: ("state", state.offset(name) * item) for v, name in updates.items()}
        fixed |= {v: ("gradients", state.offset(name) * item) for v, name in grads.items()}
        fixed |= {name: (name, 0) for name in ("parameters", "gradients", *slots.arrays)}
        fixed["parameters"] = ("state", 0)
        inputs = {v.name: v for node in nodes for v in node.inputs if not v.batched}
        scales = [value for value, _ in training.scales]
        feeds = [graph.input, *training.wanted.values(), *scales]
        feeds += taught.feeds(training.answers)
        feeds += [v for kind in ("key", "rows") for v in inputs.values() if v.kind == kind]
        feeds += self._scalars.values()
        done = fuse(lowering, nodes, at_once, state, slots.optimizer)
        return Assembly(
            nodes,
            lowering,
            outside=outside,
            fixed=fixed,
            feeds=feeds,
            kept=results,
            ends=update_of(lowering, slots, done) if self._over is None else None,
        )

    @property
    def assembly(self) -> Assembly:
        """The steps in full; planned now, where the program came from disk."""
        if self._planned is None:
            self._planned = self._plan(
                {n: self.running.memories[n] for n in ("state", "gradients", *self.slots.arrays)}
            )
        return self._planned

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What is left of the graph, in the order in which it runs."""
        return self._nodes if self.assembly else ()

    def _constants(self) -> None:
        training, array = self.training, self.running.array
        part = 1.0 if self._taught is None else 1 - self._taught.part
        self._scales = [(array(value), part * weight) for value, weight in training.scales]
        rows, total, _ = self._compared.whole
        self._weigh(rows, total)
        clip = self.slots.optimizer.clip
        self._numbers["clip"][...] = 1.0
        self._numbers["most"][...] = np.inf if clip is None else clip

    def _weigh(self, rows: int, total: float) -> None:
        """Make the loss a mean over this many rows: labels other than -1, or numbers; or over the
        sum of their weights.
        """
        self.rows, self.weight = max(1, rows), total
        for scale, weight in self._scales:
            # Without any weight there is nothing to learn.
            scale[...] = weight / (self._over or self.weight) if self.weight else 0.0
        if self._taught is not None:
            self._taught.weigh(self._over or self.rows)

    def __call__(
        self,
        x: Array,
        target: Array,
        answers: Array | None = None,
        *,
        weight: Array | None = None,
        lr: float,
        step: int = 0,
        seed: int = 0,
    ) -> tuple[float, int]:
        """Train on one batch; its loss, and how many rows were right.

        x: (batch, C, *space). target: labels (batch, *space') or numbers (batch, C', *space'), as
        ``feed`` says. answers: another network's probabilities (batch, C', *space'), if the graph
        has them. weight: what the loss of each sample is multiplied with
        (batch,), if the graph has them. step: counted from 0, for
        the optimizer and for dropout; the same seed and step give the same zeros.
        """
        self.feed(x, target, answers, weight=weight)
        self.run(lr=lr, step=step, seed=seed)
        return self.loss, self.correct

    def feed(
        self,
        x: Array,
        target: Array,
        answers: Array | None = None,
        *,
        weight: Array | None = None,
    ) -> None:
        """Copy a batch into the program's memory. ValueError, TypeError: as ``copy_in``.

        target: for labels whole numbers (batch, *space'), of which -1 does not count; where the
        graph was differentiated with ``soft`` or ``sample_weights``, or for Dice's loss, also
        probabilities of all classes (batch, C', *space'), where rows of zeros do not count. For
        other losses numbers (batch, C', *space').
        """
        given = self.training.graph.input
        copy_in("x", x, (self.batch * given.samples, *given.shape), self._input, last=False)
        rows, total, mask = self._compared.feed(target, weight)
        self._weigh(rows, total)
        if (answers is None) != (self._taught is None):
            raise FaltungError("answers: must be given if the graph has them, and only then")
        if self._taught is not None and answers is not None:
            assert mask is not None
            self._taught.feed(answers, self.batch * self.training.target.samples, mask)

    def run(self, *, lr: float, step: int = 0, seed: int = 0) -> None:
        """One step on the batch that was fed."""
        for name, value in self.slots.optimizer.values(step, lr).items():
            self._numbers[name][...] = value
        for number, key in enumerate(self._key_arrays):
            key[...] = _key(seed, step, number)
        self._run(threads_for(self.running.cycles))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample's target."""
        return self.training.target.shape

    @property
    def loss(self) -> float:
        """The loss of the last batch, the mean over rows whose label is not -1, weighted where
        classes have weights, without auxiliary heads.
        """
        loss = float(self._losses[0]) / self.weight if self.weight else 0.0
        return loss if self._taught is None else self._taught.mixed(loss, self.rows)

    @property
    def correct(self) -> int:
        """How many rows of the last batch were right."""
        return 0 if self._correct is None else int(self._correct)


def update_of(lowering: Lowering, slots: Slots, done: set[str], summed: bool = False) -> Work:
    """The optimizer: the norm of all gradients where they are clipped, then ranges of the
    parameters: those that weight decay shrinks, then the others; what is frozen, or ``done`` with
    the gradient, lies between them. ``summed``: as in ``_clip``.
    """
    work, state, optimizer = Work(), slots.state, slots.optimizer
    waits = optimizer.clip is not None
    if waits:
        _clip(work, lowering, state.trained, summed)
    for decay, start, end in _ranges(slots, done):
        arrays = [
            Operand(name, start * state.dtype.itemsize)
            for name in ("parameters", "gradients", *optimizer.slots)
        ]
        scalars = scalars_of(optimizer, decay)
        size = end - start
        outputs = [arrays[0], *arrays[2:]]
        elementwise.formulas(
            work,
            lowering.dtype,
            lowering.machine,
            samples=1,
            positions=1,
            channels=size,
            inputs=[
                *(elementwise.Input("full", array, size) for array in arrays),
                *(elementwise.Input("scalar", _scalar(name)) for name in scalars),
            ],
            outputs=[
                elementwise.Output(expr, array, size)
                for expr, array in zip(optimizer.formulas(), outputs, strict=True)
            ],
            title="optimizer",
            barrier=waits,
        )
        waits = False  # the ranges are independent
    return work


def _ranges(slots: Slots, done: set[str]) -> Iterator[tuple[bool, int, int]]:
    """(whether it decays, first element, end) of each run of parameters that are trained. The
    gradients of the others are never written and stay zero, so that clipping may add up all of
    them.
    """
    state, trained = slots.state, set(slots.trained) - done
    for decay, start, end in ((True, 0, state.decayed), (False, state.decayed, state.trained)):
        names = [name for name in state.parameters if start <= state.offset(name) < end]
        begin: int | None = None
        for name in names:
            at = state.offset(name)
            if name in trained:
                begin = at if begin is None else begin
            elif begin is not None:
                yield decay, begin, at
                begin = None
        if begin is not None:
            yield decay, begin, end


def _clip(work: Work, lowering: Lowering, size: int, summed: bool) -> None:
    """clip = min(1, most / |g|), the norm of all gradients together (Pascanu et al., 2013).
    ``summed``: of a sum of gradients, of which a part is the gradient: min(part, most / |g|).
    """
    g = operand(0)
    numbers = ("most", "part") if summed else ("most",)
    largest = operand(2) if summed else 1
    elementwise.formulas(
        work,
        lowering.dtype,
        lowering.machine,
        samples=1,
        positions=1,
        channels=size,
        inputs=[elementwise.Input("full", Operand("gradients"), size)],
        sums=[
            elementwise.Sum(
                g * g,
                "scalar",
                _scalar("clip"),
                finish=minimum(operand(1) / (unary("sqrt", operand(0)) + 1e-6), largest),
                operands=tuple(elementwise.Input("scalar", _scalar(n)) for n in numbers),
            )
        ],
        title="norm of the gradients",
    )


def _scalar(name: str) -> Operand:
    return Operand(f"optimizer.{name}")


def _key(seed: int, step: int, number: int) -> int:
    """A key for each seed, step and layer, mixed by splitmix64 (Steele et al., 2014)."""
    state = 0
    for part in (seed, step, number):
        state = (state + part + 0x9E3779B97F4A7C15) & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state - (state >> 63 << 64)
