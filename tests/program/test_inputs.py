"""What comes into a program: layouts, shapes, dtypes."""

import numpy as np
import pytest
from graph.networks import anything, build, inputs, problem
from program.programs import ran, step_of

from faltung import nn
from faltung.graph.fuse import fused
from faltung.graph.ops import Convolve, ToChannelsLast
from faltung.graph.value import Graph, Node
from faltung.program.inference import Inference
from faltung.program.inputs import input_layouts
from faltung.program.state import State

# Network, input shape, whether the input is brought into another order.
ARRIVALS: dict[str, tuple[nn.Layer, tuple[int, ...], bool]] = {
    "a convolution": (nn.Conv(2, 3), (3, 5, 5), False),
    "two convolutions": (nn.Parallel(nn.Conv(2, 1), nn.Conv(3, 1)), (3, 5), False),
    "a linear layer": (nn.Sequential(nn.Flatten(), nn.Linear(2)), (3, 5), False),
    "a pool": (nn.MaxPool(2), (3, 4), True),
    "an activation": (nn.ReLU(), (3, 4), True),
    "a residual": (nn.Residual(nn.Conv(3, 1)), (3, 4), True),
    "a transpose": (nn.ConvTranspose(2, 2), (3, 4), True),
    "an unshared layer": (nn.Local(2, 2), (3, 4), True),
    "a pool beside a convolution": (nn.Parallel(nn.Conv(2, 1), nn.Identity()), (3, 4), True),
    "one channel": (nn.ReLU(), (1, 4), False),
    "one position": (nn.ReLU(), (3, 1, 1), False),
    "vectors": (nn.Linear(2), (3,), False),
}


def nodes_of(graph: Graph) -> tuple[tuple[Node, ...], frozenset[str]]:
    return input_layouts(graph.inputs, fused(graph.nodes, {graph.output.name}))


@pytest.mark.parametrize("name", ARRIVALS)
def test_only_convolutions_read_channels_first(name: str) -> None:
    net, shape, moved = ARRIVALS[name]
    graph = nn.build(net, shape)
    nodes, first = nodes_of(graph)
    assert sum(isinstance(node.op, ToChannelsLast) for node in nodes) == moved
    alike = graph.input.positions == 1 or graph.input.channels == 1
    assert first == (set() if alike else {"input"})
    if moved:
        assert nodes[0].inputs == (graph.input,)
        assert not [node for node in nodes[1:] if graph.input in node.inputs]


def test_tokens_stay_as_they_are() -> None:
    graph = build("text", training=False)
    assert input_layouts(graph.inputs, graph.nodes) == (graph.nodes, frozenset())


def test_the_input_as_operand_of_an_epilogue_is_moved() -> None:
    """The convolution itself could read it, what is added to its sum could not."""
    graph = nn.build(nn.Residual(nn.Conv(3, 1)), (3, 4))
    nodes, _ = nodes_of(graph)
    assert [type(node.op) for node in nodes] == [ToChannelsLast, Convolve]
    assert nodes[1].inputs[0] == nodes[1].inputs[-1]


# What is refused ----------------------------------------------------------------------------------


def program(name: str, batch: int = 2) -> Inference:
    graph = build(name, training=False, dtype="float32")
    state = State(graph.parameters, "float32")
    state.update(anything(graph))
    return Inference(graph, state, batch)


@pytest.mark.parametrize(
    "shape", [(3, 1, 12, 12), (2, 12, 12), (2, 1, 12, 11), (1, 12, 12), (2, 12, 12, 1), ()]
)
def test_shapes_that_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:
        program("lenet")(np.zeros(shape, np.float32))
    assert str(error.value) == f"x.shape={shape}: must be (2, 1, 12, 12)"


def test_dtypes_that_are_refused() -> None:
    with pytest.raises(TypeError) as error:
        program("lenet")(np.zeros((2, 1, 12, 12), np.complex64))
    assert str(error.value) == "x.dtype=complex64: must be float32, or a kind of it"
    with pytest.raises(TypeError) as error:
        program("text")(np.zeros((2, 8), np.float32))
    assert str(error.value) == "x.dtype=float32: must be int64, or a kind of it"


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "uint8", "bool"])
def test_dtypes_that_are_taken(dtype: str) -> None:
    x = np.arange(2 * 144).reshape(2, 1, 12, 12) % 2
    found = program("lenet")
    assert found(x.astype(dtype)).tobytes() == found(x.astype(np.float32)).tobytes()


def test_layouts_that_are_taken() -> None:
    found = program("resnet")
    x = inputs(found.graph, 2).astype(np.float32)
    want = found(x).tobytes()
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    assert found(np.moveaxis(last, -1, 1)).tobytes() == want
    wide = np.zeros((4, 3, 8, 16), np.float32)
    wide[::2, :, ::-1, ::2] = x
    assert found(wide[::2, :, ::-1, ::2]).tobytes() == want
    x.flags.writeable = False
    assert found(x).tobytes() == want


def test_targets_that_are_refused() -> None:
    given = problem("unet", "cross_entropy")
    step = step_of(given)
    for target, kind, words in (
        (given.target[:2], ValueError, "target.shape=(2, 6, 4): must be (3, 6, 4)"),
        (given.target[:, None], ValueError, "target.shape=(3, 1, 6, 4): must be (3, 6, 4)"),
        (
            given.target.astype(np.float32),
            TypeError,
            "target.dtype=float32: must be int64, or a kind of it",
        ),
    ):
        with pytest.raises(kind) as error:
            step(given.x, target, lr=0.0)
        assert str(error.value) == words
    with pytest.raises(ValueError) as error:
        step(given.x[:, :1], given.target, lr=0.0)
    assert str(error.value) == "x.shape=(3, 1, 6, 4): must be (3, 2, 6, 4)"


def test_nothing_is_trained_on_what_is_refused() -> None:
    given = problem("lenet")
    step = step_of(given)
    before = step.state.memory.copy()
    with pytest.raises(ValueError, match=r"target.shape"):
        step(given.x, given.target[:1], lr=1.0)
    assert step.state.memory.tobytes() == before.tobytes()


def test_numbers_as_targets_have_their_channels_moved() -> None:
    """A target of maps, channels first, whatever its own layout."""
    given = problem("unet")
    step = step_of(given)
    want = ran(step, given)["loss"]
    last = np.ascontiguousarray(np.moveaxis(given.target, 1, -1))
    step.feed(given.x, np.moveaxis(last, -1, 1))
    step.run(lr=0.0)
    assert step.loss == want


@pytest.mark.parametrize("batch", [0, -1, 1.5, True, None])
def test_batches_that_are_refused(batch: object) -> None:
    with pytest.raises((ValueError, TypeError), match="batch="):
        program("lenet", batch)


def test_graphs_of_the_other_mode_are_refused() -> None:
    graph = build("lenet")
    with pytest.raises(ValueError) as error:
        Inference(graph, State(graph.parameters, "float64"), 2)
    assert str(error.value) == "graph: must be built for inference, not for training"
