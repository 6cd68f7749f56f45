"""The tables of networks and steps: every line reads, and means what it says."""

from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks.network_problem import draw
from benchmarks.networks import NETWORKS, STEPS, Network, facts, parse
from benchmarks.protocol import INFERENCE, STEP
from benchmarks.subjects import select
from faltung.graph.ops import Dropout

# Of the networks of torchvision, which take seconds each, one stands for all.
OURS = [row for row in STEPS if not row.text.startswith("torchvision.")]
VISION = "torchvision.squeezenet1_1 3x48x48 n4 lr0.001 dropout=0 num_classes=5"
ROWS = [*((INFERENCE, row) for row in NETWORKS), *((STEP, row) for row in OURS)]


@pytest.mark.parametrize(("direction", "row"), ROWS, ids=lambda value: getattr(value, "name", ""))
def test_text_reads(direction: str, row: Network) -> None:
    parameters, operations = facts(row.text, direction)
    assert operations > parameters > 1000 and row.spec.batch > 0
    assert not set("|`\n") & set(row.name + row.text)


@pytest.mark.parametrize("row", OURS, ids=lambda row: row.name)
def test_nothing_in_a_step_is_random(row: Network) -> None:
    graph = row.spec.graph(training=True)
    assert not any(isinstance(node.op, Dropout) for node in graph.nodes)
    assert graph.auxiliaries == () and row.spec.lr > 0


@pytest.mark.parametrize("table", [NETWORKS, STEPS])
def test_names_and_problems_are_distinct(table: tuple[Network, ...]) -> None:
    assert len({row.name for row in table}) == len({row.text for row in table}) == len(table)


@pytest.mark.parametrize(
    ("text", "direction", "parameters", "operations"),
    [
        ("lenet5 1x28x28 n1", INFERENCE, 61_706, 2 * 416_520),
        ("lenet5 1x28x28 n64 lr0.01", STEP, 61_706, 6 * 64 * 416_520),
        # As others count them: torchvision documents 1.81, 4.09 and 1.5 GMAC.
        ("resnet18 3x224x224 n1", INFERENCE, 11_689_512, 2 * 1_814_073_344),
        ("resnet50 3x224x224 n1", INFERENCE, 25_557_032, 2 * 4_089_184_256),
        ("googlenet 3x224x224 n1", INFERENCE, 6_624_904, 2 * 1_498_376_192),
    ],
)
def test_facts(text: str, direction: str, parameters: int, operations: int) -> None:
    assert facts(text, direction) == (parameters, operations)


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
def test_both_train_one_network_of_torchvision() -> None:
    from benchmarks.peers.networks import faltung, torch

    problem = draw(VISION, STEP)
    assert problem.classes == 5
    want = torch.answer(problem)
    got = faltung.build(problem, "").array()
    assert np.ptp(want) > 1e-6 and problem.error(got, want) < problem.limit


def test_what_a_unit_of_the_series_net_sees() -> None:
    graph = parse("series 9x128 n1 classes=6").graph()
    sizes = [axes[0].size for axes in graph.fields.values() if axes]
    assert max(sizes) == 127


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lenet5 1x28x28", "must be NAME"),
        ("lenet5 1x28x28 64", "must be NAME"),
        ("lenet5 1x28x28 n1 paper", "must be OPTION=VALUE"),
        ("lenet6 1x28x28 n1", "net='lenet6'"),
    ],
)
def test_refusals(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


def test_select() -> None:
    assert select("networks") == NETWORKS
    assert [row.name for row in select("training", "SERIES")] == ["dilated 1-D net, batch 64"]
    assert len(select("training", core=True)) == 5
