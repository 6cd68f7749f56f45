"""Where the time of a program goes: a row for each node, with what it computes and moves."""

from faltung import nets
from faltung.graph.differentiate import differentiate
from faltung.graph.initial import parameters
from faltung.nn import build
from faltung.program.inference import Inference
from faltung.program.optimizer import SGD
from faltung.program.profile import profile
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep


def test_rows_of_lenet() -> None:
    graph = nets.graph("lenet5", input_shape=(1, 28, 28))
    state = State(graph.parameters, graph.dtype)
    state.update(parameters(graph, 0))
    found = profile(Inference(graph, state, 2), repeats=2)
    rows = {row.layer: row for row in found.rows}
    assert [row.operation for row in found.rows].count("Pool") == 2
    conv = rows["conv1"]
    assert conv.flops == 2 * 2 * 6 * 28 * 28 * 25  # two samples, two for each product
    assert conv.output == (6, 28, 28) and "max" in conv.method  # with its activation
    assert conv.bytes == 4 * (2 * (28 * 28 + 6 * 28 * 28) + 6 * 25 + 6)
    assert rows["pool1"].flops == 0
    assert found.seconds > 0 and all(row.seconds > 0 for row in found.rows)
    lines = str(found).splitlines()
    assert lines[0].split() == "layer operation method output ms % GFLOP/s bytes".split()
    assert len(lines) == len(found.rows) + 4 and max(map(len, lines)) <= 120
    assert lines[-1].endswith("GFLOP/s")


def test_rows_of_a_step_of_training() -> None:
    """Forward, backward with packing, and the optimizer, which changes nothing at a rate of 0."""
    net = nets.get("lenet5", classes=10, input_shape=(1, 28, 28))
    graph = build(net, (1, 28, 28), training=True)
    state = State(graph.parameters, graph.dtype)
    state.update(parameters(graph, 0))
    before = state.memory.copy()
    step = TrainingStep(differentiate(graph), state, Slots(state, SGD(0.9)), 2)
    found = profile(step, repeats=2)
    operations = [row.operation for row in found.rows]
    assert operations[-1] == "Update" and operations.count("ConvolveWeight") == 5
    assert sum("pack weights" in row.method for row in found.rows) >= 5
    assert all(row.seconds > 0 for row in found.rows) and found.seconds > 0
    assert (state.memory == before).all()
