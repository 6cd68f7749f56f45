"""Calls by the short way: the same numbers, errors and arrays as by the long one."""

import numpy as np
import pytest
from onnx_models import made, node
from optional import optional

from faltung.geometry.errors import FaltungError
from faltung.onnx.model import OnnxModel, load

optional("onnx")

Array = np.ndarray


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


W = numbers(4, 3, 3, 3, seed=9)
CONV = [node("Conv", "x w", "h", pads=[1, 1, 1, 1]), node("Relu", "h", "y")]


def conv(batch: int | str = "N") -> OnnxModel:
    return load(made(CONV, {"x": (batch, 3, 6, 5)}, ["y"], {"w": W}))


def is_short(model: OnnxModel) -> bool:
    return model._direct is not None


@pytest.mark.parametrize("batch", [2, "N"])
def test_the_third_call_is_short_and_the_same(batch: int | str) -> None:
    model, xs = conv(batch), [numbers(2, 3, 6, 5, seed=s) for s in range(4)]
    first = [model(x) for x in xs[:2]]
    assert is_short(model)
    others = [np.asfortranarray(xs[0]), np.repeat(xs[0], 2, 1)[:, ::2]]
    others[0].flags.writeable = False
    kept = [model(x) for x in (*xs[:2], *others)]
    assert is_short(model)
    want = first[0].tobytes()
    assert [y.tobytes() for y in kept] == [want, first[1].tobytes(), want, want]
    kept[0][:] = 7  # an array of its own
    assert model(xs[0]).tobytes() == want == kept[2].tobytes()
    assert kept[0].flags.c_contiguous and kept[0].dtype == np.float32
    assert model.run({"x": xs[0]}, exact=True)[0].tobytes() == want


def test_other_shapes_and_types_take_the_long_way() -> None:
    model, x = conv(), numbers(2, 3, 6, 5)
    want = model(x)
    for _ in range(2):
        model(x)
    assert is_short(model)
    assert model(x[:1]).tobytes() == want[:1].tobytes()
    assert not is_short(model)
    for given in (x.astype(np.float64), x.tolist(), np.ma.masked_array(x)):
        assert np.asarray(model(given)).tobytes() == want.tobytes()
    for call, message in [
        (lambda: model(x[:, :2]), "x: has shape"),
        (lambda: model(x > 0), "x: has dtype bool"),
        (lambda: model(), "inputs: 'x' is missing"),
        (lambda: model(z=x), "inputs: 'z': must be one of x"),
        (lambda: model.run([x]), "inputs="),
        (lambda: model.run({"x": x.astype(np.float64)}, exact=True), "x: has dtype float64"),
    ]:
        for _ in range(3):
            model(x)
        assert is_short(model)
        with pytest.raises(FaltungError) as error:
            call()
        assert str(error.value).startswith(message)
    assert model(x).tobytes() == want.tobytes()


def test_inputs_by_name_and_results_in_order() -> None:
    """Two of each, of which one result is looked at with its axes turned around."""
    nodes = [
        node("Sub", "a b", "d"),
        node("Mul", "a b", "p"),
        node("Transpose", "p", "t", perm=[2, 0, 1]),
    ]
    model = load(made(nodes, {"a": (2, 3, 4), "b": (2, 3, 4)}, ["t", "d"]))
    a, b = numbers(2, 3, 4), numbers(2, 3, 4, seed=1)
    for _ in range(4):
        t, d = model(b=b, a=a)
        assert np.array_equal(t, (a * b).transpose(2, 0, 1)) and np.array_equal(d, a - b)
        assert t.flags.c_contiguous
    assert is_short(model)
    t, d = model(b, a)
    assert np.array_equal(d, b - a)


NO_SHORT = {
    "a result that is an input": ([node("Relu", "x", "y")], ["y", "x"]),
    "a result that is a truth": ([node("Greater", "x x", "y")], ["y"]),
    "nodes on the host": (
        [node("NonZero", "x", "i"), node("Cast", "i", "y", to=1)],
        ["y"],
    ),
}


@pytest.mark.parametrize("name", NO_SHORT)
def test_no_short_way(name: str) -> None:
    nodes, outputs = NO_SHORT[name]
    model, x = load(made(nodes, {"x": (2, 3)}, outputs)), numbers(2, 3)
    found = [[np.array(y) for y in model.run({"x": x})] for _ in range(4)]
    assert not is_short(model)
    for ys in found[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(ys, found[0], strict=True))


def test_explain_says_what_the_last_call_did() -> None:
    model, x = conv(), numbers(2, 3, 6, 5)
    for _ in range(3):
        model(x)
    assert is_short(model)
    model.summary((4, 3, 6, 5))
    assert not is_short(model)
    assert model(x).shape == (2, 4, 6, 5)
