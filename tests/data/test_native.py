"""Big-endian arrays: the same as those of this machine, or refused with what to do."""

from pathlib import Path

import numpy as np
import pytest

import faltung
from faltung import Model, nn
from faltung.data import ArraySource, open_source
from faltung.data.native import native

RANDOM = np.random.default_rng(0)


def other(array: np.ndarray) -> np.ndarray:
    """The same numbers in the other byte order."""
    return array.astype(array.dtype.newbyteorder())


X = RANDOM.integers(0, 60_000, (6, 1, 8, 8)).astype(np.uint16)
Y = np.array([0, 1] * 3)


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8"])
def test_sources(dtype: str) -> None:
    x = X.astype(dtype)
    ours, theirs = ArraySource(x, Y), ArraySource(other(x), other(Y))
    assert ours.read([0]).max() == theirs.read([0]).max() and theirs.read([0]).dtype == np.float32
    np.testing.assert_array_equal(ours.read(range(6)), theirs.read(range(6)))
    np.testing.assert_array_equal(ours.targets, theirs.targets)


def test_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "ours.npz", x=X, y=Y)
    np.savez(tmp_path / "theirs.npz", x=other(X), y=other(Y))
    ours, theirs = (open_source(tmp_path / f"{name}.npz") for name in ("ours", "theirs"))
    np.testing.assert_array_equal(ours.read(range(6)), theirs.read(range(6)))


@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
def test_models(dtype: str) -> None:
    x = X.astype(dtype)
    made = []
    for a, b in ((x, Y), (other(x), other(Y))):
        model = Model(nn.Sequential(nn.Flatten(), nn.Linear(2)), (1, 8, 8))
        model.set_parameters({name: other(value) for name, value in model.parameters.items()})
        model.fit(a, b, epochs=1, show=False)
        made.append((model.predict(a), model.evaluate(a, b)))
    np.testing.assert_array_equal(made[0][0], made[1][0])
    assert made[0][1] == made[1][1]


def test_convolutions_say_what_to_do() -> None:
    x, w = np.ones((1, 1, 5), np.float32), np.ones((1, 1, 3), np.float32)
    for name, call in {
        "x": lambda: faltung.conv1d(other(x), w),
        "weight": lambda: faltung.Conv(other(w)),
        "out": lambda: faltung.conv1d(x, w, out=other(x[..., :3])),
    }.items():
        with pytest.raises(faltung.FaltungError, match="this machine's byte order") as error:
            call()
        assert str(error.value).startswith(f"{name}.dtype=")
        if name != "out":
            assert f"pass {name}.astype({name}.dtype.newbyteorder('='))" in str(error.value)
    remedied = other(x)
    made = faltung.conv1d(remedied.astype(remedied.dtype.newbyteorder("=")), w)
    np.testing.assert_array_equal(made, faltung.conv1d(x, w))


def test_nothing_is_copied_without_need() -> None:
    assert native(X) is X
    assert native(other(X)).dtype == np.uint16 and (native(other(X)) == X).all()
