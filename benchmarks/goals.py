"""The numbers that the project wants to reach, as a table; each run judges those it can."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.protocol import FORWARD, INFERENCE, INPUT_GRAD, STEP, WEIGHT_GRAD
from benchmarks.results import Row, Run
from benchmarks.stats import (
    TORCH,
    TORCH_ALL,
    dense,
    geometric_mean,
    memory_ratio,
    ratio,
    signal,
    single,
)

TIME, PEAK, MEMORY = "time", "peak", "memory"


@dataclass(frozen=True, slots=True)
class Goal:
    """On the rows that ``applies`` picks in one direction, ``ours`` against the best of ``peers``:
    every ratio at least ``worst``, their geometric mean at least ``mean``. ``measure``: the ratio
    of the times, or of the memory, or instead of a ratio the fraction of the FMA peak."""

    text: str
    applies: Callable[[Row], bool]
    worst: float
    mean: float = 0.0
    direction: str = FORWARD
    ours: str = "faltung"
    peers: tuple[str, ...] = TORCH
    measure: str = TIME


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, the value of each row (worst first), their mean, and whether it is reached."""

    goal: Goal
    values: tuple[tuple[float, Row], ...]
    mean: float
    reached: bool


def _dense(row: Row) -> bool:
    return row.core and single(row.spec) and dense(row.spec)


def _near_peak(row: Row) -> bool:
    spec = row.spec
    wide = row.core and single(spec) and dense(spec, 64)
    return wide and set(spec.kernel) <= {1, 3}


def _signal(row: Row, taps: tuple[int, ...]) -> bool:
    spec = row.spec
    return signal(spec) and single(spec) and spec.rank == 1 and spec.kernel[0] in taps


def _is(row: Row, *names: str) -> bool:
    """Whether a row is one of these networks, and core."""
    return row.core and row.text.split()[0] in names


def _step(what: str, worst: float, *names: str) -> Goal:
    """A goal for steps of training."""
    return Goal(
        f"step of {what}, against the best of PyTorch",
        lambda row: _is(row, *names),
        worst,
        direction=STEP,
        peers=TORCH_ALL,
    )


GOALS: tuple[Goal, ...] = (
    Goal("forward, dense, against the better layout of PyTorch", _dense, 1.0, 1.05),
    Goal("gradient for the input, dense, against PyTorch", _dense, 1.0, 0, INPUT_GRAD),
    Goal("gradient for the weight, dense, against PyTorch", _dense, 1.0, 0, WEIGHT_GRAD),
    Goal("float64, against PyTorch", lambda row: row.spec.dtype == "float64", 3.0),
    Goal("signals of 10^6, against PyTorch", lambda row: _signal(row, (101, 1001)), 50.0),
    Goal(
        "signal of 10^6, k101, against scipy.signal.oaconvolve",
        lambda row: _signal(row, (101,)),
        5.0,
        peers=("scipy-oaconvolve",),
    ),
    Goal(
        "channels-first in and out, dense, against PyTorch channels-first",
        _dense,
        1.0,
        ours="faltung-nchw",
        peers=("torch",),
    ),
    Goal("fraction of the FMA peak, 3x3 and 1x1 from 64 channels", _near_peak, 0.92, measure=PEAK),
    Goal(
        "LeNet-5 at batch 1, against ONNX Runtime",
        lambda row: _is(row, "lenet5"),
        1.0,
        direction=INFERENCE,
        peers=("onnxruntime",),
    ),
    Goal(
        "GoogLeNet, ResNet-18 and -50 at batch 1, against PyTorch channels-last",
        lambda row: _is(row, "googlenet", "resnet18", "resnet50"),
        1.0,
        direction=INFERENCE,
        peers=("torch-nhwc",),
    ),
    _step("LeNet-5", 2.0, "lenet5"),
    _step("the 1-D and the 3-D network", 1.5, "series", "volumes"),
    _step("ResNet-18 and GoogLeNet", 1.2, "resnet18", "googlenet"),
    Goal(
        "memory of a step, against PyTorch channels-first",
        lambda row: row.core,
        1.0,
        direction=STEP,
        peers=("torch",),
        measure=MEMORY,
    ),
)


def judge(run: Run, goals: Sequence[Goal] = GOALS) -> list[Verdict]:
    """Verdicts of the goals on which this run has at least one value. The fraction of the peak is
    judged on one thread alone: with more, it is the memory that is measured."""
    verdicts = []
    for goal in goals:
        if goal.measure == PEAK and run.threads != 1:
            continue
        rows = [row for row in run.rows if row.direction == goal.direction and goal.applies(row)]
        found = [(value, row) for row in rows if (value := _value(run, goal, row)) is not None]
        values = tuple(sorted(found, key=lambda pair: pair[0]))
        mean = geometric_mean(value for value, _ in values)
        if mean is not None:
            reached = values[0][0] >= goal.worst and mean >= goal.mean
            verdicts.append(Verdict(goal, values, mean, reached))
    return verdicts


def _value(run: Run, goal: Goal, row: Row) -> float | None:
    if goal.measure == TIME:
        return ratio(row, goal.ours, goal.peers)
    if goal.measure == MEMORY:
        return memory_ratio(row, goal.ours, goal.peers)
    gflops = row.gflops(goal.ours)
    return None if gflops is None or run.peak is None else gflops / run.peak
