"""The goals of the project, as a table; each run checks those that it can."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.bounds import bounds
from benchmarks.filters import FILTERS as FILTER_ROWS
from benchmarks.filters import Filter
from benchmarks.protocol import (
    DEPTHWISE,
    DIRECTIONS,
    FILE,
    FILTER,
    FILTERS,
    FORWARD,
    INFERENCE,
    INPUT_GRAD,
    ONNX,
    POINTWISE,
    STEP,
    WEIGHT_GRAD,
)
from benchmarks.results import Row, Run
from benchmarks.stats import (
    TORCH,
    TORCH_ALL,
    dense,
    depthwise,
    geometric_mean,
    memory_ratio,
    ratio,
    rivals,
    signal,
    single,
)
from benchmarks.vision import PREFIX
from faltung.geometry.conv import ConvSpec

TIME, PEAK, MEMORY = "time", "peak", "memory"
# How much of the peak, or of the copy bandwidth, rows reach that these bound.
ARITHMETIC, COPIES = "arithmetic", "copies"


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal for ``ours`` against the best of ``peers``, on rows of one direction.

    ``applies`` selects the rows. Every ratio must be at least ``worst``, and their geometric mean
    at least ``mean``. ``peers`` None: all others. ``measure``: the ratio of times, of memory, the
    fraction of the FMA peak, or of what bounds a row.
    """

    text: str
    applies: Callable[[Row], bool]
    worst: float
    mean: float = 0.0
    direction: str = FORWARD
    ours: str = "faltung"
    peers: tuple[str, ...] | None = TORCH
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


def _layer(
    kernel: tuple[int, ...], sizes: tuple[int, ...] = (), kind: Callable[[ConvSpec], bool] = dense
) -> Callable[[Row], bool]:
    """Layers of one kernel, with stride and dilation 1, and some ``sizes`` of the last axis."""

    def applies(row: Row) -> bool:
        spec = row.spec
        plain = set(spec.stride) == {1} == set(spec.dilation)
        wanted = not sizes or spec.size[-1] in sizes
        return plain and single(spec) and spec.kernel == kernel and wanted and kind(spec)

    return applies


def _wide(spec: ConvSpec) -> bool:
    return dense(spec, 64)


def _grouped(outputs: int) -> Callable[[ConvSpec], bool]:
    """Layers with several groups of this many output channels."""
    return lambda spec: spec.groups > 1 and spec.channels_out // spec.groups == outputs


def _against_all(
    what: str, worst: float, applies: Callable[[Row], bool], direction: str = FORWARD
) -> Goal:
    """A goal against the best of all peers."""
    words = "" if direction == FORWARD else f", {direction.replace('_', ' ')}"
    return Goal(f"{what}{words}, against the best of all", applies, worst, 0, direction, peers=None)


def _any_of(*applies: Callable[[Row], bool]) -> Callable[[Row], bool]:
    return lambda row: any(one(row) for one in applies)


def _is(row: Row, *names: str) -> bool:
    """Whether a row is one of these networks, and a core row."""
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


_SMALL_DEPTHWISE = _any_of(*(_layer((k, k), kind=depthwise) for k in (3, 5, 7)))

# Where a transform or a special kernel beats the plain sum.
METHODS: tuple[Goal, ...] = (
    _against_all("3x3 at 56 and 28", 2.2, _layer((3, 3), (56, 28), _wide)),
    _against_all("3x3 at 14", 1.8, _layer((3, 3), (14, 13), _wide)),
    _against_all("3x3 at 7", 1.3, _layer((3, 3), (7,), _wide)),
    _against_all("3x3", 1.8, _layer((3, 3), (56, 28, 14, 13, 7), _wide), INPUT_GRAD),
    _against_all("3x3", 1.4, _layer((3, 3), (56, 28, 14, 13, 7), _wide), WEIGHT_GRAD),
    _against_all("3x3x3, 32 channels and more", 2.0, _layer((3, 3, 3))),
    _against_all(
        "one axis, 3 and 5 taps, 64 channels", 1.3, _any_of(*(_layer((k,)) for k in (3, 5)))
    ),
    _against_all("depthwise 3x3, 5x5, 7x7", 2.2, _SMALL_DEPTHWISE),
    _against_all("depthwise 3x3, 5x5, 7x7", 3.0, _SMALL_DEPTHWISE, INPUT_GRAD),
    _against_all("depthwise 3x3, 5x5, 7x7", 3.0, _SMALL_DEPTHWISE, WEIGHT_GRAD),
    Goal(
        "depthwise 31x31, against the better layout of PyTorch",
        _layer((31, 31), kind=depthwise),
        1.3,
    ),
    Goal("depthwise of one axis, 31 taps, against PyTorch", _layer((31,), kind=depthwise), 20.0),
    _against_all("four channels a group", 2.5, _layer((3, 3), kind=_grouped(4))),
    _against_all(
        "1 to 16 channels, 3x3x3", 4.0, _layer((3, 3, 3), kind=lambda spec: spec.channels_in == 1)
    ),
    _against_all("depthwise 3x3x3", 2.2, _layer((3, 3, 3), kind=depthwise)),
    _against_all("one channel, 15x15", 15.0, _layer((15, 15), kind=signal)),
    _against_all("signal of 10^6, k101", 8.0, lambda row: _signal(row, (101,))),
    _against_all("signal of 10^6, k1001", 4.0, lambda row: _signal(row, (1001,))),
    _against_all("signal of 10^6, k100001", 1.5, lambda row: _signal(row, (100_001,))),
    _against_all("every row", 1.0, lambda row: True),
)


GOALS: tuple[Goal, ...] = (
    *METHODS,
    Goal("forward, dense, against the better layout of PyTorch", _dense, 1.0, 1.05),
    Goal("gradient for the input, dense, against PyTorch", _dense, 1.0, 0, INPUT_GRAD),
    Goal("gradient for the weight, dense, against PyTorch", _dense, 1.0, 0, WEIGHT_GRAD),
    Goal("float64, against PyTorch", lambda row: row.spec.dtype == "float64", 3.0),
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
    Goal(
        "GoogLeNet, ResNet-18 and VGG-16 at batch 1, against ONNX Runtime and OpenVINO",
        lambda row: _is(row, "googlenet", "resnet18", "vgg16"),
        1.2,
        direction=INFERENCE,
        peers=("onnxruntime", "openvino"),
    ),
    Goal(
        "ResNet-50 at batch 1, against ONNX Runtime and OpenVINO",
        lambda row: _is(row, "resnet50"),
        1.0,
        direction=INFERENCE,
        peers=("onnxruntime", "openvino"),
    ),
    Goal(
        "step of twelve networks, against the best of PyTorch",
        lambda row: _is(row, "lenet5", "resnet18", "googlenet") or row.text.startswith(PREFIX),
        1.5,
        2.5,
        direction=STEP,
        peers=TORCH_ALL,
    ),
    _step("LeNet-5", 2.0, "lenet5"),
    _step("the 1-D and the 3-D network", 1.5, "series", "volumes"),
    _step("ResNet-18", 1.8, "resnet18"),
    _step("GoogLeNet", 1.5, "googlenet"),
    Goal(
        "memory of a step, against PyTorch channels-first",
        lambda row: row.core,
        1.0,
        direction=STEP,
        peers=("torch",),
        measure=MEMORY,
    ),
)


_BETTER = "the better of ONNX Runtime and OpenVINO"


def _files(batch: int) -> Goal:
    """The goal for networks as ONNX files."""
    return Goal(
        f"networks at batch {batch}, against {_BETTER}",
        lambda row: row.text == f"n{batch}",
        1.05,
        1.5,
        FILE,
        peers=("onnxruntime", "openvino"),
    )


def _core(row: Row) -> bool:
    return row.core


def _near(what: str, worst: float, measure: str) -> tuple[Goal, ...]:
    """The goal for what is bounded by one thing, in every direction."""
    return tuple(
        Goal(
            f"1x1, {direction.replace('_', ' ')}, {what}",
            _core,
            worst,
            0,
            direction,
            measure=measure,
        )
        for direction in DIRECTIONS
    )


def _filter(row: Filter) -> tuple[Goal, ...]:
    """The goals for one row of filters, which has them itself."""

    def applies(one: Row) -> bool:
        return one.name == row.name

    def goal(peer: str, worst: float, measure: str, more: str) -> Goal:
        text = f"{row.name}, against {peer}{more}"
        return Goal(text, applies, worst, 0, FILTER, peers=(peer,), measure=measure)

    return (
        *(goal(peer, worst, TIME, "") for peer, worst in row.goals.items()),
        *(goal(peer, 1 / most, MEMORY, ", memory") for peer, most in row.memory.items()),
    )


# Goals of subjects that have their own.
SPECIAL: dict[str, tuple[Goal, ...]] = {
    POINTWISE: (
        *(_against_all("1x1", 1.0, _core, direction) for direction in DIRECTIONS),
        *_near("of the peak where arithmetic bounds it", 0.9, ARITHMETIC),
        *_near("of the copy bandwidth where memory bounds it", 0.8, COPIES),
    ),
    DEPTHWISE: tuple(
        goal
        for direction in DIRECTIONS
        for goal in (
            Goal(
                f"depthwise, {direction.replace('_', ' ')}, against PyTorch's better layout",
                _core,
                2.2,
                0,
                direction,
            ),
            _against_all("depthwise", 1.3, _core, direction),
        )
    ),
    ONNX: (_files(1), _files(8)),
    FILTERS: tuple(goal for row in FILTER_ROWS for goal in _filter(row)),
}


def judge(run: Run, goals: Sequence[Goal] | None = None) -> list[Verdict]:
    """Verdicts on the goals for which this run has a value; by default those of its subject.

    The fraction of the peak is only checked on one thread: with more, memory is the limit.
    """
    verdicts = []
    for goal in SPECIAL.get(run.subject, GOALS) if goals is None else goals:
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
    peers = rivals(row) if goal.peers is None else goal.peers
    if goal.measure == TIME:
        return ratio(row, goal.ours, peers)
    if goal.measure == MEMORY:
        return memory_ratio(row, goal.ours, peers)
    if goal.measure in (ARITHMETIC, COPIES):
        return _reached(run, goal, row)
    gflops = row.gflops(goal.ours)
    return None if gflops is None or run.peak is None else gflops / run.peak


def _reached(run: Run, goal: Goal, row: Row) -> float | None:
    """The share of our time that is at the bound, where that is the goal's."""
    found = bounds(run)
    if found is None or row.ns(goal.ours) is None:
        return None
    bound, share = found.of(row)
    wanted = {ARITHMETIC: "arithmetic", COPIES: "memory"}[goal.measure]
    return share if bound == wanted else None
