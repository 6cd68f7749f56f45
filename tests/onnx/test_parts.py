"""Models in several parts: what runs on the host between compiled programs."""

import threading
from typing import Any

import numpy as np
import pytest
from onnx_models import agree, made, node, numbers, runtime
from optional import optional

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.onnx import load
from faltung.onnx.parts import MAX_PROGRAMS

onnx = optional("onnx")


def detector() -> bytes:
    """A convolution, positions above a threshold, their values, and a layer on what was found."""
    nodes = [
        node("Conv", "x w", "c"),
        node("ReduceMax", "c axes", "m", keepdims=0),
        node("Greater", "m half", "hot"),
        node("NonZero", "hot", "at"),
        node("Transpose", "at", "places", perm=[1, 0]),
        node("Transpose", "c", "last", perm=[0, 2, 3, 1]),
        node("GatherND", "last places", "found"),
        node("MatMul", "found fc", "scores"),
        node("Relu", "scores", "y"),
    ]
    constants = {
        "w": numbers(4, 2, 3, 3),
        "axes": np.array([1]),
        "half": np.array(2.0, np.float32),
        "fc": numbers(4, 3),
    }
    return made(nodes, {"x": ("N", 2, 8, 8)}, ["y", "places"], constants, types={"places": "int64"})


def test_sizes_that_depend_on_numbers() -> None:
    data = detector()
    for seed in range(3):
        y, places = agree(data, {"x": numbers(2, 2, 8, 8, seed=seed)})
        assert len(y) == len(places) > 0
    model = load(data)
    quiet = np.zeros((1, 2, 8, 8), np.float32)
    y, places = model(quiet)
    assert y.shape == (0, 3) and places.shape == (0, 3)


def test_programs_for_sizes_that_are_found_are_kept_and_bounded() -> None:
    model = load(detector())
    x = [numbers(1, 2, 8, 8, seed=seed) for seed in range(MAX_PROGRAMS + 4)]
    first = [model(each) for each in x]
    ((_, stage),) = model._main.roots.values()
    while stage.programs:
        assert len(stage.programs) <= MAX_PROGRAMS
        stage = list(stage.programs.values())[-1][1]
    for each, want in zip(x, first, strict=True):
        for a, b in zip(model(each), want, strict=True):
            assert np.array_equal(a, b)


def test_explained() -> None:
    model = load(detector())
    model(numbers(2, 2, 8, 8))
    text = model.explain()
    assert "part 1, compiled" in text and "1 Conv" in text
    assert "NonZero (node of at): the size of its result depends on numbers" in text
    assert "GatherND (node of found): a selection by numbers" in text
    assert text.index("Conv") < text.index("NonZero") < text.index("MatMul")
    assert "on the host, 2 nodes: NonZero" in model.summary((1, 2, 8, 8))


def test_several_graphs() -> None:
    model = load(classes())
    assert len(model.graphs()) == 2
    with pytest.raises(FaltungError, match=r"is compiled in 2 parts: graphs\(\) has them"):
        model.graph()


def test_one_program_says_so() -> None:
    model = load(made([node("Relu", "x", "y")], {"x": (1, 2)}, ["y"]))
    assert "part 1, compiled, 1 node: 1 Relu" in model.explain()
    assert "host" not in model.explain()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_whole_numbers_wrap_and_truncate(dtype: str) -> None:
    limits = np.iinfo(dtype)
    a = np.array([limits.max, limits.min, 7, -7 if limits.min else 7, 100], dtype)
    b = np.array([2, 3, 3, 2, 100], dtype)
    nodes = [
        node("Add", "a b", "sum"),
        node("Mul", "a b", "product"),
        node("Div", "a b", "quotient"),
        node("Mod", "a b", "rest"),
        node("Mod", "a b", "fmod", fmod=1),
        node("Sub", "b a", "difference"),
    ]
    outputs = ["sum", "product", "quotient", "rest", "fmod", "difference"]
    data = made(nodes, {"a": (5,), "b": (5,)}, outputs, dtype=dtype)
    got = load(data).run({"a": a, "b": b}, exact=True)
    wide = [int(v) for v in a], [int(v) for v in b]
    want = [
        [int(f(x, y)) for x, y in zip(*wide, strict=True)]
        for f in (
            lambda x, y: x + y,
            lambda x, y: x * y,
            lambda x, y: abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1),
            lambda x, y: x % y,
            lambda x, y: abs(x) % abs(y) * (-1 if x < 0 else 1),
            lambda x, y: y - x,
        )
    ]
    size = 1 << (8 * np.dtype(dtype).itemsize)
    for ours, theirs in zip(got, want, strict=True):
        low = limits.min
        wrapped = [(v - low) % size + low for v in theirs]
        assert ours.dtype == dtype and [int(v) for v in ours] == wrapped


def classes() -> bytes:
    """Pixels as they are stored, a network, classes, and a table by the classes."""
    nodes = [
        node("Cast", "x", "f", to=1),
        node("Div", "f scale", "z"),
        node("Conv", "z w", "c"),
        node("ArgMax", "c", "k", axis=1, keepdims=0),
        node("Add", "k one", "k1"),
        node("Gather", "table k1", "t"),
        node("Sigmoid", "t", "y"),
    ]
    constants = {
        "scale": np.array(255, np.float32),
        "w": numbers(5, 3, 1, 1),
        "one": np.array(1),
        "table": numbers(6, 2),
    }
    types = {"x": "uint8", "k1": "int64"}
    return made(nodes, {"x": (1, 3, 4, 4)}, ["y", "k1"], constants, types=types)


def test_whole_numbers_between_two_compiled_parts() -> None:
    x = np.random.default_rng(0).integers(0, 255, (1, 3, 4, 4)).astype(np.uint8)
    agree(classes(), {"x": x})


def test_types_of_few_bits_and_bfloat16() -> None:
    import ml_dtypes

    w = numbers(3, 2, 1, 1).astype(ml_dtypes.bfloat16)
    data = made([node("Conv", "x w", "y")], {"x": (1, 2, 3, 3)}, ["y"], {"w": w}, dtype="bfloat16")
    x = numbers(1, 2, 3, 3).astype(ml_dtypes.bfloat16)
    model = load(data)
    got = model(x)
    want = np.einsum("nchw,oc->nohw", x.astype(float), w[:, :, 0, 0].astype(float))
    assert got.dtype == ml_dtypes.bfloat16
    np.testing.assert_allclose(got.astype(float), want, rtol=8e-3, atol=1e-2)
    assert np.array_equal(model(x.astype(np.float32)), got)
    nodes = [node("Cast", "x", "q", to=onnx.TensorProto.INT4), node("Cast", "q", "y", to=1)]
    data = made(nodes, {"x": (3,)}, ["y", "q"], types={"q": "int4"}, opset=21)
    y, q = load(data)(np.array([1.5, -8, 3], np.float32))
    assert q.dtype == ml_dtypes.int4 and y.tolist() == [1, -8, 3]


def test_tensors_without_elements() -> None:
    nodes = [
        node("Relu", "x", "r"),
        node("Concat", "r z", "y", axis=0),
        node("ReduceSum", "x axes", "s", keepdims=0),
        node("MatMul", "x w", "m"),
    ]
    constants = {"z": numbers(2, 3), "axes": np.array([0]), "w": numbers(3, 4)}
    data = made(nodes, {"x": ("N", 3)}, ["r", "y", "s", "m"], constants)
    agree(data, {"x": np.zeros((0, 3), np.float32)})
    agree(data, {"x": numbers(2, 3)})


def test_initialisers_that_a_call_replaces() -> None:
    nodes = [node("Conv", "x w b", "c"), node("Relu", "c", "y")]
    constants = {"w": numbers(4, 3, 3, 3), "b": numbers(4)}
    data = made(nodes, {"x": ("N", 3, 6, 6), "w": (4, 3, 3, 3)}, ["y"], constants)
    model = load(data)
    assert [port.name for port in model.inputs] == ["x"]
    x, other = numbers(1, 3, 6, 6), numbers(4, 3, 3, 3, seed=5)
    for scale in (0, 1, 0, -1, 2, 1, 0, 3):
        given = {"x": x, "w": scale * other} if scale else {"x": x}
        (got,) = model.run(given)
        np.testing.assert_allclose(got, runtime(data, given)[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(FaltungError, match=r"'b' \(an initialiser that is no input\)"):
        model.run({"x": x, "b": constants["b"]})
    # From the second value on, other weights are written into the program that is there.
    programs = {
        id(program.compiled)
        for _, stage in model._main.roots.values()
        for program, _ in stage.programs.values()
    }
    assert len(programs) <= 3


def test_what_is_missing_behind_the_host_is_named_before_anything_runs() -> None:
    nodes = [
        node("NonZero", "x", "at"),
        node("Cast", "at", "f", to=1),
        node("Det", "f", "y"),
    ]
    with pytest.raises(UnsupportedError, match=r"nothing was run: Det, 1 time"):
        load(made(nodes, {"x": ("N", 2)}, ["y"]))


def test_an_error_on_the_host_names_the_node() -> None:
    data = made([node("Gather", "x i", "y")], {"x": (3, 2), "i": (1,)}, ["y"], types={"i": "int64"})
    with pytest.raises(FaltungError, match=r"node of y \(Gather\): indices: must be from -3 to 2"):
        load(data)(numbers(3, 2), np.array([3]))


def test_several_threads_and_several_parts() -> None:
    model = load(detector())
    x = [numbers(1, 2, 8, 8, seed=i) for i in range(4)]
    want = [model(each)[0] for each in x]
    wrong: list[Any] = []

    def work(i: int) -> None:
        for _ in range(10):
            if not np.array_equal(model(x[i])[0], want[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": [2, 1], "pads": [1, 0, 0, 1]},
        {"dilations": [2, 1], "storage_order": 1},
        {"strides": [2, 3], "ceil_mode": 1},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
    ],
)
def test_where_maxima_are(options: Any) -> None:
    nodes = [node("MaxPool", "x", "y at", kernel_shape=[3, 2], **options), node("Neg", "y", "z")]
    data = made(nodes, {"x": ("N", 2, 7, 6)}, ["z", "at"], types={"at": "int64"})
    agree(data, {"x": numbers(2, 2, 7, 6)})
    few = made(nodes[:1], {"x": ("N", 2, 7, 6)}, ["y", "at"], dtype="uint8", types={"at": "int64"})
    x = np.random.default_rng(0).integers(0, 9, (2, 2, 7, 6)).astype(np.uint8)
    assert np.array_equal(load(few)(x)[1], agree(few, {"x": x})[1])


def test_selections_and_scatters() -> None:
    nodes = [
        node("GatherElements", "x i", "a", axis=1),
        node("ScatterElements", "x i u", "b", axis=1),
        node("ScatterElements", "x i u", "c", axis=1, reduction="add"),
        node("ScatterND", "x at rows", "d"),
        node("ScatterND", "x at rows", "e", reduction="max"),
        node("TopK", "x k", "top where", axis=0),
        node("TopK", "x k", "low there", axis=-1, largest=0),
        node("OneHot", "i depth values", "hot", axis=1),
    ]
    outputs = ["a", "b", "c", "d", "e", "top", "where", "low", "there", "hot"]
    whole = {"i": "int64", "at": "int64", "k": "int64", "where": "int64", "there": "int64"}
    shapes = {"x": (3, 4), "i": (2, 3), "u": (2, 3), "at": (2, 1), "rows": (2, 4), "k": (1,)}
    constants = {"depth": np.array(5), "values": np.array([-1, 2], np.float32)}
    data = made(nodes, shapes, outputs, constants, types=whole)
    x = np.round(numbers(3, 4) * 2) / 2  # some are equal
    given = {
        "x": x,
        "i": np.array([[0, -1, 2], [3, 1, 0]]),
        "u": numbers(2, 3),
        "at": np.array([[2], [0]]),
        "rows": numbers(2, 4),
        "k": np.array([2]),
    }
    agree(data, given)


def test_outputs_are_the_callers_own() -> None:
    nodes = [node("Identity", "k", "y"), node("Identity", "x", "z"), node("Add", "x one", "s")]
    constants = {"k": np.arange(3), "one": np.array(1)}
    data = made(nodes, {"x": (2,)}, ["y", "z", "s"], constants, dtype="int64")
    model, x = load(data), np.array([5, 6])
    for _ in range(2):
        y, z, s = model(x)
        assert y.tolist() == [0, 1, 2] and z.tolist() == [5, 6] and s.tolist() == [6, 7]
        y[:], z[:], s[:] = 9, 9, 9
    assert x.tolist() == [5, 6]


@pytest.mark.parametrize("opset", [6, 7, 9, 12, 18])
def test_old_dialects_of_whole_numbers(opset: int) -> None:
    """What was an attribute once and is an input now; operands that begin at an axis."""
    old = opset < 10
    cut = (
        node("Slice", "b", "c", starts=[1], ends=[3], axes=[1])
        if old
        else node("Slice", "b from to at", "c")
    )
    sums = (
        node("ReduceSum", "c", "s", axes=[1], keepdims=0)
        if opset < 13
        else node("ReduceSum", "c at", "s", keepdims=0)
    )
    wide = node("Unsqueeze", "s", "u", axes=[0]) if opset < 13 else node("Unsqueeze", "s zero", "u")
    plus = node("Add", "x k", "b", **({"broadcast": 1, "axis": 1} if opset < 7 else {}))
    nodes = [plus, cut, sums, wide, node("Identity", "u", "y")]
    if opset < 11:
        nodes.append(node("TopK", "f", "t i", **({"k": 2} if old else {}), axis=1))
    constants = {
        "k": np.array([[1], [2], [3]]),
        "from": np.array([1]),
        "to": np.array([3]),
        "at": np.array([1]),
        "zero": np.array([0]),
    }
    outputs: list[str] = ["y"]
    shapes: dict[str, tuple[int, ...]] = {"x": (2, 3, 4)}
    x = np.arange(24).reshape(2, 3, 4)
    if opset < 11:
        outputs, shapes = ["y", "i"], {"x": (2, 3, 4), "f": (2, 3)}
    data = made(
        nodes, shapes, outputs, constants, dtype="int64", types={"f": "float32"}, opset=opset
    )
    given = {"x": x, "f": numbers(2, 3)} if opset < 11 else {"x": x}
    got = load(data).run(given, exact=True)
    want = (x + constants["k"])[:, 1:3].sum(1)[np.newaxis]
    assert got[0].dtype == np.int64 and np.array_equal(got[0], want)
    if opset < 11:
        assert np.array_equal(got[1], np.argsort(-given["f"], 1)[:, :2])


@pytest.mark.parametrize("inner", [1, 5, 300, 5000])
def test_constants_for_a_sample_are_those_for_a_batch(inner: int) -> None:
    """Products that are folded: a library adds otherwise for one row than for two."""
    data = made(
        [
            node("Shape", "x", "n", start=0, end=1),
            node("Concat", "n rest", "shape", axis=0),
            node("Expand", "q shape", "many"),
            node("MatMul", "many w", "product"),
            node("Gemm", "product v b", "scaled", alpha=0.5, beta=2.0, transB=1),
            node("Add", "scaled x", "y"),
        ],
        {"x": ("N", 3)},
        ["y"],
        {
            "rest": np.array([inner]),
            "q": numbers(1, inner),
            "w": numbers(inner, 6),
            "v": numbers(3, 6),
            "b": numbers(3),
        },
    )
    x = numbers(4, 3)
    (together,) = agree(data, {"x": x}, 1e-4)
    (alone,) = load(data).run({"x": x[:1]})
    np.testing.assert_array_equal(alone, together[:1])
    want = (np.ones((4, 1)) * numbers(1, inner)) @ numbers(inner, 6).astype(np.float64)
    want = 0.5 * want @ numbers(3, 6).T + 2.0 * numbers(3) + x
    np.testing.assert_allclose(together, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize(
    "shapes", [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((4, 1, 2, 3), (5, 3, 2))]
)
def test_products_of_constants(shapes: Any) -> None:
    a, b = (numbers(*shape) for shape in shapes)
    data = made(
        [node("MatMul", "a b", "c"), node("Add", "c x", "y")], {"x": (1,)}, ["y"], {"a": a, "b": b}
    )
    agree(data, {"x": numbers(1)})


def test_an_operator_on_constants_that_are_made_by_nodes() -> None:
    """As what projects a table of positions: the node is compiled, its input is folded."""
    data = made(
        [
            node("Neg", "c", "d"),
            node("Conv", "d w", "p"),
            node("Add", "p x", "y"),
        ],
        {"x": ("N", 3, 4, 5)},
        ["y"],
        {"c": numbers(1, 2, 4, 5), "w": numbers(3, 2, 1, 1)},
    )
    agree(data, {"x": numbers(2, 3, 4, 5)})
