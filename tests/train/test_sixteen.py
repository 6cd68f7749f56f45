"""Models in 16 bits: converted, saved, loaded, exported, refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from faltung import Model, nn
from faltung.geometry.conv import NARROW
from faltung.geometry.errors import FaltungError
from faltung.runtime.halves import UNIT, rounded
from faltung.train.run_model import export

NET = nn.Sequential(
    nn.Conv(8, 3, padding=1),
    nn.BatchNorm(),
    nn.ReLU(),
    nn.MaxPool(2),
    nn.Flatten(),
    nn.Linear(3, name="last"),
)
SHAPE = (2, 8, 8)


def trained() -> tuple[Model, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, *SHAPE)).astype(np.float32)
    model = Model(NET, SHAPE)
    model.fit(x, rng.integers(0, 3, 40), epochs=1, show=False)
    return model, x


@pytest.mark.parametrize("dtype", NARROW)
def test_a_model_in_half_the_memory(dtype: str, tmp_path: Path) -> None:
    model, x = trained()
    half, before = model.astype(dtype), model.predict(x)
    assert (half.dtype, half.loss, half.standard) == (dtype, model.loss, model.standard)
    assert half.parameters["last.weight"].tobytes() == (
        rounded(model.parameters["last.weight"], dtype).tobytes()
    )
    assert half.parameters["last.bias"].tobytes() == model.parameters["last.bias"].tobytes()
    found = half.predict(x)
    assert found.dtype == np.float32
    assert np.abs(found - before).max() <= 8 * UNIT[dtype]
    assert half.predict(x[3]).tobytes() == found[3].tobytes()
    assert half.evaluate(x, np.zeros(40, int))["loss"] > 0
    assert model.predict(x).tobytes() == before.tobytes()
    for path in (tmp_path / "half.safetensors", tmp_path / "whole.safetensors"):
        (half if path.stem == "half" else model).save(path)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[1] - sizes[0] >= 2 * sum(a.size for a in half.parameters.values() if a.ndim > 1)
    again = Model.load(tmp_path / "half.safetensors")
    assert again.dtype == dtype
    for other in (again, pickle.loads(pickle.dumps(half)), half.astype(dtype)):
        assert other.predict(x).tobytes() == found.tobytes()
    wide = Model.load(tmp_path / "half.safetensors", dtype="float32")
    assert wide.dtype == "float32"
    assert np.abs(wide.predict(x) - found).max() <= 8 * UNIT[dtype]
    narrow = Model.load(tmp_path / "whole.safetensors", dtype=dtype)
    assert narrow.predict(x).tobytes() == found.tobytes()


@pytest.mark.parametrize("dtype", NARROW)
def test_from_the_start(dtype: str) -> None:
    """What a model of 16 bits begins with is what one of float32 does, rounded."""
    made, whole = Model(NET, SHAPE, dtype=dtype, seed=3), Model(NET, SHAPE, seed=3)
    for name, array in whole.astype(dtype).parameters.items():
        assert made.parameters[name].tobytes() == array.tobytes()
    assert dtype in repr(made)


def test_what_is_refused() -> None:
    model, x = trained()
    with pytest.raises(FaltungError, match=r"^dtype='bfloat16': such a model cannot be trained; "):
        model.astype("bfloat16").fit(x, np.zeros(40, int), show=False)
    for dtype in ("float8", 16):
        with pytest.raises(FaltungError, match=r"^dtype=.*: must be one of float32, float64, "):
            model.astype(dtype)
        with pytest.raises(FaltungError, match=r"^dtype=.*: must be one of float32, float64, "):
            Model(NET, SHAPE, dtype=dtype)
    model.set_parameters({"last.weight": np.full((3, 128), 7e4)})
    with pytest.raises(FaltungError, match=r"^dtype='float16': last.weight has numbers of 65520"):
        model.astype("float16")
    assert model.astype("bfloat16").dtype == "bfloat16"


@pytest.mark.parametrize("dtype", NARROW)
def test_onnx_keeps_weights_in_16_bits(dtype: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model, x = trained()
    path, small = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    export(model, path)
    export(model, small, dtype)
    weights = sum(a.size for a in model.parameters.values() if a.ndim > 1)
    assert path.stat().st_size - small.stat().st_size > 2 * weights - 300
    found = runtime.InferenceSession(small).run(None, {"input": x})[0]
    want = model.astype(dtype).predict(x, softmax=False)
    assert np.abs(found - want).max() <= 8 * UNIT[dtype] * np.abs(want).max()
    assert (found.argmax(1) == want.argmax(1)).all()
    assert found.dtype == np.float32
    back = Model.from_onnx(small).predict(x, softmax=False)
    assert np.abs(back - found).max() <= 1e-5 * np.abs(found).max()
