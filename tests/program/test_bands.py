"""Chains of layers that run band by band: the same bits as layer after layer, by any threads."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from graph.networks import anything
from program.programs import poison, threads
from program.schedules import backwards, by_threads, shuffled

from faltung import nets, nn
from faltung.graph.initial import parameters
from faltung.graph.value import Graph
from faltung.jit.target import current, host, named
from faltung.methods.base.remembered import forget
from faltung.program import bands
from faltung.program.inference import Inference
from faltung.program.lowering import Chain
from faltung.program.profile import profile
from faltung.program.state import State


def state_of(graph: Graph, values: dict[str, np.ndarray] | None = None) -> State:
    state = State(graph.parameters, graph.dtype)
    state.update(anything(graph) if values is None else values)
    return state


def chains(program: Inference) -> list[Chain]:
    return [made.chain for made in program.assembly.lowered if made.chain is not None]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Chains wherever they can be."""

    forget()  # what chains were worth
    monkeypatch.setattr(bands, "fixed_price", lambda parts, machine: (1.0, 1e9 * (len(parts) - 1)))
    monkeypatch.setattr(bands, "band_price", lambda parts, rows, machine: 0.0)
    yield
    forget()


def random_layers(rng: np.random.Generator, channels: int) -> list[nn.Layer]:
    """Two to four convolutions and poolings of all kinds, with what is fused into them."""
    layers: list[nn.Layer] = []
    for _ in range(rng.integers(2, 5)):
        kind = rng.choice(["pointwise", "depthwise", "grouped", "whole", "max", "mean"])
        groups = channels if kind in ("depthwise", "grouped") else 1
        if kind == "grouped" and channels % 2 == 0:
            groups = channels // 2
        if kind in ("pointwise", "grouped", "whole"):
            channels = groups * int(rng.integers(1, 3 if groups > 1 else 20))
        kernel = 1 if kind == "pointwise" else tuple(map(int, rng.choice([1, 2, 3, 5], 2)))
        conv = nn.Conv(
            channels,
            kernel,
            stride=tuple(map(int, rng.choice([1, 1, 2, 3], 2))),
            padding=tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (2, 2))),
            dilation=1 if kernel == 1 else tuple(map(int, rng.choice([1, 1, 2], 2))),
            groups=groups,
            bias=bool(rng.integers(2)),
        )
        pool = nn.MaxPool if kind == "max" else nn.AvgPool
        layers.append(pool(3, stride=2, padding=1) if kind in ("max", "mean") else conv)
        layers += [[], [nn.ReLU()], [nn.SiLU()], [nn.BatchNorm(), nn.ReLU6()]][rng.integers(4)]
    return layers


def random_graph(rng: np.random.Generator, dtype: str) -> Graph:
    while True:
        channels, *space = map(int, rng.integers((1, 9, 6), (17, 34, 30)))
        try:
            net = nn.Sequential(*random_layers(rng, channels))
            graph = nn.build(net, (channels, *space), dtype=dtype, training=False)
        except ValueError:  # kernels larger than what is left of the map
            continue
        if min(graph.output.space) > 1:
            return graph


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.usefixtures("eager")
def test_random_chains_have_the_same_bits(seed: int) -> None:
    """Of all strides, paddings, dilations and groups; from memory full of NaN, by threads as far
    apart as barriers let them.
    """
    dtype, batch = ("float32", "float64")[seed % 2], 1 + seed % 3
    machine = named("sse") if seed % 5 == 4 and host().arch == "x86_64" else current()
    machine = replace(machine, cores=1 + seed % 4)  # as many items
    rng, more = np.random.default_rng(seed), {"precision": "strict", "machine": machine}
    for _ in range(10):
        graph = random_graph(rng, dtype)
        state = state_of(graph)
        program = Inference(graph, state, batch, **more)
        if chains(program):  # there is none where a formula is between all layers
            break
    whole = Inference(graph, state, batch, bands=False, **more)
    assert chains(program) and not chains(whole)
    x = np.random.default_rng(seed).standard_normal((batch, *graph.input.shape)).astype(dtype)
    found = whole(x).tobytes()
    for number in (1, 2, 3, 7):
        with threads(number):
            poison(program)
            assert program(x).tobytes() == found
    for order in ([1, 0], shuffled(5)):
        by_threads(program, order)
        poison(program)
        assert program(x).tobytes() == found
    backwards(program)
    poison(program)
    assert program(x).tobytes() == found


@pytest.mark.parametrize("height", [1, 2, 3, 5, 8])
@pytest.mark.usefixtures("eager")
def test_any_height(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "HEIGHTS", (height,))
    graph = nn.build(block(24, 5, 2), (8, 23, 17), training=False)
    state, x = state_of(graph), np.random.default_rng(1).standard_normal((2, 8, 23, 17))
    program = Inference(graph, state, 2)
    assert [chain.height for chain in chains(program)] == [height]
    found = Inference(graph, state, 2, bands=False)(x.astype("f4"))
    assert program(x.astype("f4")).tobytes() == found.tobytes()


def block(channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv(channels, 1, bias=False),
        nn.BatchNorm(),
        nn.ReLU6(),
        nn.Conv(channels, kernel, stride=stride, padding=kernel // 2, groups=channels, bias=False),
        nn.BatchNorm(),
        nn.ReLU6(),
        nn.Conv(8, 1),
    )


NETS = ["mobilenetv2", "mobilenetv3_large"]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.usefixtures("eager")
def test_networks_have_the_same_bits(name: str) -> None:
    machine = replace(current(), cores=2)
    graph = nets.graph(name, input_shape=(3, 64, 64))
    state = state_of(graph, parameters(graph, 0))
    x = np.random.default_rng(2).standard_normal((1, 3, 64, 64)).astype("f4")
    found = Inference(graph, state, 1, bands=False)(x)
    program = Inference(graph, state, 1, machine=machine)
    assert chains(program)
    for number in (1, 2):
        with threads(number):
            poison(program)
            assert program(x).tobytes() == found.tobytes()


# Which chains -------------------------------------------------------------------------------------


def program_of(net: nn.Layer, shape: tuple[int, ...], batch: int = 1, **more: object) -> Inference:
    graph = nn.build(net, shape, training=False)
    return Inference(graph, state_of(graph), batch, **more)


def test_large_maps_make_chains_and_take_no_memory() -> None:
    """The maps between the layers are not in the arena; small maps stay layers alone."""
    large = program_of(block(96, 3, 2), (16, 112, 112), 8)
    (chain,) = chains(large)
    assert [node.layer for node in chain.nodes] == ["conv1", "conv2", "conv3"]
    assert chain.bytes == 8 * 4 * 96 * (112 * 112 + 56 * 56)
    assert chain.after < 0.8 * chain.before
    alone = program_of(block(96, 3, 2), (16, 112, 112), 8, bands=False)
    # One of the two maps lay where the result did.
    assert alone.assembly.bytes - large.assembly.bytes > 0.95 * chain.bytes
    assert not chains(program_of(block(96), (16, 7, 7)))


@pytest.mark.usefixtures("eager")
def test_what_others_read_is_written_whole() -> None:
    """A map with two readers, or that is a result, ends a chain, and a residual is read outside."""
    inner = nn.Sequential(nn.Conv(8, 1), nn.Conv(8, 3, padding=1, groups=8), nn.Conv(8, 1))
    program = program_of(nn.Sequential(nn.Conv(8, 1), nn.Residual(inner), nn.ReLU()), (4, 12, 12))
    assert [len(chain.nodes) for chain in chains(program)] == [3]
    graph = nn.build(inner, (4, 12, 12), training=False)
    middle = graph.nodes[1].output
    seen = Graph(**{**_fields(graph), "outputs": (graph.output, middle)})
    assert [len(c.nodes) for c in chains(Inference(seen, state_of(seen), 1))] == [2]


def _fields(graph: Graph) -> dict[str, object]:
    return {name: getattr(graph, name) for name in graph.__dataclass_fields__}


@pytest.mark.usefixtures("eager")
def test_transforms_are_in_no_chain() -> None:
    net = nn.Sequential(nn.Conv(64, 1), nn.Conv(64, 3, padding=1), nn.Conv(64, 1))
    assert not chains(program_of(net, (64, 32, 32)))
    assert [len(c.nodes) for c in chains(program_of(net, (64, 32, 32), precision="strict"))] == [3]


@pytest.mark.usefixtures("eager")
def test_memory_of_a_thread_is_bounded() -> None:
    """Rows of so many bytes that not even a few fit are no chain."""
    net = nn.Sequential(nn.Conv(512, 1), nn.Conv(512, 3, padding=1, groups=512))
    assert not chains(program_of(net, (4, 8, 640)))
    for chain in chains(program_of(net, (4, 64, 32))):
        assert sum(size for _, size in chain.rings) <= 320 << 10


def test_the_profile_shows_chains() -> None:
    program = program_of(block(96, 3, 2), (16, 112, 112), 8)
    found = profile(program, repeats=1)
    (row,) = found.rows
    assert row.layer == "conv1 + 2" and row.method.startswith("3 in bands of ")
    assert row.flops == 2 * 8 * 96 * (16 * 112**2 + (9 + 8) * 56**2)
    (line,) = found.chains
    assert line.startswith("conv1 + 2: in bands of ") and line in str(found)
