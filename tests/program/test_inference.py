"""Networks compiled for inference: values, folding, the same bits, what they refuse."""

from typing import Any
from weakref import ref

import numpy as np
import pytest
from graph import interpreter, networks
from graph.networks import Array, anything, build, inputs
from grid import grid
from program.programs import poison, step_of, threads
from program.schedules import backwards, by_threads, in_pieces, shuffled

from faltung import nn
from faltung.graph.value import Graph
from faltung.jit.target import named
from faltung.machine.table import Machine
from faltung.program import inputs as inputs_of_programs
from faltung.program.inference import Inference
from faltung.program.state import State

SHAPES = pytest.mark.parametrize("name", networks.SHAPES)


def state_of(graph: Graph) -> State:
    state = State(graph.parameters, graph.dtype)
    state.update(anything(graph))
    return state


def compiled(graph: Graph, batch: int = 3, **more: object) -> Inference:
    return Inference(graph, state_of(graph), batch, **more)


def given(program: Inference, x: Array) -> Array:
    """``x`` in the dtype of a program's input."""
    return x if x.dtype == np.int64 else x.astype(program.state.dtype)


def near(got: Array, want: Array, tolerance: float) -> None:
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


@grid(name=networks.TABLE, every=4)
def test_values_are_those_of_the_interpreter(name: str) -> None:
    """Also where normalisation is folded; and the same bits from memory full of NaN, by any number
    of threads, and by threads that are as far apart as barriers let them.
    """
    graph = build(name, training=False)
    program, x = compiled(graph), inputs(graph, 3)
    found = program(x)
    near(found, interpreter.run(graph, anything(graph), x), 1e-11)
    program.assembly.memories["packed"][:] = 0xFF
    program.refresh()
    for number in (1, 2, 3, 7):
        with threads(number):
            poison(program)
            assert program(x).tobytes() == found.tobytes()
    for order in ([1, 0], shuffled(7)):
        by_threads(program, order)
        poison(program)
        assert program(x).tobytes() == found.tobytes()
    for seed in range(2):
        in_pieces(program, seed)
        poison(program)
        assert program(x).tobytes() == found.tobytes()
    backwards(program)
    poison(program)
    assert program(x).tobytes() == found.tobytes()


@grid(name=networks.SHAPES, every=4)
def test_a_sample_alone_and_in_batches(name: str) -> None:
    graph = build(name, training=False, dtype="float32")
    state = state_of(graph)
    programs = [Inference(graph, state, batch) for batch in (1, 2, 5, 64)]
    x = given(programs[0], inputs(graph, 64))
    *others, together = (program(x[: program.batch]) for program in programs)
    for some in others:
        assert some.tobytes() == together[: len(some)].tobytes()
    for i in (1, 7, 63):
        assert programs[0](x[i : i + 1]).tobytes() == together[i : i + 1].tobytes()
    near(together, interpreter.run(graph, anything(graph), x), 1e-5)


def test_calls_follow_each_other() -> None:
    """Nothing of one is left for the next, and results are the caller's."""
    program = compiled(build("googlenet", training=False))
    xs = [inputs(program.graph, 3, seed) for seed in range(3)]
    found = [program(x) for x in xs]
    again = [program(x).tobytes() for x in xs]
    assert [y.tobytes() for y in found] == again
    assert len(set(again)) == 3
    program.feed(xs[0])
    program.run()
    program.run()
    assert program.result().tobytes() == again[0]


def test_arrays_that_lie_right_are_read_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are copied. None is written to, or held once the call is over."""
    program = compiled(build("googlenet", training=False))
    x = inputs(program.graph, 3)
    x.flags.writeable = False
    program.feed(x)
    program.run()
    want = program.result().tobytes()
    raw = np.zeros(x.nbytes + 4, np.uint8)
    skewed = raw[4:].view(x.dtype).reshape(x.shape)
    skewed[:] = x
    others = {
        "channels last": np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1),
        "another precision": x.astype(np.longdouble),
        "every second": np.repeat(x, 2, -1)[..., ::2],
        "between elements": skewed,
    }
    copied: list[str] = []
    plain = inputs_of_programs.copy_in

    def recorded(name: str, *rest: Any, **more: Any) -> Any:
        copied.append(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(inputs_of_programs, "copy_in", recorded)
    for number, array in enumerate(others.values(), 1):
        assert program(array).tobytes() == want
        assert len(copied) == number
    program.run()  # on what was copied last
    assert program.result().tobytes() == want
    copy = np.array(x)
    found, alive = program(copy), ref(copy)
    del copy
    assert found.tobytes() == want and alive() is None
    assert len(copied) == len(others)


def test_an_input_that_is_a_result_is_copied() -> None:
    program = compiled(nn.build(nn.Flatten(), (3, 1), dtype="float64"), 2)
    x = np.ones((2, 3, 1))
    found = program(x)
    x[:] = 2
    assert (found == 1).all() and (program.outputs_in_memory[0] == 1).all()


def test_an_array_of_another_shape_leaves_the_last_input() -> None:
    program = compiled(build("resnet", training=False))
    x = inputs(program.graph, 3)
    program.feed(x)
    for wrong in (x[:2], x[:, :1]):
        with pytest.raises(ValueError, match="must be"):
            program(wrong)
    program.run()
    found = program.result()
    assert found.tobytes() == program(x).tobytes()


# Parameters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["googlenet", "norm of a transpose", "norm of a linear layer"])
def test_parameters_that_change_are_seen_after_a_refresh(name: str) -> None:
    """Weights are packed and normalisation is folded: neither follows by itself."""
    graph = build(name, training=False)
    program, x = compiled(graph), inputs(graph, 3)
    before = program(x)
    later = anything(graph, 77)
    program.state.update(later)
    program.refresh()
    after = program(x)
    near(after, interpreter.run(graph, later, x), 1e-11)
    assert (after != before).any()
    program.state.update(anything(graph))
    program.refresh()
    assert program(x).tobytes() == before.tobytes()


def test_programs_of_one_state_do_not_disturb_each_other() -> None:
    graph = build("resnet", training=False)
    state = state_of(graph)
    one, two = Inference(graph, state, 2), Inference(graph, state, 3)
    x = inputs(graph, 3)
    first = one(x[:2])
    two(x)
    assert one.result().tobytes() == first.tobytes()
    assert one(x[:2]).tobytes() == two(x)[:2].tobytes()
    assert not np.shares_memory(one.assembly.memories["arena"], two.assembly.memories["arena"])


def test_training_is_seen_after_a_refresh() -> None:
    """Of a step over the same state: weights, and the statistics that normalisation keeps."""
    given = networks.problem("resnet", "cross_entropy", samples=4)
    step = step_of(given)
    graph = build("resnet", training=False)
    program = Inference(graph, step.state, 4)
    for count in range(3):
        step(given.x, given.target, lr=0.1, step=count)
    program.refresh()
    near(program(given.x), interpreter.run(graph, step.state.all(), given.x), 1e-11)


# Outputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lenet", "unet", "one class", "linear"])
def test_probabilities(name: str) -> None:
    graph = build(name, training=False)
    x = inputs(graph, 3)
    found = compiled(graph, softmax=True)(x)
    near(found, interpreter.softmax(interpreter.run(graph, anything(graph), x)), 1e-12)
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-12)


# Networks in which there is little to do, or nothing.
LITTLE: dict[str, tuple[nn.Layer, tuple[int, ...]]] = {
    "flatten a map": (nn.Flatten(), (3, 2, 2)),
    "flatten one position": (nn.Flatten(), (3, 1, 1)),
    "flatten one channel": (nn.Flatten(), (1, 4)),
    "the input beside itself": (nn.Parallel(nn.Identity(), nn.Identity()), (3, 4)),
    "the input twice": (nn.Residual(nn.Identity()), (3, 4)),
    "vectors beside each other": (nn.Parallel(nn.Identity(), nn.ReLU()), (3,)),
    "one number": (nn.Sequential(nn.Linear(1), nn.Sigmoid()), (1,)),
    "dropout and flatten": (nn.Sequential(nn.Dropout(), nn.Flatten()), (2, 3)),
    "a power of zero": (nn.LocalResponseNorm(beta=0.0), (3, 4)),
    "no sum of squares": (nn.LocalResponseNorm(alpha=0.0), (3, 4)),
    "a slope of one": (nn.Sequential(nn.LeakyReLU(1.0), nn.LeakyReLU(1.0)), (3, 4)),
}


@grid(dtype=["float32", "float64"], name=LITTLE, every=4)
def test_little_to_do(name: str, dtype: str) -> None:
    net, shape = LITTLE[name]
    graph = nn.build(net, shape, dtype=dtype)
    for batch in (1, 5):
        program = compiled(graph, batch)
        x = inputs(graph, batch).astype(dtype)
        near(program(x), interpreter.run(graph, anything(graph), x), 1e-6)
        poison(program)
        near(program(x), interpreter.run(graph, anything(graph), x), 1e-6)


def test_outputs_are_channels_first_and_contiguous() -> None:
    for name in ("unet", "lenet", "concats that end the network", "embedding"):
        program = compiled(build(name, training=False))
        found = program(inputs(program.graph, 3))
        assert found.shape == (3, *program.graph.output.shape)
        assert found.flags.c_contiguous
        assert not any(np.shares_memory(found, m) for m in program.assembly.memories.values())
        assert found.dtype == program.state.dtype


def test_not_a_number_stays_with_its_sample() -> None:
    program = compiled(build("resnet", training=False))
    x = inputs(program.graph, 3)
    want = program(x)
    x[1, 0, 2, 3] = np.nan
    found = program(x)
    assert np.isnan(found[1]).all()
    assert found[[0, 2]].tobytes() == want[[0, 2]].tobytes()


# Machines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["googlenet", "wide", "series"])
def test_every_machine(name: str, machine: Machine) -> None:
    graph = build(name, training=False, dtype="float32")
    program = compiled(graph, 2)
    assert program.assembly.machine == machine
    x = given(program, inputs(graph, 2))
    found = program(x)
    near(found, interpreter.run(graph, anything(graph), x), 1e-5)
    alone = compiled(graph, 1)
    assert alone(x[:1]).tobytes() == found[:1].tobytes()


def test_a_machine_may_be_named() -> None:
    """Whatever the one in use."""
    graph = build("lenet", training=False)
    program = compiled(graph, machine=named("generic"))
    assert program.assembly.machine.name == "generic"
    x = inputs(graph, 3)
    near(program(x), interpreter.run(graph, anything(graph), x), 1e-11)
