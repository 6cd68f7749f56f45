"""Maps, gradients and Grad-CAM against PyTorch, differences and definitions; names; refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from faltung import FaltungError, Model, nets, nn
from faltung.data import Standard, Units
from faltung.program import probe as probes
from faltung.train.grad_cam import grad_cam, interpolated
from faltung.train.look_page import looked

Array = npt.NDArray[Any]


def small(axes: int, dtype: Any = "float32", **more: Any) -> Model:
    """Convolution, normalisation, branches, pooling, two linear layers."""
    net = nn.Sequential(
        *(nn.Conv(6, 3, padding="same"), nn.BatchNorm(), nn.ReLU()),
        nn.Parallel(
            nn.Sequential(nn.Conv(4, 1), nn.ReLU(), name="one"),
            nn.Sequential(nn.Conv(3, 3, padding="same"), nn.SiLU(), name="three"),
            name="both",
        ),
        *(nn.MaxPool(2), nn.Flatten(), nn.Linear(8), nn.ReLU(), nn.Linear(3)),
    )
    model = Model(net, (2, *(8, 6, 4)[:axes]), dtype=dtype, **more)
    rng = np.random.default_rng(0)
    changed = {n: rng.uniform(0.5, 1.5, v.shape) for n, v in model.parameters.items() if "1." in n}
    model.set_parameters({n: v for n, v in changed.items() if "batchnorm" in n})
    return model


def samples(model: Model, count: int = 3) -> Array:
    rng = np.random.default_rng(1)
    return rng.standard_normal((count, *model.input_shape)).astype(model.graph.dtype)


def hooked(model: Model, x: Array, weights: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Maps and gradients by the names of layers, of the same network in PyTorch."""
    torch = pytest.importorskip("torch")
    module = model.to_torch()
    maps: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def hook(_module: object, _inputs: object, output: Any) -> None:
            output.retain_grad()
            maps[name] = output

        return hook

    for name, part in module.named_modules():
        part.register_forward_hook(keep(name)) if name else None
    given = torch.from_numpy(x).requires_grad_()
    (module(given) * torch.from_numpy(weights)).sum().backward()
    grads = {name: found.grad for name, found in {**maps, "input": given}.items()}
    return (
        {name: found.detach().numpy() for name, found in maps.items()},
        {name: found.numpy() for name, found in grads.items() if found is not None},
    )


@pytest.mark.parametrize(
    ("axes", "dtype"), [(1, "float32"), (2, "float32"), (3, "float32"), (2, "float64")]
)
def test_maps_and_gradients_are_those_of_pytorch(axes: int, dtype: str) -> None:
    model = small(axes, dtype, standard=Standard((0.5, -1.0), (2.0, 0.5)))
    x = samples(model)
    weights = np.zeros((3, 3), x.dtype)
    weights[:, 1] = 1
    maps, grads = hooked(model, x, weights)
    close: Any = (
        {"rtol": 1e-4, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-5, "atol": 1e-6}
    )
    found = model.activations(x)
    names = [name for name in found if name in maps]
    assert len(names) >= 6 and list(found)[-1] in names
    every = model.look(model.given(x)[0], (), names, weights).gradients
    for name in names:
        np.testing.assert_allclose(found[name], maps[name], **close, err_msg=name)
        np.testing.assert_allclose(every[name], grads[name], **close, err_msg=name)
    got = model.gradients(x, "both.one.conv1", target=1)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, grads["both.one.conv1"], **close)
    np.testing.assert_allclose(model.gradients(x, target=1), grads["input"], **close)
    np.testing.assert_array_equal(found["conv1"], model.activations(x, "conv1"))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_gradient_for_samples_is_that_of_differences(axes: int) -> None:
    """In the units of the samples: bytes here, which are divided by 255, then standardised."""
    units = Units(255.0, 255.0, low=0, high=255, whole=True)
    model = small(axes, "float64", standard=Standard((0.5, 0.1), (0.25, 0.5)), units=units)
    rng = np.random.default_rng(2)
    x = rng.integers(1, 255, (1, *model.input_shape)).astype(np.float64)
    grad = model.gradients(x, target=2)
    for at in [(0,) * x.ndim, tuple(n - 1 for n in x.shape)]:
        step = np.zeros_like(x)
        step[at] = 0.5
        up, down = (model.predict(x + s, softmax=False)[0, 2] for s in (step, -step))
        assert grad[at] == pytest.approx(up - down, rel=1e-3, abs=1e-7)
    total = model.gradients(x)
    each = sum(model.gradients(x, target=i) for i in range(3))
    np.testing.assert_allclose(total, each, rtol=1e-10, atol=1e-12)


def test_one_sample_or_several_targets_by_name_or_number() -> None:
    model = small(2, classes=["a", "b", "c"])
    x = samples(model)
    np.testing.assert_array_equal(model.activations(x[1], "both"), model.activations(x, "both")[1])
    by_name = model.gradients(x, "both", target="c")
    np.testing.assert_array_equal(by_name, model.gradients(x, "both", target=2))
    mixed = model.gradients(x, "both", target=["c", 0, 1])
    np.testing.assert_array_equal(mixed[0], by_name[0])
    np.testing.assert_array_equal(mixed[2], model.gradients(x[2], "both", target="b"))
    assert model.explain(x[0]).shape == (4, 3)
    likely = model.predict(x).argmax(1)
    np.testing.assert_array_equal(model.explain(x), model.explain(x, target=likely))


def test_grad_cam_is_its_definition_and_resized() -> None:
    model = small(2)
    x = samples(model)
    maps = model.activations(x, "both")
    grads = model.gradients(x, "both", target=1)
    weights = grads.mean((2, 3), keepdims=True)
    want = np.maximum((weights * maps).sum(1), 0)
    want /= np.where((most := want.max((1, 2), keepdims=True)) > 0, most, 1)
    got = model.explain(x, target=1, layer="both")
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert got.min() >= 0 and got.max() == 1
    pooled = model.explain(x, target=1, resize=True)
    assert pooled.shape == (3, 8, 6) and model.explain(x, target=1).shape == (3, 4, 3)
    assert model.explained_layer() == "maxpool1"
    assert not grad_cam(np.ones((1, 2, 4)), -np.ones((1, 2, 4))).any()


def test_interpolation_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).random((2, 5, 4), dtype=np.float32)
    want = torch.nn.functional.interpolate(torch.from_numpy(x)[None], (9, 11), mode="bilinear")[0]
    got = interpolated(interpolated(x, 9, 1), 11, 2)
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5, atol=1e-6)


def test_the_heat_is_where_the_class_is() -> None:
    layers = nn.Sequential(
        nn.Conv(1, 1, bias=False), nn.ReLU(), nn.GlobalAvgPool(), nn.Flatten(), nn.Linear(2)
    )
    model = Model(layers, (1, 6, 6))
    model.set_parameters({"conv1.weight": np.ones((1, 1, 1, 1))})
    model.set_parameters({"linear1.weight": np.array([[1.0], [-1.0]])})
    x = np.zeros((1, 6, 6), np.float32)
    x[0, 2, 4] = 3
    for label, peak in ((0, 1.0), (1, 0.0)):
        heat = model.explain(x, target=label)
        assert heat[2, 4] == peak and heat.sum() == peak


def test_text_and_answers_for_each_position() -> None:
    text = Model(
        nets.get("textcnn", classes=3, vocabulary=50, input_shape=(12,)), (12,), tokens=True
    )
    x = np.random.default_rng(0).integers(0, 50, (2, 12))
    assert text.explain(x, resize=True).shape == (2, 12)
    first = next(iter(text.activations(x)))
    assert text.gradients(x, first, target=1).shape == text.activations(x, first).shape
    with pytest.raises(FaltungError, match=f"tokens have no gradient; of='{first}' has one"):
        text.gradients(x)
    dense = Model(nn.Sequential(nn.Conv(4, 3, padding="same"), nn.ReLU(), nn.Conv(2, 1)), (1, 7, 7))
    assert dense.explained_layer() == "relu1"
    assert dense.explain(np.ones((1, 7, 7), np.float32), target=1).shape == (7, 7)


def test_nothing_is_compiled_twice_and_parameters_are_those_of_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, made = small(2), []
    plain = vars(probes)["Assembly"]

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append(1)
        return plain(*args, **kwargs)

    monkeypatch.setattr(probes, "Assembly", counted)
    x = samples(model, 4)
    before = model.activations(x), model.explain(x), model.gradients(x)
    assert len(made) == 3
    assert np.array_equal(model.explain(x[::-1])[::-1], before[1])
    model.set_parameters({"conv1.bias": np.full(6, 5.0)})
    assert not np.array_equal(model.activations(x[:3])["relu1"], before[0]["relu1"][:3])
    model.explain(x), model.gradients(x)
    assert len(made) == 3


def test_narrow_models_look_in_float32(tmp_path: Path) -> None:
    model = small(2)
    half = model.astype("bfloat16")
    x = samples(model)
    rounded = Model.from_about(model.about())
    rounded.set_parameters(half.parameters)
    np.testing.assert_array_equal(half.activations(x, "both"), rounded.activations(x, "both"))
    np.testing.assert_array_equal(half.gradients(x), rounded.gradients(x))


def test_the_summary_is_that_of_the_command() -> None:
    from faltung.graph.summary import summary

    model = small(2)
    assert str(model.summary()) == repr(model.summary()) == summary(model.graph).table()
    names = [row.name for row in model.summary().rows]
    assert names == list(model.activations(samples(model)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda m, x: m.activations(x, "bath"),
            "layer='bath': must be a layer of the summary: both, batchnorm1",
        ),
        (lambda m, x: m.activations(x, "both.won"), "both.one"),
        (lambda m, x: m.activations(x, 3), "layer=3: must be the name of a layer"),
        (lambda m, x: m.activations(x[:, :1]), "x.shape"),
        (
            lambda m, x: m.gradients(x, "convv1"),
            "of='convv1': must be a layer of the summary: conv1",
        ),
        (lambda m, x: m.gradients(x, target=3), "target=3: must be below 3"),
        (lambda m, x: m.gradients(x, target="a"), "has no names of classes"),
        (lambda m, x: m.gradients(x, target=[0, 1]), "for each of 3 samples"),
        (lambda m, x: m.gradients(x, target=1.5), "got 1.5"),
        (
            lambda m, x: m.explain(x, layer="linear1"),
            "has one position; others have more: maxpool1, both",
        ),
    ],
)
def test_refusals(call: Any, said: str) -> None:
    model = small(2)
    with pytest.raises(FaltungError) as refused:
        call(model, samples(model))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_part_stands_for_its_last_layer() -> None:
    model = small(2)
    x = samples(model)
    np.testing.assert_array_equal(
        model.activations(x, "both.one"), model.activations(x, "both.one.relu1")
    )
    net = nn.Sequential(nn.Linear(3), nn.Linear(2))
    with pytest.raises(FaltungError, match="no layer with more than one position"):
        Model(net, (4,)).explain(np.ones(4, np.float32))


def test_of_numbers_gradients_are_in_the_units_of_the_targets() -> None:
    model = Model(nn.Sequential(nn.Linear(5), nn.Tanh(), nn.Linear(2)), (3,), dtype="float64")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    y = np.stack([1000 * x[:, 0], 5 + 0.1 * x[:, 1]], 1)
    model.fit(x, y, loss="mse", epochs=2, show=False)
    for number in (0, 1):
        grad = model.gradients(x[:1], target=number)[0]
        for at in range(3):
            step = 1e-3 * np.eye(3)[at]
            up, down = (model.predict(x[:1] + s)[0, number] for s in (step, -step))
            assert grad[at] == pytest.approx((up - down) / 2e-3, rel=2e-3)


def test_several_labels_at_once() -> None:
    model = Model(nn.Sequential(nn.Conv(3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4)), (1, 6, 6))
    x = np.random.default_rng(0).random((20, 1, 6, 6), dtype=np.float32)
    model.fit(x, (x.mean((1, 2, 3)) > 0.5)[:, None] * np.ones(4), loss="binary_cross_entropy",
              epochs=1, show=False)  # fmt: skip
    seen = looked(model, x[0])
    assert seen.outputs.min() >= 0 and seen.outputs.max() <= 1
    assert model.gradients(x, target=3).shape == x.shape
