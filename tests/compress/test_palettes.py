"""Weights of a palette: few values at a price that was named, and answers that stay."""

from pathlib import Path

import numpy as np
import pytest

from faltung import Model, get_threads, nn, set_threads
from faltung.compress import palettes as module
from faltung.compress.means import MEANS, Outcome, Task
from faltung.compress.palettes import DIGITS, SMALL, most, palettes, rounded
from faltung.data.source import ArraySource
from faltung.formats.tensors import load_tensors
from faltung.train import loop
from faltung.train.settings import Settings

pytest.importorskip("constriction")


def samples(seed: int = 0, count: int = 256) -> ArraySource:
    """Which half of a picture is brighter."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    x = rng.standard_normal((count, 1, 8, 8)).astype(np.float32)
    x[:, 0, :, :4] += np.where(y, 0.7, -0.7)[:, None, None]
    return ArraySource(x, y, scale=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little training with palettes is enough here."""
    monkeypatch.setattr(module, "EPOCHS", 3)
    monkeypatch.setattr(module, "PROBES", 16)


@pytest.fixture(scope="module")
def trained() -> Model:
    net = nn.Sequential(
        *(nn.Conv(12, 3, padding="same"), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2)),
        *(nn.Flatten(), nn.Linear(32), nn.ReLU(), nn.Linear(3, name="last")),
    )
    model = Model(net, (1, 8, 8))
    model.fit(samples(), epochs=4, show=False)
    return model


def made(model: Model, bits: float = 2.0) -> Outcome:
    return palettes(model, Task(samples(), settings=Settings(epochs=3)), bits)


def bits_of(model: Model, path: Path) -> dict[str, float]:
    model.save(path, coded=True)
    found: dict[str, float] = {}
    load_tensors(path, bits=found)
    return found


def test_few_values_and_the_same_answers(trained: Model, tmp_path: Path) -> None:
    before = {name: array.tobytes() for name, array in trained.parameters.items()}
    outcome = made(trained)
    assert {n: a.tobytes() for n, a in trained.parameters.items()} == before
    assert outcome.changed and repr(outcome.model.net) == repr(trained.net)
    weights = [n for n, a in outcome.model.parameters.items() if a.ndim > 1]
    for name, array in outcome.model.parameters.items():
        assert np.array_equal(rounded(array), array) and not np.signbit(array[array == 0]).any()
        if name in weights:
            assert len(np.unique(array)) <= most(array.size)
    new = samples(1)
    assert trained.evaluate(new)["accuracy"] > 0.95
    assert outcome.model.evaluate(new)["accuracy"] > trained.evaluate(new)["accuracy"] - 0.03
    found = bits_of(outcome.model, tmp_path / "x")
    total = sum(outcome.model.parameters[n].size for n in weights)
    assert 1.0 < sum(found[n] for n in weights) / total < 2.5


def test_fewer_bits_are_fewer_bytes(trained: Model, tmp_path: Path) -> None:
    sizes = [sum(bits_of(made(trained, bits).model, tmp_path / "x").values()) for bits in (1, 4)]
    assert sizes[0] < 0.6 * sizes[1]


def test_the_same_bits_for_any_number_of_threads(trained: Model) -> None:
    found, before = [], get_threads()
    for threads in (1, 2):
        set_threads(threads)
        found.append(made(trained).model.parameters)
    set_threads(before)
    for name, array in found[0].items():
        assert array.tobytes() == found[1][name].tobytes()


def test_layers_that_stay_as_they_are(trained: Model) -> None:
    outcome = palettes(
        Model(nn.Sequential(nn.Flatten(), nn.Linear(9, bits=8), nn.Linear(2)), (1, 8, 8)),
        Task(samples()),
        2.0,
    )
    said = [str(each) for each in outcome.left]
    assert said == [
        "linear1: its weights lie on a grid of 8 bits",
        f"linear2: has too few weights, 18: a palette needs {SMALL}",
    ]
    assert not outcome.changed


def test_digits() -> None:
    x = np.array([1.0, -0.3, 1e-30, 0.0, -0.0, 3e38, 1 + 2.0**-9, 257.0])
    found = rounded(x)
    assert np.abs(found - x).max() <= 3e38 * 2.0**-DIGITS
    assert (np.abs(found[:3] - x[:3]) <= np.abs(x[:3]) * 2.0**-DIGITS).all()
    assert not np.signbit(found[4]) and found[6] == 1 and found[7] == 256
    assert rounded(np.float32([0.1])).dtype == np.float32


def test_what_cannot_be(trained: Model) -> None:
    for bits in (0, -1, 9, float("nan")):
        with pytest.raises(ValueError, match=r"strength=.*: must be above 0 and at most 8 bits"):
            made(trained, bits)
    broken = Model.from_about(trained.about())
    broken.set_parameters({"last.weight": np.full((3, 32), np.nan)})
    with pytest.raises(
        FloatingPointError, match=r"'last\.weight': has numbers that are not finite"
    ):
        made(broken)


def test_ctrl_c_gives_no_half_tuned_network(
    trained: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise loop.Stopped

    monkeypatch.setattr(loop.Loop, "_save_after", stop)
    with pytest.raises(KeyboardInterrupt):
        made(trained)


def test_it_is_in_the_table() -> None:
    assert MEANS["palettes"].apply() is palettes
