"""16 bits as a means: the same network in half the bytes, by the table that a walk reads."""

from pathlib import Path

import numpy as np
import pytest

from faltung import Model, nn
from faltung.compress.keep import keep
from faltung.compress.means import MEANS, Task
from faltung.data.source import ArraySource

NET = nn.Sequential(
    *(nn.Conv(12, 3), nn.BatchNorm(), nn.ReLU(), nn.Flatten()),
    nn.Linear(3, name="last"),
)


def model() -> Model:
    return Model(NET, (1, 8, 8), classes=list("abc"), seed=1)


def task() -> Task:
    return Task(ArraySource(np.zeros((2, 1, 8, 8), np.float32), np.array([0, 1])))


@pytest.mark.parametrize(("strength", "dtype"), [(0.0, "float16"), (1.0, "bfloat16")])
def test_half_the_bytes(strength: float, dtype: str, tmp_path: Path) -> None:
    given = model()
    before = {name: array.tobytes() for name, array in given.parameters.items()}
    outcome = MEANS["sixteen"].apply()(given, task(), strength)
    assert outcome.changed
    assert outcome.model.dtype == dtype
    assert dtype in outcome.said
    assert [left.layer for left in outcome.left] == ["batchnorm1"]
    assert {name: array.tobytes() for name, array in given.parameters.items()} == before
    again = MEANS["sixteen"].apply()(outcome.model, task(), strength)
    assert not again.changed
    weights = sum(a.size for a in given.parameters.values() if a.ndim > 1)
    config = {"model": {}, "data": {}}
    sizes = {}
    for name, made in {"whole": given, "half": outcome.model}.items():
        about = {k: v for k, v in made.about().items() if v is not None}
        kept, sizes[name] = keep(tmp_path / name, made, {**config, "model": about}, ())
        assert kept.dtype == made.dtype
        x = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)
        assert kept.predict(x).tobytes() == made.predict(x).tobytes()
    # Files of steps are coded, in which the first bytes of floats take less than 8 bits.
    assert sizes["whole"] - sizes["half"] > 1.5 * weights


def test_weights_that_float16_lacks() -> None:
    large = model()
    large.set_parameters({"last.weight": np.full((3, 432), 1e5)})
    assert MEANS["sixteen"].apply()(large, task(), 0.0).model.dtype == "bfloat16"
