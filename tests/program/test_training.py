"""The compiled training step against the interpreter: gradients, losses, statistics, bits."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from graph import networks
from graph.networks import Array, Problem, problem
from grid import grid
from program.programs import close, poison, ran, same, step_of, threads, wanted
from program.schedules import backwards, by_threads, in_pieces, shuffled

from faltung import nn
from faltung.graph.differentiate import differentiate
from faltung.graph.fuse import needed
from faltung.machine.table import Machine
from faltung.program import training
from faltung.program.optimizer import SGD, AdamW, Optimizer
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep, _key

Results = dict[str, Array]
SHAPES = pytest.mark.parametrize("name", networks.SHAPES)


@grid(name=networks.TABLE, every=4)
def test_gradients_are_those_of_the_interpreter(name: str) -> None:
    """And the same bits from memory full of NaN, by any number of threads, and by threads that are
    as far apart as barriers let them.
    """
    given = problem(name)
    step = step_of(given)
    found = ran(step, given)
    close(found, wanted(step, given), 1e-10)
    for number in (1, 2, 3, 7):
        with threads(number):
            poison(step)
            same(ran(step, given), found)
    for order in ([1, 0], [2, 1, 0], shuffled(7)):
        by_threads(step, order)
        poison(step)
        same(ran(step, given), found)
    in_pieces(step, 0)
    poison(step)
    same(ran(step, given), found)
    backwards(step)
    poison(step)
    same(ran(step, given), found)


@grid(name=networks.SHAPES, every=4)
def test_gradients_in_float32(name: str) -> None:
    given = problem(name, "cross_entropy", samples=5, smoothing=0.1, dtype="float32")
    step = step_of(given)
    found = ran(step, given)
    close(found, wanted(step, given), 1e-5)
    for number in (2, 7):
        with threads(number):
            poison(step)
            same(ran(step, given), found)


# Fusion -------------------------------------------------------------------------------------------

# No product meets a sum in a formula, and no bands of a sum are cut otherwise.
EXACT = (
    "unet",
    "residual shortcut",
    "concat of concats",
    "auxiliary",
    "flatten twice",
    "inception",
)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fusion_changes_no_bits_where_no_product_meets_a_sum(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = problem(name, "cross_entropy", dtype=dtype)
    one = step_of(given)
    monkeypatch.setattr(training, "fused", needed)
    two = step_of(given)
    assert len(one.nodes) < len(two.nodes)
    same(ran(one, given), ran(two, given))


@pytest.mark.parametrize("name", ["resnet", "series", "every activation in a row", "dropouts"])
def test_fusion_changes_no_more_than_roundings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(name, dtype="float32")
    one = ran(step_of(given), given)
    monkeypatch.setattr(training, "fused", needed)
    close(ran(step_of(given), given), one, 1e-5)


# The same bits ------------------------------------------------------------------------------------


def trained(given: Problem, optimizer: Optimizer, steps: int = 4, number: int = 1) -> Results:
    """The state after some steps, and what the optimizer keeps, by ``number`` threads."""
    with threads(number):
        step = step_of(given, optimizer)
        for count in range(steps):
            step(given.x.astype(step.state.dtype), given.target, lr=0.05, step=count, seed=9)
        return step.state.all() | step.slots.all()


@pytest.mark.parametrize("name", ["dropouts", "resnet", "googlenet", "volumes"])
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    """Step by step, by any number of threads."""
    given = problem(name, "cross_entropy", dtype="float32", samples=6)
    optimizer = AdamW(decay=0.1, clip=0.5)
    first = trained(given, optimizer)
    for number in (1, 2, 3, 7):
        same(trained(given, optimizer, number=number), first)


SCRIPT = """
import hashlib, sys
import faltung
from graph.networks import problem
from program.test_training import AdamW, trained
given = problem("googlenet", "cross_entropy", dtype="float32", samples=6)
made = trained(given, AdamW(decay=0.1, clip=0.5), number=int(sys.argv[1]))
print(hashlib.sha256(b"".join(made[name].tobytes() for name in sorted(made))).hexdigest())
"""


def test_the_same_weights_in_another_process() -> None:
    def digest(number: int) -> str:
        tests = str(Path(__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": tests, "PYTHONHASHSEED": str(number)}
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, str(number)],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert digest(1) == digest(3) != ""


def test_programs_of_other_batches_share_state_and_slots() -> None:
    """As if there had been one program for each step alone."""
    large, small = (problem("norm of groups", samples=n, dtype="float32") for n in (5, 2))
    one = step_of(large, SGD(0.9, decay=0.1))
    two = TrainingStep(small.training, one.state, one.slots, 2)
    for count, (step, given) in enumerate([(one, large), (two, small), (one, large), (two, small)]):
        alone = step_of(given, SGD(0.9, decay=0.1))
        alone.state.memory[:] = one.state.memory
        alone.slots.arrays["momentum"][:] = one.slots.arrays["momentum"]
        results = []
        for program in (step, alone):
            program(given.x.astype("float32"), given.target, lr=0.1, step=count)
            results.append(program.state.all() | program.slots.all())
        same(*results)


def test_programs_of_several_python_threads() -> None:
    """Each its own; while one has the team, the other does its steps alone."""
    given = problem("resnet", "cross_entropy", dtype="float32", samples=6)
    want = trained(given, SGD(0.9), steps=20)
    with threads(2):
        steps = [step_of(given, SGD(0.9)) for _ in range(3)]

        def train(step: TrainingStep) -> Results:
            for count in range(20):
                step(given.x.astype("float32"), given.target, lr=0.05, step=count, seed=9)
            return step.state.all() | step.slots.all()

        with ThreadPoolExecutor(3) as pool:
            for found in pool.map(train, steps):
                same(found, want)


# Random numbers -----------------------------------------------------------------------------------


def test_zeros_follow_from_seed_step_layer_and_element() -> None:
    net = nn.Sequential(nn.Linear(40), nn.Parallel(nn.Dropout(0.5), nn.Dropout(0.5)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.TABLE, "drop", (net, (3,)))
        given = problem("drop", samples=9)
    step = step_of(given)

    def zeros(seed: int, count: int) -> np.ndarray:
        step(given.x, given.target, lr=0.0, step=count, seed=seed)
        # The gradient for a bias is a sum over samples: look at the map itself.
        keys = {v.name: np.array(a) for v, a in zip(step._keys, step._key_arrays, strict=True)}
        return given.values(**keys)[given.graph.output.name] == 0

    first = zeros(1, 2)
    assert (first == zeros(1, 2)).all()
    assert 0.4 < first.mean() < 0.6
    for other in (zeros(1, 3), zeros(2, 2), zeros(2, 1), np.roll(first, 40, axis=1)):
        assert 0.4 < (first != other).mean() < 0.6
    assert len({row.tobytes() for row in first}) == 9


def test_keys_are_words_of_64_bits() -> None:
    keys = [_key(seed, step, n) for seed in (0, 1, -1, 2**63) for step in (0, 1) for n in (0, 1)]
    assert len(set(keys)) == len(keys)
    assert all(-(2**63) <= key < 2**63 for key in keys)


# Loss and right answers ---------------------------------------------------------------------------


def test_loss_and_right_answers_by_hand() -> None:
    """A linear layer of which the logits are known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.TABLE, "logits", (nn.Linear(3), (3,)))
        given = problem("logits", "cross_entropy", samples=4)
    step = step_of(given)
    step.state.update({"linear1.weight": np.eye(3), "linear1.bias": np.zeros(3)})
    x = np.array([[4.0, 1, 1], [1, 2, 0], [0, 0, 3], [9, 9, 9]])
    labels = np.array([0, 0, 2, -1])
    loss, right = step(x, labels, lr=0.0)
    log = x - np.log(np.exp(x).sum(1, keepdims=True))
    assert right == 2
    assert step.rows == 3  # the label -1 does not count
    np.testing.assert_allclose(loss, -(log[0, 0] + log[1, 0] + log[2, 2]) / 3, rtol=1e-14)


def test_a_step_goes_downhill() -> None:
    for name in ("lenet", "resnet", "text", "series"):
        given = problem(name, dtype="float32", samples=8)
        step = step_of(given, SGD(momentum=0.0))
        x = given.x.astype(np.int64 if name == "text" else "float32")
        losses = [step(x, given.target, lr=0.02, step=0)[0] for _ in range(4)]
        assert losses == sorted(losses, reverse=True)


# Normalisation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch norm of vectors", "norm of a linear layer", "resnet"])
def test_a_batch_of_one(name: str) -> None:
    """Where a channel has one number its variance is zero: nothing is divided by zero."""
    given = problem(name, samples=1)
    step = step_of(given)
    found = ran(step, given)
    assert all(np.isfinite(value).all() for value in found.values())
    close(found, wanted(step, given), 1e-9)


def test_moments_far_from_zero_in_float32() -> None:
    """Nothing cancels in the sum of squares."""
    graph = nn.build(nn.BatchNorm(momentum=1.0), (3, 8, 8), training=True)
    state = State(graph.parameters, "float32")
    state.update({"batchnorm1.weight": np.ones(3)})
    slots = Slots(state, SGD(0.9))
    step = TrainingStep(differentiate(graph, "mse"), state, slots, 16)
    rng = np.random.default_rng(0)
    x = rng.normal(3e4, 1.0, (16, 3, 8, 8)).astype(np.float32)
    step(x, np.zeros_like(x), lr=0.0)
    for name, want in (
        ("running_mean", x.mean((0, 2, 3), np.float64)),
        ("running_var", x.astype(np.float64).var((0, 2, 3), ddof=1)),
    ):
        np.testing.assert_allclose(state.get(f"batchnorm1.{name}"), want, rtol=1e-5)


# Machines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["googlenet", "wide", "every activation in a row"])
def test_every_machine(name: str, machine: Machine) -> None:
    given = problem(name, "cross_entropy", dtype="float32", smoothing=0.1)
    step = step_of(given)
    assert step.assembly.machine == machine
    found = ran(step, given)
    close(found, wanted(step, given), 1e-5)
    backwards(step)
    poison(step)
    same(ran(step, given), found)
