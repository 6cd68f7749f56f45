"""Where the time of a program goes: a row for each node, with what it computes and moves."""

from dataclasses import replace

import numpy as np
import pytest

from faltung import nets
from faltung.graph.differentiate import differentiate
from faltung.graph.initial import parameters
from faltung.graph.kinds import (
    DEPTHWISE,
    KINDS,
    MAPS,
    OPTIMIZER,
    OTHER,
    PACKING,
    POINTWISE,
)
from faltung.plan.bandwidth import Bandwidth
from faltung.program.inference import Inference
from faltung.program.optimizer import SGD
from faltung.program.profile import Profile, Timed, profile
from faltung.program.profile_page import (
    COLUMNS,
    Measured,
    Yardsticks,
    alike,
    largest,
    markdown,
    summary,
)
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep


def lenet(training: bool = False) -> tuple[State, Inference | TrainingStep]:
    graph = nets.graph("lenet5", input_shape=(1, 28, 28), training=training)
    state = State(graph.parameters, graph.dtype)
    state.update(parameters(graph, 0))
    if not training:
        return state, Inference(graph, state, 2)
    return state, TrainingStep(differentiate(graph), state, Slots(state, SGD(0.9)), 2)


def test_rows_of_lenet() -> None:
    found = profile(lenet()[1], repeats=2)
    rows = {row.layer: row for row in found.rows}
    assert [row.operation for row in found.rows].count("Pool") == 2
    conv = rows["conv1"]
    assert conv.flops == 2 * 2 * 6 * 28 * 28 * 25  # two samples, two for each product
    assert conv.output == (6, 28, 28) and "max" in conv.method  # with its activation
    assert conv.bytes == 4 * (2 * (28 * 28 + 6 * 28 * 28) + 6 * 25 + 6)
    assert conv.kind == OTHER and conv.problem == "n1 c1>6 28x28 k5 p2"
    assert rows["pool1"].flops == 0 and rows["pool1"].kind == MAPS
    assert found.seconds > 0 and all(row.seconds > 0 for row in found.rows)
    lines = str(found).splitlines()
    assert lines[0].split() == "layer operation method output ms % GFLOP/s bytes".split()
    assert len(lines) == len(found.rows) + 4 and max(map(len, lines)) <= 120
    assert lines[-1].endswith("GFLOP/s")


def test_a_step_of_training_changes_nothing() -> None:
    state, step = lenet(training=True)
    assert isinstance(step, TrainingStep)
    x = np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype(np.float32)
    step(x, np.array([1, 3]), lr=0.1)
    memories = [state.memory, step.slots.gradients, *step.slots.arrays.values()]
    before = [memory.copy() for memory in memories]
    found = profile(step, repeats=2)
    assert all((a == b).all() for a, b in zip(memories, before, strict=True))
    operations = {row.operation for row in found.rows}
    assert {"Convolve", "ConvolveInput", "ConvolveWeight", "CrossEntropy"} <= operations
    kinds = [row.kind for row in found.rows]
    assert PACKING in kinds and kinds[-1] == OPTIMIZER and set(kinds) <= set(KINDS)


# The page ---------------------------------------------------------------------------------------

MEASURED = Yardsticks(2, 100.0, Bandwidth((1000, 1_000_000), (1e-6, 20e-6)))
CONV = Timed("a", "Convolve", "direct", (8, 9, 9), 1e-3, 80_000_000, 500_000, OTHER, "n1 c8>8 9x9")


def test_every_kind_has_one_column() -> None:
    columns = [kind for column in COLUMNS for kind in column]
    assert sorted(columns) == sorted(KINDS)


def test_what_bounds_a_step() -> None:
    name, share = MEASURED.bound(1e-3, 80_000_000, 500_000)
    assert name == "arithmetic" and share == pytest.approx(0.8)
    assert MEASURED.bound(40e-6, 1000, 1_000_000) == ("memory", pytest.approx(0.5))
    assert MEASURED.bound(4e-6, 0, 10) == ("start", pytest.approx(0.25))
    assert "fewer products" in MEASURED.bounded(1e-3, 300_000_000, 500_000)


def test_steps_that_are_alike_count_together() -> None:
    other = replace(CONV, layer="b", seconds=3e-3)
    apart = replace(CONV, output=(8, 9, 8), seconds=2e-3)
    first, second = alike([CONV, apart, other])
    assert (first.row, first.count, first.seconds) == (CONV, 2, 4e-3)
    assert (second.row, second.count) == (apart, 1)


def test_the_page() -> None:
    deep = replace(CONV, kind=DEPTHWISE, seconds=5e-4)
    wide = replace(CONV, kind=POINTWISE, method="direct, then max($0, 0.0)")
    found = Profile((CONV, deep, wide), 3e-3, 2)
    assert summary([Measured("net", found, MEASURED)]).splitlines()[-1] == (
        "| net | 3.00 | 1.00 (80%) | 0.50 (1 GB/s) | 1.00 (80%) | 2.50 | 3 | +0.50 |"
    )
    lines = largest(found, MEASURED, most=2).splitlines()
    assert len(lines) == 4
    assert lines[2] == (
        "| `n1 c8>8 9x9` | other convolutions | direct | 1 | 1.000 | 40.0% | 80 | 80% | 0.5 | 1% "
        "| arithmetic 80% |"
    )
    text = markdown("net", found, MEASURED)
    assert text.startswith("On 2 threads multiply-adds in registers reach 100 GFLOP/s")
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| ")}
    assert len(widths) == 2  # two tables
