"""Compiled programs of the rows of `graph.networks`, and what they should have computed."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from graph.networks import Array, Problem

import faltung
from faltung.program import threads as program_threads
from faltung.program.inference import Inference
from faltung.program.optimizer import SGD, Optimizer
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep

PLAIN = SGD(momentum=0.0)
SEED, COUNT = 5, 3  # of the random numbers of dropout


def step_of(
    given: Problem, optimizer: Optimizer = PLAIN, state: State | None = None, **more: object
) -> TrainingStep:
    """The training step of a problem, its parameters in a state of their own."""
    if state is None:
        state = State(given.graph.parameters, given.graph.dtype)
        state.update(given.parameters)
    slots = Slots(state, optimizer)
    smoothing = given.smoothing
    more = {"keep_gradients": True} | more
    return TrainingStep(given.training, state, slots, len(given.x), smoothing=smoothing, **more)


def ran(step: TrainingStep, given: Problem, lr: float = 0.0) -> dict[str, Array]:
    """One step from the problem's parameters: its loss, gradients and running statistics."""
    step.state.update(given.parameters)
    loss, right = step(
        given.x.astype(np.int64 if given.graph.input.kind == "int" else step.state.dtype),
        given.target,
        lr=lr,
        step=COUNT,
        seed=SEED,
    )
    found: dict[str, Array] = {"loss": np.asarray(loss), "correct": np.asarray(right)}
    for p in given.graph.parameters:
        memory = step.slots.gradients if p.trained else None
        found[p.name] = step.state.get(p.name, memory)
    return found


def wanted(step: TrainingStep, given: Problem) -> dict[str, Array]:
    """What `ran` should find, by the interpreter, from the nodes as differentiation left them."""
    keys = {v.name: np.array(a) for v, a in zip(step._keys, step._key_arrays, strict=True)}
    known = given.values(**keys)
    training = given.training
    scale = float(given.outside[training.scales[0][0].name])
    found = {"loss": known[training.losses[0].name] * scale}
    found["correct"] = known[training.correct.name] if training.correct else np.asarray(0)
    for p in given.graph.parameters:
        if p.trained:
            found[p.name] = known[training.gradients[p.name].name].reshape(p.shape)
    found |= {p.name: known[value.name] for p, value in training.graph.updates}
    # What follows from weights is computed after an epoch, not in a step.
    kept = (p.name for p in given.graph.parameters if p.follows is not None)
    return found | {name: given.parameters[name] for name in kept}


def close(got: dict[str, Array], want: dict[str, Array], tolerance: float) -> None:
    """Relative to the largest number of each array, or to a part of the largest of all: a gradient
    may be zero where sums cancel.
    """
    assert got.keys() == want.keys()
    largest = max(np.abs(value).max(initial=0.0) for value in want.values())
    for name, value in want.items():
        scale = max(np.abs(value).max(initial=0.0), 0.1 * largest)
        error = np.abs(got[name] - value).max(initial=0.0)
        assert error <= tolerance * scale, f"{name}: {error / scale:.1e}"


def same(one: dict[str, Array], two: dict[str, Array]) -> None:
    """Bit for bit."""
    assert one.keys() == two.keys()
    assert [name for name in one if one[name].tobytes() != two[name].tobytes()] == []


def poison(program: TrainingStep | Inference) -> None:
    """NaN, and numbers that are no index, in all memory that a run has for itself."""
    program.assembly.memories["arena"][:] = 0xFF
    if isinstance(program, TrainingStep):
        for name, p in program.state.parameters.items():
            if p.trained:
                program.state.set(name, np.full(p.shape, np.nan), program.slots.gradients)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many threads, however small the program."""
    before = faltung.get_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_threads, "MIN_PARALLEL_PROGRAM_CYCLES", 0.0)
        faltung.set_threads(number)
        yield
        faltung.set_threads(before)
