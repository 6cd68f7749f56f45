"""The numbers that the project wants to reach, as a table; each run judges those it can."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.protocol import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from benchmarks.results import Row, Run
from benchmarks.stats import TORCH, dense, geometric_mean, ratio, signal, single


@dataclass(frozen=True, slots=True)
class Goal:
    """On the rows that ``applies`` picks in one direction, ``ours`` against the best of ``peers``:
    every ratio at least ``worst``, their geometric mean at least ``mean``. With ``peak``, the
    value is not a ratio but the fraction of the FMA peak."""

    text: str
    applies: Callable[[Row], bool]
    worst: float
    mean: float = 0.0
    direction: str = FORWARD
    ours: str = "faltung"
    peers: tuple[str, ...] = TORCH
    peak: bool = False


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
    Goal("fraction of the FMA peak, 3x3 and 1x1 from 64 channels", _near_peak, 0.92, peak=True),
)


def judge(run: Run, goals: Sequence[Goal] = GOALS) -> list[Verdict]:
    """Verdicts of the goals on which this run has at least one value. The fraction of the peak is
    judged on one thread alone: with more, it is the memory that is measured."""
    verdicts = []
    for goal in goals:
        if goal.peak and run.threads != 1:
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
    if not goal.peak:
        return ratio(row, goal.ours, goal.peers)
    gflops = row.gflops(goal.ours)
    return None if gflops is None or run.peak is None else gflops / run.peak
