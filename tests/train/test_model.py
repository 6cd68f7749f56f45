"""Model as in a notebook: fit, predict, evaluate, save, load; what it says of wrong arguments."""

import copy
import inspect
import json
import pickle
import re
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import Array, maps, net, shapes, source

from faltung import Model, nn
from faltung.data.augment import Augment
from faltung.data.source import split
from faltung.data.standard import Standard, standardise
from faltung.formats.tensors import load_tensors, save_tensors
from faltung.train import network as network_module
from faltung.train import predicting
from faltung.train.history import History
from faltung.train.settings import Settings

X, Y = shapes(60)


def fresh(**more: Any) -> Model:
    return Model(net(), (1, 8, 8), **more)


def same(one: Model, two: Model) -> bool:
    a, b = one.parameters, two.parameters
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# Training -----------------------------------------------------------------------------------------


def test_a_notebook() -> None:
    model = fresh(classes=["rows", "columns"])
    assert repr(model) == "<Model (1, 8, 8) -> (2,), 354 parameters, classes rows, columns>"
    history = model.fit(X, Y, validation=0.25, epochs=12, batch=8, lr=0.01, seed=3, show=False)
    assert len(history) == 12 and history[-1].loss < history[0].loss
    probabilities = model.predict(X)
    assert probabilities.shape == (60, 2) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    found = model.evaluate(X, Y)
    assert found["accuracy"] == (probabilities.argmax(1) == Y).mean() > 0.8
    # A validation keeps the best weights.
    held = split(source(60), 0.25, seed=3)[1]
    assert model.evaluate(held)["accuracy"] == max(row.val_accuracy or 0 for row in history)


def test_the_history_prints_as_a_table() -> None:
    history = fresh().fit(X, Y, epochs=3, show=False)
    lines = repr(history).splitlines()
    assert lines[0].split()[:3] == ["epoch", "loss", "accuracy"] and len(lines) == 4
    assert lines[3].split()[0] == "3/3" and max(map(len, lines)) < 100
    assert isinstance(history, list) and repr(History()) == "no epochs"


def test_progress_is_printed_unless_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    fresh().fit(X, Y, epochs=2)
    assert capsys.readouterr().out.count("\n") == 2
    fresh().fit(X, Y, epochs=2, show=False)
    assert capsys.readouterr().out == ""


def test_fitting_again_goes_on() -> None:
    model = fresh()
    model.fit(X, Y, epochs=5, show=False)
    before = model.evaluate(X, Y)["loss"]
    model.fit(X, Y, epochs=5, show=False)
    assert model.evaluate(X, Y)["loss"] < before


@pytest.mark.parametrize(
    "validation", [0.25, (X[:9], Y[:9]), source(9, seed=5)], ids=["part", "arrays", "source"]
)
def test_validations(validation: Any) -> None:
    history = fresh().fit(X, Y, validation=validation, epochs=1, show=False)
    assert history[0].val_loss is not None and history[0].val_accuracy is not None


@pytest.mark.parametrize("dtype", ["int8", "uint64", "int32", ">i2", "bool"])
def test_labels_of_any_integer(dtype: str) -> None:
    one, two = fresh(), fresh()
    assert timeless(one.fit(X, Y.astype(dtype), epochs=1, show=False)) == timeless(
        two.fit(X, Y, epochs=1, show=False)
    )
    assert same(one, two)


def timeless(history: History) -> list[tuple[Any, ...]]:
    return [(row.epoch, row.step, row.lr, row.loss, row.accuracy) for row in history]


def test_classes_that_no_sample_has() -> None:
    model = Model(net(5), (1, 8, 8))
    model.fit(X, 3 * Y, epochs=1, show=False)  # 0 and 3 of 5
    assert set(model.evaluate(X[:1], [4])) == {"loss", "accuracy"}


def test_samples_are_taken_as_they_are_given() -> None:
    """Whole numbers too: what `fit` saw is what `predict` sees."""
    grey = (40 * (X + 3)).clip(0, 255).astype(np.uint8)
    model = fresh()
    model.fit(grey, Y, epochs=8, batch=8, lr=0.01, show=False)
    assert model.standard is not None and 50 < model.standard.mean[0] < 200
    assert model.evaluate(grey, Y)["accuracy"] == (model.predict(grey).argmax(1) == Y).mean() > 0.8
    np.testing.assert_array_equal(model.predict(grey), model.predict(grey.astype(np.float64)))


def test_a_standard_is_kept() -> None:
    own = Standard((1.0,), (2.0,))
    model = fresh(standard=own)
    model.fit(X, Y, epochs=1, show=False)
    assert model.standard is own
    first = fresh()
    first.fit(X, Y, validation=0.5, epochs=1, show=False)
    train, _ = split(source(60), 0.5, 0)
    assert first.standard == standardise(train)
    again = first.standard
    first.fit(3 * X, Y, epochs=1, show=False)
    assert first.standard is again


def test_numbers() -> None:
    y = X.mean((1, 2, 3))
    model = Model(nn.Sequential(nn.Flatten(), nn.Linear(1)), (1, 8, 8))
    history = model.fit(X, y, loss="mse", epochs=40, lr=0.05, show=False)
    assert history[-1].loss < 0.05 * history[0].loss and history[-1].accuracy is None
    error = float(((model.predict(X)[:, 0] - y) ** 2).mean())
    found = model.evaluate(X, y, metric="mse")
    assert found["mse"] == pytest.approx(error, rel=1e-4)
    assert found["loss"] == pytest.approx(error / y.var(), rel=1e-4)  # of deviations
    assert model.predict(X).shape == (60, 1)  # no softmax
    assert model.evaluate(X, Y).keys() == {"loss"}  # whole numbers are numbers now


def test_numbers_at_every_position() -> None:
    model = Model(nn.Conv(2, 3, padding="same"), (1, 8, 8))
    y = np.concatenate([X, -X], 1)
    history = model.fit(X, y, loss="mse", epochs=20, lr=0.05, show=False)
    assert history[-1].loss < 0.3 * history[0].loss


def test_what_may_be_a_picture_without_channels_is_called_a_series() -> None:
    net = nn.Sequential(nn.Conv(2, 3), nn.Flatten(), nn.Linear(2))
    words = "a series of 9 channels (a picture is 1x9x9)>"
    assert repr(Model(net, (9, 9))).endswith(words)
    assert "series" not in repr(Model(net, (2, 9))) + repr(Model(net, (1, 9, 9)))


def test_a_label_for_each_position() -> None:
    x, y = maps(40)
    model = Model(nn.Sequential(nn.Conv(2, 1)), (1, 8, 8), classes=["dark", "bright"])
    history = model.fit(x, y, epochs=30, lr=0.1, batch=8, validation=0.2, show=False)
    assert history[-1].val_accuracy is not None and history[-1].val_accuracy > 0.95
    assert model.predict(x).shape == (40, 2, 8, 8)
    assert model.evaluate(x, y)["accuracy"] == (model.predict(x).argmax(1) == y).mean()


def test_text() -> None:
    tokens = np.random.default_rng(0).integers(0, 20, (60, 7))
    y = (tokens == 3).any(1).astype(int)
    layers = nn.Sequential(
        nn.Embedding(20, 8), nn.Conv(8, 2), nn.ReLU(), nn.MaxPool(6), nn.Flatten(), nn.Linear(2)
    )
    model = Model(layers, (7,), tokens=True)
    model.fit(tokens, y, epochs=30, lr=0.02, show=False)
    assert model.evaluate(tokens, y)["accuracy"] > 0.9 and model.standard is None
    assert model.predict(tokens[0]).shape == (2,)
    np.testing.assert_array_equal(model.predict(tokens.astype(np.uint8)), model.predict(tokens))


def test_series_tables_and_volumes() -> None:
    for space in ((12,), (4, 5, 6)):
        x, y = shapes(24, space)
        layers = nn.Sequential(nn.Conv(4, 3, padding="same"), nn.ReLU(), nn.Flatten())
        model = Model(nn.Sequential(layers, nn.Linear(3)), x.shape[1:])
        assert len(model.fit(x, y, epochs=1, show=False)) == 1
    table = Model(nn.Linear(2), (5,))
    table.fit(np.random.default_rng(0).random((20, 5)), np.arange(20) % 2, epochs=1, show=False)
    assert table.predict(np.ones(5)).shape == (2,)


def test_double_precision() -> None:
    model = fresh(dtype="float64")
    assert "float64" in repr(model)
    model.fit(X, Y, epochs=3, show=False)
    assert model.predict(X).dtype == np.float64
    assert {value.dtype for value in model.parameters.values()} == {np.dtype("float64")}
    single = fresh()
    single.fit(X, Y, epochs=3, show=False)
    np.testing.assert_allclose(model.predict(X), single.predict(X), atol=1e-3)


# Prediction ---------------------------------------------------------------------------------------


def test_one_sample_has_the_bits_that_it_has_among_many() -> None:
    model = fresh()
    every = model.predict(X, softmax=True)
    assert model.predict(X[3], softmax=True).shape == (2,)
    for i in (0, 3, 59):
        np.testing.assert_array_equal(model.predict(X[i], softmax=True), every[i])
    np.testing.assert_array_equal(model.predict(X[:7], softmax=True), every[:7])
    assert model.predict(X[:0]).shape == (0, 2)


def test_more_than_fits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = shapes(700)
    want = fresh().predict(x)
    monkeypatch.setattr(network_module, "MAX_SAMPLES", 16)
    np.testing.assert_array_equal(fresh().predict(x), want)
    monkeypatch.setattr(network_module, "MAX_ACTIVATION_BYTES", 1)  # one at a time
    np.testing.assert_array_equal(fresh().predict(x[:5]), want[:5])
    held = source(700)
    np.testing.assert_array_equal(fresh().predict(held)[:9], fresh().predict(held.read(range(9))))


def test_any_layout_of_memory() -> None:
    model = fresh()
    want = model.predict(X)
    last = np.ascontiguousarray(np.moveaxis(X, 1, -1))
    np.testing.assert_array_equal(model.predict(np.moveaxis(last, -1, 1)), want)
    np.testing.assert_array_equal(model.predict(X[::-1])[::-1], want)
    np.testing.assert_array_equal(model.predict(X.tolist()), want)


def test_results_that_no_memory_holds() -> None:
    with pytest.raises(MemoryError, match=r"^net: one sample of \(1, 8, 8\) needs .* are free"):
        Model(nn.Conv(1, 1, padding=10**9), (1, 8, 8))


def test_softmax_follows_what_it_was_trained_on() -> None:
    model = fresh()
    assert not np.allclose(model.predict(X).sum(1), 1)  # nobody said that these are classes
    model.fit(X, Y, epochs=1, show=False)
    assert np.allclose(model.predict(X).sum(1), 1)
    assert not np.allclose(model.predict(X, softmax=False).sum(1), 1)


def test_few_programs_are_kept() -> None:
    model = fresh()
    for batch in range(1, 20):
        model.program(batch)
    assert len(model._programs) == predicting.MAX_PROGRAMS
    program = model.program(19)
    assert program is model.program(19)
    want = model.predict(X)
    model.set_parameters({name: 2 * value for name, value in model.parameters.items()})
    assert not np.array_equal(model.predict(X), want)


def test_several_threads_take_turns() -> None:
    model = fresh()
    want = [model.predict(X[: n + 1]) for n in range(4)]
    found: list[list[bool]] = [[] for _ in range(4)]

    def run(n: int) -> None:
        for _ in range(30):
            found[n].append(np.array_equal(model.predict(X[: n + 1]), want[n]))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(all(each) and len(each) == 30 for each in found)


# Keeping ------------------------------------------------------------------------------------------


def test_saved_and_loaded(tmp_path: Path) -> None:
    for model in (
        fresh(),
        fresh(dtype="float64", classes=["a", "b"], standard=Standard((0.5,), (0.25,))),
    ):
        model.fit(X, Y, epochs=1, show=False)
        model.save(tmp_path / "m.safetensors")
        again = Model.load(tmp_path / "m.safetensors")
        assert again.about() == model.about() and same(again, model)
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        first = (tmp_path / "m.safetensors").read_bytes()
        again.save(tmp_path / "m.safetensors")
        assert (tmp_path / "m.safetensors").read_bytes() == first


def test_saved_in_few_bytes(tmp_path: Path) -> None:
    pytest.importorskip("constriction")
    model, x = fresh(seed=3), X[:2]
    model.set_parameters({n: np.round(8 * v) / 8 for n, v in model.parameters.items()})
    model.save(tmp_path / "plain")
    model.save(tmp_path / "coded", coded=True)
    found = Model.load(tmp_path / "coded")
    assert same(found, model) and found.about() == model.about()
    np.testing.assert_array_equal(found.predict(x), model.predict(x))
    sizes = [(tmp_path / name).stat().st_size for name in ("plain", "coded")]
    assert sizes[1] < sizes[0] / 3
    with pytest.raises(TypeError, match="coded=1"):
        model.save(tmp_path / "x", coded=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy])
def test_pickled_and_copied(how: Any) -> None:
    model = fresh(classes=["a", "b"])
    model.fit(X, Y, epochs=1, show=False)
    again = how(model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.about() == model.about()
    again.fit(X, Y, epochs=1, show=False)
    assert not same(again, model)


GOOD = {**fresh().about()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": "__import__('os').system('true')"}, "is no layer, number or text"),
        ({"net": "Sequential(Conv(8, 3), Linear(10**9))"}, "is no layer, number or text"),
        ({"net": "Sequential(Conv(8, 3)"}, "is not the text of a network"),
        ({"net": "3"}, "must be a layer"),
        ({"net": "Sequential(Flatten(), Linear(1000000000000))"}, "the network alone needs"),
        ({"net": 3}, "net=3: must be str"),
        ({"net": "Sequential(" * 500 + ")" * 500}, "not a model"),
        ({"net": "Linear()"}, "net=Linear"),
        ({"net": "Conv(8, 3, groups='x')"}, "groups='x'"),
        ({"net": "Conv(8, 9)"}, "Conv 'conv1' needs at least 9x9, got 8x8"),
        ({"input_shape": [1, 10**7, 10**7]}, "the network alone needs"),
        ({"input_shape": [1, "x"]}, "input_shape"),
        ({"input_shape": []}, "input_shape"),
        ({"input_shape": None}, "input_shape=None: must be list"),
        ({"dtype": "object"}, "dtype"),
        ({"tokens": True}, ""),
        ({"tokens": 1}, "tokens=1: must be bool"),
        ({"classes": ["a"]}, "classes: must be 2 names"),
        ({"classes": [1, 2]}, "must be a list of text"),
        ({"loss": "l1"}, "loss='l1'"),
        ({"standard": {"mean": [0.0, 0.0], "std": [1.0, 1.0]}}, "standard: has 2 channels"),
        ({"standard": {"mean": [0.0], "std": [0.0]}}, "std"),
        ({"standard": {"mean": "x"}}, "mean='x'"),
        ({"more": 1}, "'more': is not known"),
    ],
)
def test_files_that_hold_no_model(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    about = {"faltung": "model", "format": "1", "about": json.dumps({**GOOD, **change})}
    save_tensors(path, {"w": np.ones(3, np.float32)}, about)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}"):
        Model.load(path)


def test_files_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fresh().save(path)
    tensors, metadata = load_tensors(path)
    for change, message in (
        ({"format": "2"}, "must be a model of format 1"),
        ({"faltung": "0.1"}, "must be a model of format 1"),
        ({"about": "{"}, "not a model"),
        ({"about": "[]"}, "about=[]: must be a table"),
    ):
        save_tensors(path, tensors, {**metadata, **change})
        with pytest.raises(ValueError, match=re.escape(message)):
            Model.load(path)
    name = next(iter(tensors))
    for wrong, message in (
        ({**tensors, "more": tensors[name]}, "not expected: 'more'"),
        ({k: v for k, v in tensors.items() if k != name}, f"missing: '{name}'"),
        ({**tensors, name: tensors[name][:1]}, "other shape: "),
        ({**tensors, name: tensors[name].astype(np.float64)}, "is float64"),
    ):
        save_tensors(path, wrong, metadata)
        with pytest.raises(ValueError, match=re.escape(message)):
            Model.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        Model.load(path)
    with pytest.raises(FileNotFoundError, match="none"):
        Model.load(tmp_path / "none")


def test_fit_takes_every_setting_and_its_default() -> None:
    usual = Settings()
    taken = inspect.signature(Model.fit).parameters
    named = {name for name, p in taken.items() if p.kind is p.KEYWORD_ONLY}
    own = {"validation", "show", "callbacks", "teacher", "distil", "temperature", "sample_weight"}
    assert named - own == {field.name for field in fields(usual) if field.name != "lengthened"}
    for name in named - own - {"augment"}:
        assert taken[name].default == getattr(usual, name)
    assert taken["augment"].default is None and usual.augment == Augment()


# Wrong arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(8), "x.shape=(8,): must be (n, 1, 8, 8)"),
        (np.ones((3, 3, 8, 8)), "x.shape=(3, 3, 8, 8): must be (n, 1, 8, 8)"),
        (np.ones((2, 2, 8, 9)), "x.shape=(2, 2, 8, 9): must be (n, 1, 8, 8)"),
        (X * 1j, "x.dtype=complex64: must be real numbers"),
        (np.full((1, 1, 8, 8), "a"), "x.dtype=<U1: must be real numbers"),
        (np.full((1, 1, 8, 8), None), "x.dtype=object: must be real numbers"),
        (7.0, "x.shape=(): must be (n, 1, 8, 8)"),
    ],
)
def test_samples_that_are_none(x: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        fresh().predict(x)


LONG: Array = np.ones((2, 1, 8, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X,), "y: must be given with x"),
        ((source(), Y), "y: must be left out if x is a source"),
        ((X, Y[:5]), "y.shape=(5,): must be (60,)"),
        ((X[:, :, 0], Y), "x.shape=(60, 1, 8): must be (n, 1, 8, 8)"),
        ((X, Y * 0.5), "y: 0.5 is a number, not the label of a class; for numbers use loss mse"),
        ((X, [f"class {i % 3}" for i in range(60)]), "y: has 3 different words, and the network 2"),
        ((X, [b"a"] * len(Y)), "labels must be whole numbers, or names"),
        ((X, 2 * Y), "y[1]=2: must be a label below 2"),
        ((X, -Y), "y[1]=-1: a label must be at least 0"),
        ((X, np.ones((60, 2), int)), "labels must be (60,)"),
        ((X, np.eye(3, dtype=int)[Y]), "y.shape=(60, 3): must have 2 columns, one for each class"),
        ((X * np.nan, Y), "sample 0 contains NaN"),
        ((X[:0], Y[:0]), "contains no samples"),
        ((LONG.astype(str), [0, 1]), "must be real numbers"),
    ],
)
def test_what_cannot_be_learned(arguments: tuple[Any, ...], message: str) -> None:
    model = fresh()
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        model.fit(*arguments, show=False)
    assert model.standard is None and model.loss is None and same(model, fresh())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "epoch"),
        ({"augment": Augment(shift=8)}, "shift=8: must be less than the shortest axis"),
        ({"augment": Augment(series_shift=1)}, "series_shift=1: is for series"),
        ({"validation": 1.5}, "validation=1.5: must lie between 0 and 1; None holds nothing out"),
        ({"validation": "half"}, "validation='half': must be a number"),
        ({"loss": "mse"}, "y.shape=(60,): must be (60, 2)"),
        ({"validation": (X, 2 * Y)}, "must be a label below 2"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    model = fresh()
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        model.fit(X, Y, show=False, **settings)
    assert model.standard is None and model.loss is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": ["a"]}, "classes: must be 2 names, one for each output, got 1"),
        (
            {"standard": Standard((0.0, 0.0), (1.0, 1.0))},
            "standard: has 2 channels, samples have 1",
        ),
        ({"seed": -1}, "seed=-1: must be at least 0"),
        ({"dtype": "float8"}, "dtype"),
    ],
)
def test_models_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        fresh(**given)


def test_a_network_that_does_not_fit_its_input() -> None:
    layers = nn.Sequential(nn.MaxPool(3, name="pool2"), nn.Conv(4, 5, name="b3"))
    with pytest.raises(ValueError, match="Conv 'b3' needs at least 5x5, got 3x3 after 'pool2'"):
        Model(layers, (1, 9, 9))


def test_parameters_are_written_all_or_none() -> None:
    model = fresh()
    before = model.parameters
    name = next(iter(before))
    with pytest.raises(ValueError, match="nothing"):
        model.set_parameters({name: 0 * before[name], "nothing": 1})
    assert np.array_equal(model.parameters[name], before[name])


def test_auxiliary_heads_are_trained_and_kept(tmp_path: Path) -> None:
    head = nn.Sequential(nn.Flatten(), nn.Linear(2))
    net = nn.Sequential(nn.Conv(3, 3), nn.Auxiliary(head), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    model = Model(net, (1, 5, 5))
    heads = [name for name in model.parameters if name.startswith("auxiliary")]
    assert len(heads) == 2
    before = model.parameters
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 1, 5, 5), np.float32), rng.integers(0, 2, 12)
    model.fit(x, y, epochs=1, batch=6, show=False)
    assert all((model.parameters[name] != before[name]).any() for name in heads)
    model.save(tmp_path / "model.safetensors")
    loaded = Model.load(tmp_path / "model.safetensors")
    assert loaded.parameters.keys() == model.parameters.keys()
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
