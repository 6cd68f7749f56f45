"""Programs assembled: barriers where they must be and nowhere else, memory, random networks."""

from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from graph import interpreter
from graph import networks as table
from graph.networks import anything, build, inputs, problem
from grid import grid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program.hazards import SHAPE, check_barriers, networks, segments
from program.programs import close, poison, ran, same, step_of, wanted
from program.schedules import backwards

from faltung import nn
from faltung.graph.value import Graph
from faltung.methods.base.step import Step
from faltung.program import assemble
from faltung.program.arena import Lifetime
from faltung.program.assemble import Assembly, Range, Unit, _with_barriers
from faltung.program.inference import Inference
from faltung.program.state import State
from faltung.runtime.buffers import ALIGNMENT


def inference(graph: Graph, batch: int = 3) -> Inference:
    state = State(graph.parameters, graph.dtype)
    state.update(anything(graph))
    return Inference(graph, state, batch)


# Barriers -----------------------------------------------------------------------------------------


@grid(name=table.TABLE, every=4)
def test_hazards_have_a_barrier_between(name: str) -> None:
    """Byte by byte, for every two parts of a program."""
    check_barriers(step_of(problem(name)).assembly, packs=True)
    check_barriers(inference(build(name, training=False)).assembly, packs=False)


@st.composite
def units(draw: st.DrawFn) -> list[Unit]:
    """Parts of programs that touch some ranges of two memories."""

    def ranges() -> list[Range]:
        found = []
        for _ in range(draw(st.integers(0, 2))):
            buffer = draw(st.integers(0, 3))
            low = draw(st.integers(0, 3))
            high = draw(st.integers(low + 1, 4))
            found.append(
                Range(f"m{buffer % 2}", 8 * buffer, 8 * buffer + 12, f"b{buffer}", low, high)
            )
        return found

    steps = [
        [Step(None, 1, (), f"{i}.{j}", bool(j)) for j in range(draw(st.integers(0, 2)))]
        for i in range(draw(st.integers(1, 8)))
    ]
    return [Unit(some, ranges(), ranges()) for some in steps]


@given(units())
def test_units_wait_for_those_that_they_meet_and_for_no_others(found: list[Unit]) -> None:
    steps = _with_barriers(found)
    assert [step.title for step in steps] == [step.title for unit in found for step in unit.steps]
    reads: list[Range] = []
    writes: list[Range] = []
    place = 0
    for unit in found:
        if not unit.steps:
            continue
        meets = any(
            a.conflicts(b)
            for a, b in (
                *((a, b) for a in unit.writes for b in reads + writes),
                *((a, b) for a in unit.reads for b in writes),
            )
        )
        first, *others = steps[place : place + len(unit.steps)]
        assert first.barrier == meets
        assert all(step.barrier for step in others)  # as they were
        if meets:
            reads, writes = [], []
        reads, writes = reads + unit.reads, writes + unit.writes
        place += len(unit.steps)


@pytest.mark.parametrize(
    ("a", "b", "meet"),
    [
        (Range("m", 0, 64, "a", 0, 4), Range("m", 0, 64, "a", 4, 8), False),
        (Range("m", 0, 64, "a", 0, 5), Range("m", 0, 64, "a", 4, 8), True),
        (Range("m", 0, 64, "a", 0, 4), Range("m", 32, 96, "b", 4, 8), True),
        (Range("m", 0, 64, "a", 0, 4), Range("m", 64, 96, "b", 0, 4), False),
        (Range("m", 0, 64, "a", 0, 4), Range("n", 0, 64, "b", 0, 4), False),
    ],
)
def test_ranges_meet_where_they_have_bytes_in_common(a: Range, b: Range, meet: bool) -> None:
    """Channels are told apart within one buffer alone."""
    assert a.conflicts(b) == b.conflicts(a) == meet


def titles(program: Inference) -> list[list[str]]:
    return [[step.title for step in part] for part in segments(program.assembly.steps)]


def test_branches_do_not_wait_for_each_other() -> None:
    """Those of an Inception module that begin alike run side by side."""
    net = nn.Sequential(nn.Parallel(*(nn.Conv(8, k, padding=k // 2) for k in (1, 3, 5, 7))))
    program = inference(nn.build(net, (4, 9, 9)))
    assert [len(part) for part in titles(program)] == [4]


def test_packing_shares_a_barrier_with_the_node_before() -> None:
    """After the first, no weights are packed while nothing else runs."""
    step = step_of(problem("residuals in a row"))
    check_barriers(step.assembly, packs=True)
    packs = [
        all(one.title.startswith("pack") for one in part) for part in segments(step.assembly.steps)
    ]
    assert True not in packs[1:]


# Memory -------------------------------------------------------------------------------------------


GAP = 192


def apart(spans: Mapping[str, Lifetime]) -> tuple[dict[str, int], int]:
    """In the place of `placed`: no memory is used twice, and there are gaps between."""
    found, total = {}, GAP
    for name, span in spans.items():
        found[name] = total
        total += -(-span.size // ALIGNMENT) * ALIGNMENT + GAP
    return found, total


def gaps(assembly: Assembly) -> np.ndarray:
    """Every byte of the arena that is no buffer's."""
    free = np.ones(assembly.memories["arena"].nbytes, bool)
    for name, (memory, at) in assembly._fixed.items():
        if memory == "arena":
            free[at : at + assembly._sizes[name]] = False
    return free


@grid(name=table.SHAPES, every=4)
def test_other_arrangements_give_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is needed longer than the arena knows, and nothing is written beside a buffer."""
    found = problem(name, samples=2)
    graph = build(name, training=False)
    want = ran(step_of(found), found)
    result = inference(graph, 2)(found.x)
    monkeypatch.setattr(assemble, "placed", apart)
    step, program = step_of(found), inference(graph, 2)
    for one in (step, program):
        one.assembly.memories["arena"][:] = 0xA5
    same(ran(step, found), want)
    assert program(found.x).tobytes() == result.tobytes()
    for one in (step, program):
        free = gaps(one.assembly)
        assert free.sum() >= GAP
        assert (one.assembly.memories["arena"][free] == 0xA5).all()


def test_deep_networks_need_no_more_memory_at_inference() -> None:
    """Maps of two layers, whatever the depth."""
    sizes = []
    for depth in (4, 16):
        net = nn.Sequential(*(nn.Conv(4, 3, padding=1) for _ in range(depth)))
        sizes.append(inference(nn.build(net, (4, 16, 16))).assembly.memories["arena"].nbytes)
    assert sizes[0] == sizes[1]


def test_concatenations_need_no_memory_beside_the_result() -> None:
    one = inference(nn.build(nn.Conv(8, 1), (4, 16, 16)))
    two = inference(nn.build(nn.Parallel(nn.Conv(4, 1), nn.Conv(4, 1)), (4, 16, 16)))
    assert two.assembly.memories["arena"].nbytes == one.assembly.memories["arena"].nbytes


def test_bytes_are_those_of_its_own_memories() -> None:
    program = inference(build("resnet", training=False))
    memories = program.assembly.memories
    own = sum(memories[name].nbytes for name in ("arena", "feed", "packed"))
    assert program.assembly.bytes == own
    assert memories["state"] is program.state.memory
    assert program.assembly.kernels > 0
    assert program.assembly.cycles > 0


def test_values_can_be_looked_at() -> None:
    """As they lie, channels last: a part of a concatenation, a vector, a number."""
    graph = build("inception", training=False)
    program, x = inference(graph), inputs(graph, 3)
    program(x)
    known = interpreter.values(graph, anything(graph), x)
    branch = program.nodes[-1].inputs[1]
    got = np.moveaxis(program.assembly.array(branch), -1, 1)
    np.testing.assert_allclose(got, known[branch.name], rtol=1e-10, atol=1e-12)


# Random networks ----------------------------------------------------------------------------------


@pytest.fixture
def random_row() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@given(networks)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_network(random_row: pytest.MonkeyPatch, net: nn.Layer) -> None:
    """Trained and at inference: the interpreter's numbers, all barriers, the same bits."""
    random_row.setitem(table.TABLE, "random", (net, SHAPE))
    found = problem("random", samples=2)
    step = step_of(found)
    check_barriers(step.assembly, packs=True)
    first = ran(step, found)
    close(first, wanted(step, found), 1e-9)
    backwards(step)
    poison(step)
    same(ran(step, found), first)
    graph = build("random", training=False)
    program = inference(graph, 2)
    check_barriers(program.assembly, packs=False)
    result = program(found.x)
    want = interpreter.run(graph, anything(graph), found.x)
    assert np.abs(result - want).max() <= 1e-10 * np.abs(want).max()
    backwards(program)
    poison(program)
    assert program(found.x).tobytes() == result.tobytes()
