"""``OnnxModel`` as its users meet it: sizes, names, types, threads."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers
from optional import optional

import faltung
from faltung.geometry.errors import FaltungError, FaltungTypeError, UnsupportedError
from faltung.onnx import load
from faltung.onnx.parts import MAX_PROGRAMS

onnx = optional("onnx")


def small(**words: Any) -> bytes:
    """A convolution for pictures of any size, and a gate."""
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "c", "g"),
        node("Mul", "c g", "y"),
        node("Flatten", "g", "z"),
    ]
    weights = {"w": numbers(4, 3, 3, 3), "b": numbers(4)}
    return made(nodes, {"x": ("N", 3, "H", "W")}, ["y", "z"], weights, **words)


def test_ports() -> None:
    model = load(small(shapes={"z": ("N", 4)}))
    (x,), (y, z) = model.inputs, model.outputs
    assert (x.name, x.shape, x.dtype) == ("x", ("N", 3, "H", "W"), "float32")
    assert (y.name, y.shape, z.shape) == ("y", None, ("N", 4))
    assert repr(model) == "<OnnxModel x (N, 3, H, W) -> y (any), z (N, 4)>"


def test_sizes_that_are_free_stay_free() -> None:
    data = small()
    for shape in [(1, 3, 8, 8), (2, 3, 8, 8), (1, 3, 5, 9)]:
        agree(data, {"x": numbers(*shape)})


def test_a_sample_has_the_same_bits_in_any_batch() -> None:
    model = load(small())
    x = numbers(5, 3, 8, 8)
    many = model(x)[0]
    for i in range(5):
        assert np.array_equal(model(x[i : i + 1])[0], many[i : i + 1])


def test_programs_are_kept_and_share_their_weights() -> None:
    model = load(small())
    for n in range(1, MAX_PROGRAMS + 3):
        model(numbers(1, 3, n, 4))
    ((_, stage),) = model._main.roots.values()
    assert len(stage.programs) == MAX_PROGRAMS
    pools = {program.compiled.weights.pool for program, _ in stage.programs.values()}
    assert len(pools) == 1
    before = dict(stage.programs)
    model(numbers(1, 3, MAX_PROGRAMS + 2, 4))
    assert list(stage.programs.values()) == list(before.values())


def test_a_model_of_fixed_sizes_lets_its_large_numbers_go() -> None:
    """They are packed, and no other program will ask for them; small ones, and what a run reads
    where it is, stay.
    """
    rng = np.random.default_rng(0)
    w = rng.standard_normal((64, 64, 3, 3), dtype=np.float32)
    table = rng.standard_normal((1, 64, 16, 16), dtype=np.float32)
    nodes = [node("Conv", "x w", "h", pads=[1, 1, 1, 1]), node("Add", "h t", "y")]
    for first in (1, "N"):
        data = made(nodes, {"x": (first, 64, 16, 16)}, ["y"], {"w": w, "t": table})
        model = load(data)
        x = rng.standard_normal((1, 64, 16, 16), dtype=np.float32)
        y = model(x)
        want = load(made(nodes, {"x": ("N", 64, 16, 16)}, ["y"], {"w": w, "t": table}))(x)
        assert y.tobytes() == want.tobytes() == model(x).tobytes()
        ((_, stage),) = model._main.roots.values()
        ((program, _),) = stage.programs.values()
        held = model.file.body.constants["w"]
        assert held.shape == w.shape
        assert (held.strides == (0,) * 4) == (first == 1)
        taken = [m.nbytes for m in program.compiled.inference.assembly.memories.values()]
        assert (w.nbytes in taken) == (first != 1)
        assert "conv" in model.summary((1, 64, 16, 16)).lower()


def test_by_name_and_in_order() -> None:
    data = made([node("Sub", "a b", "y")], {"a": (1, 2), "b": (1, 2)}, ["y"])
    model = load(data)
    one, two = np.ones((1, 2), np.float32), np.full((1, 2), 2, np.float32)
    for made_ in (model(two, one), model(two, b=one), model(b=one, a=two)):
        assert made_.tolist() == [[1, 1]]
    for call, message in [
        (lambda: model(one), "inputs: 'b' is missing; it is float32 (1, 2)"),
        (lambda: model(one, two, one), "inputs: there are 2, got 3"),
        (lambda: model(one, a=two), "inputs: 'a' is given twice"),
        (lambda: model(one, c=two), "inputs: 'c': must be one of a, b"),
        (lambda: model(one, two[:, :1]), r"b: has shape (1, 1), must be (1, 2)"),
        (lambda: model(one, two[0]), r"b: has shape (2,), must be (1, 2)"),
        (lambda: model(one, two > 0), "b: has dtype bool, must be float32; it is float32 (1, 2)"),
        (lambda: model(one, two.astype(int)), "b: has dtype int64, must be float32"),
    ]:
        with pytest.raises(FaltungError) as error:
            call()
        assert str(error.value).startswith(message)


def test_names_of_sizes_are_not_compared() -> None:
    """Exporters call unrelated sizes "?"; ONNX Runtime does not compare them either."""
    nodes = [node("GlobalMaxPool", "x", "y")]
    data = made(nodes, {"x": ("?", 3, "?", "?")}, ["y"])
    agree(data, {"x": numbers(2, 3, 4, 5)})


def test_whole_numbers_that_steer_are_settings() -> None:
    """As the sampling rate of a detector of speech: there is a program for each value."""

    def branch(op: str) -> Any:
        info = onnx.helper.make_tensor_value_info("b", 1, None)
        return onnx.helper.make_graph([node(op, "x", "b")], op, [], [info])

    choice = node("If", "c", "y", then_branch=branch("Relu"), else_branch=branch("Neg"))
    shapes = {"x": (2, 3), "rate": ()}
    constants = {"k": np.array(16000)}
    nodes = [node("Equal", "rate k", "c"), choice]
    data = made(nodes, shapes, ["y"], constants, types={"rate": "int64"})
    for rate in (8000, 16000):
        agree(data, {"x": numbers(2, 3), "rate": np.array(rate)})


def test_precisions_are_converted_where_that_is_asked_for() -> None:
    model = load(small())
    x = numbers(1, 3, 8, 8)
    assert np.array_equal(model(x)[0], model(x.astype(np.float64))[0])
    assert model(x.tolist())[0].dtype == np.float32
    with pytest.raises(FaltungTypeError, match="x: has dtype float64, must be float32"):
        model.run({"x": x.astype(np.float64)}, exact=True)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions(dtype: str) -> None:
    weights = {"w": numbers(4, 3, 3, 3).astype(dtype)}
    data = made([node("Conv", "x w", "y")], {"x": ("N", 3, 8, 8)}, ["y"], weights, dtype=dtype)
    x = numbers(2, 3, 8, 8)
    got = load(data)(x.astype(dtype))
    want = faltung.conv(x.astype(dtype).astype(float), weights["w"].astype(float))
    assert got.dtype == dtype
    np.testing.assert_allclose(
        got,
        want,
        rtol=2e-3 if dtype == "float16" else 1e-12,
        atol=1e-2 if dtype == "float16" else 1e-12,
    )


def test_outputs_that_nothing_computes() -> None:
    nodes = [node("Identity", "x", "y"), node("Flatten", "x", "z"), node("Shape", "x", "s")]
    data = made(nodes, {"x": ("N", 2, 3)}, ["y", "z", "s"], types={"s": "int64"})
    x = numbers(4, 2, 3)
    y, z, s = load(data)(x)
    assert np.array_equal(y, x) and z.shape == (4, 6) and s.tolist() == [4, 2, 3]
    y[:] = 0
    assert x.any()


def test_pictures_with_their_channels_last() -> None:
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "c"),
        node("Transpose", "c", "y", perm=[0, 2, 3, 1]),
    ]
    data = made(nodes, {"x": ("N", 8, 9, 3)}, ["y"], {"w": numbers(4, 3, 3, 3)})
    agree(data, {"x": numbers(2, 8, 9, 3)})
    ops = [type(node.op).__name__ for node in load(data).graph((2, 8, 9, 3)).nodes]
    assert ops == ["View", "Convolve"]


def test_weights_and_shapes_that_are_inputs() -> None:
    """A program is made for their values, and parameters are replaced where they change."""
    nodes = [node("Conv", "x w", "c"), node("Reshape", "c s", "y")]
    shapes = {"x": ("N", 2, 4, 4), "w": (3, 2, 3, 3), "s": (2,)}
    data = made(nodes, shapes, ["y"], types={"s": "int64"})
    for seed in range(2):
        given = {"x": numbers(2, 2, 4, 4), "w": numbers(3, 2, 3, 3, seed=seed)}
        agree(data, given | {"s": np.array([2, -1])})
        agree(data, given | {"s": np.array([2, 12])})


def test_all_that_is_missing_is_named_before_anything_runs() -> None:
    nodes = [
        node("Det", "x", "a", "first"),
        node("Det", "x", "b"),
        node("Relu", "a", "c"),
        node("NonZero", "c", "d"),
        node("Sin", "b", "y"),
    ]
    data = made(nodes, {"x": (1, 2, 2)}, ["y", "d"], types={"d": "int64"})
    with pytest.raises(UnsupportedError) as error:
        load(data)
    message = str(error.value)
    assert "Det, 2 times (node first): no such operator here" in message
    assert "NonZero" not in message and "Sin" not in message
    assert "Relu" not in message and "\n" not in message


def test_an_unknown_domain_is_named() -> None:
    from onnx import helper

    data = made([helper.make_node("Odd", ["x"], ["y"], domain="own")], {"x": (1, 2)}, ["y"])
    with pytest.raises(UnsupportedError, match=r"own\.Odd, 1 time \(node of y\)"):
        load(data)


def test_threads_take_turns() -> None:
    model = load(small())
    x = [numbers(1, 3, 8, 8, seed=i) for i in range(4)]
    want = [model(each)[0] for each in x]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(20):
            if not np.array_equal(model(x[i])[0], want[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_a_summary() -> None:
    text = load(small()).summary((1, 3, 8, 8))
    assert "Conv" in text and "112" in text


def test_a_path(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(small())
    assert load(str(path))(numbers(1, 3, 4, 4))[0].shape == (1, 4, 4, 4)
    with pytest.raises(FaltungTypeError, match="model=3: must be a path or the bytes"):
        load(3)  # type: ignore[arg-type]


def test_our_own_export_comes_back() -> None:
    from faltung import nets
    from faltung.formats.onnx_export import export_onnx
    from faltung.graph.initial import parameters

    graph = nets.graph("lenet5", classes=10, input_shape=(1, 28, 28))
    data = export_onnx(graph, parameters(graph, 1))
    agree(data, {"input": numbers(2, 1, 28, 28)})


def test_a_sample_alone_is_normalised_like_several() -> None:
    """Samples and positions merged before a normalisation: for one of them that is no change."""
    nodes = [
        node("MatMul", "x w", "p"),
        node("Reshape", "p flat", "q"),
        node("BatchNormalization", "q s b m v", "y"),
    ]
    weights = {"w": numbers(64, 24), "s": numbers(24), "b": numbers(24), "m": numbers(24)}
    weights |= {"v": np.abs(numbers(24)) + 0.5, "flat": np.array([-1, 24])}
    model, x = load(made(nodes, {"x": ("N", 1, 64)}, ["y"], weights)), numbers(3, 1, 64)
    assert np.array_equal(model(x)[:1], model(x[:1]))
