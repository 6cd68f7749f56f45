"""Optimizers against PyTorch's, over twenty steps of a network with everything that is decayed or
not; and what they refuse.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph import networks
from graph.networks import anything, problem
from program.programs import PLAIN, ran, same, step_of
from program.schedules import backwards

from faltung import nn
from faltung.program.optimizer import OPTIMIZERS, SGD, AdamW, Optimizer

STEPS = 20
RATE = 0.05
# Ours, and PyTorch's: torch.optim.<name>(groups, lr=RATE, **options). Decay goes to the groups.
SAME: dict[str, tuple[Optimizer, str, dict[str, Any]]] = {
    "gradient descent": (SGD(momentum=0.0), "SGD", {}),
    "momentum": (SGD(0.9), "SGD", {"momentum": 0.9}),
    "nesterov": (SGD(momentum=0.8, nesterov=True), "SGD", {"momentum": 0.8, "nesterov": True}),
    "decay": (SGD(momentum=0.0, decay=0.1), "SGD", {}),
    "momentum and decay": (SGD(momentum=0.7, decay=0.2), "SGD", {"momentum": 0.7}),
    "nesterov and decay": (
        SGD(momentum=0.9, nesterov=True, decay=0.05),
        "SGD",
        {"momentum": 0.9, "nesterov": True},
    ),
    "clipped": (SGD(0.9, clip=0.05), "SGD", {"momentum": 0.9}),
    "clipped where nothing is": (SGD(0.9, clip=1e6), "SGD", {"momentum": 0.9}),
    "adam": (AdamW(), "AdamW", {}),
    "adam with decay": (AdamW(decay=0.3), "AdamW", {}),
    "adam of other numbers": (
        AdamW(beta1=0.7, beta2=0.9, eps=1e-3, decay=0.1),
        "AdamW",
        {"betas": (0.7, 0.9), "eps": 1e-3},
    ),
    "adam without moments": (AdamW(beta1=0.0, beta2=0.0), "AdamW", {"betas": (0.0, 0.0)}),
    "adam, decayed and clipped": (AdamW(decay=0.1, clip=0.1), "AdamW", {}),
}


def rate(step: int) -> float:
    """Another one at every step."""
    return RATE / (1 + step % 3)


@pytest.mark.parametrize("kind", SAME)
def test_steps_are_those_of_pytorch(kind: str) -> None:
    """PyTorch gets our gradients, so that nothing but the optimizer is compared."""
    torch = pytest.importorskip("torch")
    ours, theirs, options = SAME[kind]
    given = problem("norm of groups")
    step = step_of(given, ours)
    trained = [p for p in given.graph.parameters if p.trained]
    tensors = {p.name: torch.tensor(given.parameters[p.name]) for p in trained}
    groups = [
        {"params": [tensors[p.name] for p in trained if p.decay], "weight_decay": ours.decay},
        {"params": [tensors[p.name] for p in trained if not p.decay], "weight_decay": 0.0},
    ]
    optimizer = getattr(torch.optim, theirs)(groups, lr=RATE, **options)
    for number in range(STEPS):
        step.feed(given.x, given.target)
        step.run(lr=rate(number), step=number)
        for p in trained:
            tensors[p.name].grad = torch.tensor(step.state.get(p.name, step.slots.gradients))
        if ours.clip is not None:
            torch.nn.utils.clip_grad_norm_(tensors.values(), ours.clip)
        for group in optimizer.param_groups:
            group["lr"] = rate(number)
        optimizer.step()
        for p in trained:
            got, want = step.state.get(p.name), tensors[p.name].numpy()
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12, err_msg=p.name)


def test_decay_touches_weights_alone() -> None:
    """Biases and what normalisation multiplies and adds are as without it."""
    given = problem("norm of a transpose")
    results = {}
    for decay in (0.0, 0.5):
        step = step_of(given, SGD(momentum=0.0, decay=decay))
        ran(step, given, lr=0.1)
        results[decay] = step.state.all()
    changed = {
        name
        for name, value in results[0.0].items()
        if value.tobytes() != results[0.5][name].tobytes()
    }
    assert changed == {p.name for p in given.graph.parameters if p.decay}
    assert {name.split(".")[-1] for name in changed} == {"weight"}
    assert not any("norm" in name for name in changed)


@pytest.mark.parametrize("optimizer", [SGD(0.9, clip=0.01), AdamW(clip=0.01)], ids=["sgd", "adamw"])
@pytest.mark.parametrize("name", ["only norms", "lenet"])
def test_the_norm_is_there_before_it_is_used(name: str, optimizer: Optimizer) -> None:
    """Also in a network of which nothing is decayed."""
    with pytest.MonkeyPatch.context() as patch:
        only = nn.Sequential(nn.BatchNorm(), nn.Tanh(), nn.GroupNorm(1))
        patch.setitem(networks.TABLE, "only norms", (only, (3, 5, 4)))
        given = problem(name)
    results = []
    for turned in (False, True):
        step = step_of(given, optimizer)
        if turned:
            backwards(step)
        ran(step, given, lr=0.1)
        results.append(step.state.all())
    same(*results)


def test_padding_between_parameters_stays_zero() -> None:
    given = problem("lenet")
    step = step_of(given, AdamW(decay=0.1))
    for number in range(3):
        step.run(lr=0.1, step=number)
    for memory in (step.state.memory, step.slots.gradients, *step.slots.arrays.values()):
        memory = memory.copy()
        for name, p in step.state.parameters.items():
            if p.trained or memory.size == step.state.size:
                step.state.set(name, np.zeros(p.shape), memory)
        assert not memory.any()


def test_a_rate_of_zero_changes_nothing() -> None:
    given = problem("googlenet")
    for optimizer in (PLAIN, SGD(0.9, decay=0.1, nesterov=True, clip=1.0), AdamW(decay=0.1)):
        step = step_of(given, optimizer)
        before = step.state.all()
        ran(step, given)
        after = step.state.all()
        for p in given.graph.parameters:
            assert (before[p.name].tobytes() == after[p.name].tobytes()) == p.trained


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: SGD(momentum=1.0), "momentum=1.0: must be at least 0 and below 1"),
    (lambda: SGD(momentum=-0.1), "momentum=-0.1: must be at least 0 and below 1"),
    (lambda: SGD(momentum=float("nan")), "momentum=nan: must be at least 0 and below 1"),
    (lambda: SGD(0.9, decay=-1.0), "decay=-1.0: must be at least 0"),
    (lambda: SGD(0.9, decay=float("inf")), "decay=inf: must be at least 0"),
    (lambda: AdamW(decay=float("nan")), "decay=nan: must be at least 0"),
    (lambda: SGD(0.9, clip=0.0), "clip=0.0: must be above 0, or None"),
    (lambda: AdamW(clip=float("nan")), "clip=nan: must be above 0, or None"),
    (lambda: AdamW(beta1=1.0), "beta1=1.0: must be in [0, 1)"),
    (lambda: AdamW(beta2=-0.5), "beta2=-0.5: must be in [0, 1)"),
    (lambda: AdamW(eps=0.0), "eps=0.0: must be above 0"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusals(number: int) -> None:
    make, words = REFUSED[number]
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == words


def test_every_optimizer_says_what_it_keeps() -> None:
    for optimizer in (SGD(0.9), AdamW()):
        scalars = optimizer.values(0, 0.1)
        assert set(scalars) | {"clip"} == set(optimizer.scalars)
        made = optimizer.formulas()
        assert len(made) == 1 + len(optimizer.slots)
        count = 2 + len(optimizer.slots) + len(optimizer.scalars)
        assert max(max(expr.operands()) for expr in made) < count
        assert OPTIMIZERS[type(optimizer).__name__.lower()] is type(optimizer)  # type: ignore[index]
    with pytest.raises(TypeError, match="has no formulas"):
        Optimizer().formulas()


def test_slots_are_read_and_written_by_name() -> None:
    given = problem("lenet")
    step = step_of(given, AdamW())
    ran(step, given, lr=0.1)
    kept = step.slots.all()
    assert set(kept) == {
        f"{slot}/{p.name}" for slot in ("mean", "square") for p in given.graph.parameters
    }
    other = step_of(given, AdamW())
    other.slots.update(kept)
    for slot, memory in other.slots.arrays.items():
        assert memory.tobytes() == step.slots.arrays[slot].tobytes()
    normed = step_of(problem("norm twice"), AdamW())
    with pytest.raises(ValueError) as error:
        normed.slots.update({"mean/batchnorm1.running_mean": np.zeros(3)})
    words = "slot='mean/batchnorm1.running_mean': the optimizer has no slot of this name"
    assert str(error.value) == words
    for wrong in ("median/conv1.weight", "mean/conv9.weight", "mean"):
        with pytest.raises(ValueError, match="the optimizer has no slot of this name"):
            other.slots.update({wrong: anything(given.graph)["conv1.weight"]})
    with pytest.raises(ValueError, match=r"conv1.bias.shape=\(2,\): must be \(4,\)"):
        other.slots.update({"mean/conv1.bias": np.zeros(2)})
