"""Networks whose values lie on grids, in whole numbers of 8 bits: the numbers of float32."""

from typing import Any

import numpy as np
import pytest

import faltung
from faltung import nn
from faltung.graph.initial import parameters
from faltung.graph.ops import Concat, ConvolveInteger, Pool
from faltung.jit.target import named
from faltung.program.inference import Inference
from faltung.program.state import State

Q = nn.Quantise(0.0625, zero=128)
A = nn.Quantise(0.125)


def conv(channels: int, kernel: Any = 3, **more: Any) -> nn.Layer:
    return nn.Conv(channels, kernel, padding="same", bits=8, **more)


def block(channels: int, *more: Any) -> nn.Layer:
    return nn.Residual(nn.Sequential(conv(channels), nn.ReLU(), A, conv(channels, 1), Q))


NETS: dict[str, tuple[nn.Layer, tuple[int, ...]]] = {
    "plain": (
        nn.Sequential(Q, conv(16), nn.ReLU(), A, conv(24, stride=2), nn.ReLU6(), A, conv(5, 1)),
        (3, 11, 9),
    ),
    "pools": (
        nn.Sequential(
            Q,
            conv(40, 5),
            nn.ReLU(),
            A,
            nn.MaxPool(3, stride=2, padding=1),
            conv(8, 1),
            Q,
            nn.AvgPool(2),
            Q,
            conv(3, 1),
        ),
        (3, 13, 14),
    ),
    "residual": (
        nn.Sequential(Q, conv(12), nn.ReLU(), A, block(12), nn.ReLU(), A, conv(20, 1), Q),
        (2, 10, 7),
    ),
    "branches": (
        nn.Sequential(
            Q,
            nn.Parallel(
                nn.Sequential(conv(8, 1), A),
                nn.Sequential(conv(16), A),
                nn.MaxPool(3, stride=1, padding=1),
            ),
            A,
            conv(10),
            nn.ReLU(),
            A,
            conv(4, 1),
        ),
        (6, 9, 9),
    ),
    "depthwise": (
        nn.Sequential(
            Q,
            conv(33, groups=33),
            nn.ReLU6(),
            A,
            conv(7, 1),
            Q,
            conv(14, 3, groups=7),
            A,
            nn.GlobalAvgPool(),
            A,
            nn.Linear(10, bits=8),
        ),
        (33, 8, 8),
    ),
    "series": (
        nn.Sequential(Q, conv(16, 5), nn.ReLU(), A, nn.MaxPool(2), conv(9, 3, dilation=2)),
        (2, 31),
    ),
    "volume": (
        nn.Sequential(Q, conv(16), nn.ReLU(), A, nn.MaxPool(2), conv(9, 3), nn.LeakyReLU()),
        (1, 6, 7, 5),
    ),
    "linear": (
        nn.Sequential(Q, nn.Flatten(), nn.Linear(300, bits=8), nn.ReLU(), A, nn.Linear(7, bits=8)),
        (3, 5, 4),
    ),
    "softmax": (nn.Sequential(Q, conv(8), A, nn.GlobalAvgPool(), nn.Softmax()), (3, 5, 4)),
    "resized": (
        nn.Sequential(Q, conv(8), A, nn.Upsample(scale=2), conv(4), A, nn.Pad(1), conv(3)),
        (3, 5, 4),
    ),
}


def program(
    name: str, batch: int = 2, shape: tuple[int, ...] | None = None, **more: Any
) -> Inference:
    net, usual = NETS[name]
    shape = shape or usual
    graph = nn.build(net, shape)
    state = State(graph.parameters, graph.dtype)
    rng = np.random.default_rng(1)
    given = parameters(graph, 0)
    biases = {n: rng.normal(size=p.shape) for n, p in given.items() if n.endswith("bias")}
    state.update(given | biases)
    return Inference(graph, state, batch, **more)


def inputs(name: str, batch: int = 2) -> Any:
    return np.random.default_rng(0).normal(0, 3, (batch, *NETS[name][1])).astype(np.float32)


@pytest.mark.parametrize("name", NETS)
def test_the_numbers_of_float32(name: str) -> None:
    x = inputs(name)
    whole, real = program(name), program(name, integers=False)
    kinds = [type(node.op) for node in whole.nodes]
    assert ConvolveInteger in kinds and ConvolveInteger not in [type(n.op) for n in real.nodes]
    found = whole(x)
    np.testing.assert_array_equal(found, real(x))
    assert len(np.unique(found)) > 3


@pytest.mark.parametrize("name", ["residual", "branches", "depthwise"])
def test_the_same_bits_alone_and_on_other_machines(name: str) -> None:
    x = inputs(name)
    expected = program(name)(x)
    np.testing.assert_array_equal(program(name, 1)(x[1:]), expected[1:])
    other = program(name, machine=named("generic"))
    np.testing.assert_array_equal(other(x), expected)


def test_more_threads_change_nothing() -> None:
    before = faltung.get_threads()
    try:
        found = []
        for threads in (1, 3):
            faltung.set_threads(threads)
            found.append(program("branches")(inputs("branches")))
        np.testing.assert_array_equal(*found)
    finally:
        faltung.set_threads(before)


def test_values_take_a_byte_each() -> None:
    shape = 6, 40, 40
    whole = program("branches", shape=shape)
    real = program("branches", shape=shape, integers=False)
    sizes = [p.assembly.memories["arena"].nbytes for p in (whole, real)]
    assert sizes[0] < sizes[1] / 2
    kinds = {type(n.op): whole.assembly.array(n.output).dtype for n in whole.nodes}
    assert kinds[Pool] == kinds[Concat] == np.uint8


def test_functions_are_as_exact_as_ever() -> None:
    net = nn.Sequential(Q, conv(8), nn.SiLU())
    graph = nn.build(net, (4, 6, 6))
    state = State(graph.parameters, graph.dtype)
    state.update(parameters(graph, 0))
    x = np.random.default_rng(0).normal(0, 3, (2, 4, 6, 6)).astype(np.float32)
    whole, real = (Inference(graph, state, 2, integers=each)(x) for each in (True, False))
    np.testing.assert_allclose(whole, real, rtol=1e-6, atol=1e-6)


def test_both_ways_of_a_sum_are_kept_in_8_bits() -> None:
    net = nn.Sequential(
        Q,
        nn.Residual(nn.Sequential(conv(8), Q), shortcut=nn.Sequential(conv(8, 1), Q)),
        nn.ReLU(),
        A,
        conv(3),
    )
    graph = nn.build(net, (4, 6, 6))
    state = State(graph.parameters, graph.dtype)
    state.update(parameters(graph, 0))
    made = Inference(graph, state, 1)
    convs = [n for n in made.nodes if isinstance(n.op, ConvolveInteger)]
    assert len(convs) == 3
    assert [made.assembly.array(n.output).dtype for n in convs[:2]] == [np.uint8, np.uint8]
