"""The package of weights: its files are models, small, and features rather than noise."""

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung import Model

FOLDER = Path(__file__).parents[2] / "packages/faltung-weights"
MOST_BYTES = 2_000_000


def loaded(path: Path) -> Any:
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(path.parent.name, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_every_file_is_a_small_model() -> None:
    about = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    assert about["project"]["name"] == "faltung-weights"
    paths = loaded(FOLDER / "src/faltung_weights/__init__.py").paths()
    assert list(paths) == ["textures"]
    for path in paths.values():
        assert Path(path).stat().st_size < MOST_BYTES
        model = Model.pretrained(path)
        assert model.dtype == "float32" and model.standard is not None and model.units is not None
        assert model.at_shape((3, 96, 80)).input_shape == (3, 96, 80)


def test_features_tell_textures_apart() -> None:
    """Gratings of two directions, which it has seen the like of, from four pictures of each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]

    def pictures(count: int) -> Any:
        made = []
        for i in range(count):
            along = (x if i % 2 else y) * rng.uniform(0.4, 0.7) + rng.uniform(0, 6)
            made.append(0.5 + 0.3 * np.sin(along) + rng.normal(0, 0.05, (3, 64, 64)))
        return np.asarray(made, np.float32), np.arange(count) % 2

    path = loaded(FOLDER / "src/faltung_weights/__init__.py").paths()["textures"]
    model = Model.pretrained(path).with_outputs(["down", "across"])
    model.fit(*pictures(8), epochs=8, batch=8, freeze="all-but-last", lr=0.03, show=False)
    test, wanted = pictures(20)
    assert (model.predict(test).argmax(1) == wanted).mean() > 0.9


def test_the_script_draws_the_same_patches_again() -> None:
    pytest.importorskip("PIL")
    build = loaded(FOLDER / "build.py")
    for draw in build.TEXTURES[::7]:
        first, again = (build.drawn(draw, np.random.default_rng(3)) for _ in range(2))
        assert first.shape == (3, 64, 64) and first.min() >= 0 and first.max() <= 1
        np.testing.assert_array_equal(first, again)
