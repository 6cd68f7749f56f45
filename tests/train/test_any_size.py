"""Pictures of other sizes than those of the training: at once, in tiles, and stored elsewhere."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung import Model, nets, nn
from faltung.data.standard import Standard
from faltung.data.units import Units
from faltung.train import any_size

BYTES = Units(255.0, 255.0, low=0.0, high=255.0, whole=True)
STANDARD = Standard((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


def u_net(**options: Any) -> Model:
    net = nets.get("unet", input_shape=(3, 32, 32), width=0.125, halvings=2, classes=3)
    return Model(net, (3, 32, 32), classes=list("abc"), standard=STANDARD, units=BYTES, **options)


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape or (3, 128, 96), np.uint8)


class Rows:
    """An array that is only ever read in parts, and counts what it gives."""

    __module__ = "zarr.like"

    def __init__(self, x: np.ndarray, shape: tuple[int, ...] | None = None) -> None:
        self.x, self.shape, self.dtype = x, shape or x.shape, x.dtype
        self.read: list[int] = []

    def __getitem__(self, index: Any) -> np.ndarray:
        part = self.x[index]
        self.read.append(part.size)
        return part


@pytest.mark.parametrize("precision", ["strict", "fast"])
def test_a_larger_picture_at_once_is_that_of_a_model_of_its_size(precision: Any) -> None:
    """To the bit where all are sums; else a model of its size may take other transforms."""
    model, x = u_net(precision=precision), picture()
    given = {"classes": list("abc"), "standard": STANDARD, "units": BYTES}
    own = Model(model.net, x.shape, precision=precision, **given)
    own.set_parameters(model.parameters)
    if precision == "strict":
        assert own.predict(x).tobytes() == model.predict(x).tobytes()
    np.testing.assert_allclose(own.predict(x), model.predict(x), atol=1e-5)
    assert model.predict(x).sum(0) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("tile", [16, (128, 32), (40, 52), 21])
def test_tiles_do_not_change_the_bits(tile: Any) -> None:
    model, x = u_net(), picture()
    assert model.predict(x, tile=tile).tobytes() == model.predict(x).tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype: Any) -> None:
    model, x = u_net().astype(dtype), picture()
    whole = model.predict(x)
    assert model.predict(x, tile=32).tobytes() == whole.tobytes()
    assert whole.dtype == (np.float64 if dtype == "float64" else np.float32)


def test_parameters_that_change_are_seen() -> None:
    model, x = u_net(), picture()
    before = model.predict(x, tile=32)
    model.set_parameters({n: np.zeros_like(v) for n, v in model.parameters.items()})
    assert not np.array_equal(before, model.predict(x, tile=32))
    assert model.predict(x, tile=32) == pytest.approx(1 / 3)


def test_where_channels_and_samples_may_lie() -> None:
    model, x = u_net(), picture(2, 3, 64, 96)
    whole = model.predict(x)
    assert whole.shape == (2, 3, 64, 96)
    last = np.moveaxis(x, 1, -1)
    for given, wanted in ((x, whole), (x[0], whole[0]), (last, whole), (last[1], whole[1])):
        for kept in (given, Rows(given)):
            assert model.predict(kept).tobytes() == wanted.tobytes()
            assert model.predict(kept, tile=48).tobytes() == wanted.tobytes()
    grey = Model(nn.Conv(2, 3, padding="same"), (1, 8, 8))
    one = picture(5, 20, 30)
    assert grey.predict(one).shape == (5, 2, 20, 30)
    assert grey.predict(one[0]).tobytes() == grey.predict(one[:1]).tobytes()
    assert grey.predict(one, tile=9).tobytes() == grey.predict(one).tobytes()


def test_of_the_size_of_the_training_its_own_program_is_taken() -> None:
    model, x = u_net(), picture(4, 3, 32, 32)
    assert model.predict(Rows(x)).tobytes() == model.predict(x).tobytes()


def test_only_what_is_seen_is_read() -> None:
    model = Model(nn.Conv(1, 3, padding="same"), (1, 8, 8))
    x = Rows(picture(1, 100, 80))
    model.predict(x, tile=(25, 80))
    assert x.read == [26 * 80, 27 * 80, 27 * 80, 26 * 80] or sorted(x.read) == sorted(
        [26 * 80, 27 * 80, 27 * 80, 26 * 80]
    )


@pytest.mark.parametrize(
    ("factor", "dtype"),
    [(1, "float64"), (1 / 255, "float32"), (1, "int64"), (257, "uint16"), (1, "uint8")],
)
def test_stored_numbers_mean_what_they_mean_in_arrays(factor: float, dtype: str) -> None:
    model = u_net()
    x = (picture() * np.float64(factor)).astype(dtype)
    assert model.predict(Rows(x), tile=64).tobytes() == model.predict(x).tobytes()


def test_networks_that_see_the_whole_picture_predict_it_at_once() -> None:
    net = nn.Sequential(nn.Conv(4, 3, padding="same"), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(2))
    model = Model(net, (1, 8, 8))
    assert model.predict(picture(3, 1, 20, 30)).shape == (3, 2)
    assert model.predict(Rows(picture(1, 20, 30))).shape == (2,)
    with pytest.raises(ValueError, match=r"layer 'globalavgpool1' takes means .* Model.dense"):
        model.predict(picture(1, 20, 30), tile=8)


def test_memory_decides_between_at_once_and_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = u_net(), picture()
    whole = model.predict(x)
    monkeypatch.setattr(any_size, "MOST_BYTES", 1 << 19)
    job = any_size.Tiled(model, model.boxes(x), softmax=True)
    assert job.arrangement.count > 1
    assert job.whole().tobytes() == whole.tobytes()


def test_an_output_is_written_in_whole_chunks(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    model, x = u_net(), picture(3, 100, 96)
    whole = model.predict(x)
    stored = zarr.create_array(tmp_path / "x.zarr", shape=x.shape, chunks=(3, 30, 50), dtype="u1")
    stored[:] = x
    for more in ({"chunks": (3, 24, 40)}, {"chunks": (1, 8, 8), "shards": (3, 32, 32)}):
        folder = tmp_path / f"{len(more)}.zarr"
        out = zarr.create_array(folder, shape=whole.shape, dtype="f4", **more)
        assert model.predict(stored, out=out) is out
        assert out[:].tobytes() == whole.tobytes()
    with pytest.raises(ValueError, match=r"tile=48: must be a multiple of the chunks of out, 32"):
        model.predict(stored, out=out, tile=48)
    with pytest.raises(ValueError, match=r"out.shape=\(3, 96, 96\): must be \(3, 100, 96\)"):
        model.predict(stored, out=np.empty((3, 96, 96)))
    with pytest.raises(TypeError, match=r"out.dtype=int32: must be float32"):
        model.predict(stored, out=np.empty((3, 100, 96), np.int32))


def test_tiles_end_with_chunks_however_small_memory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr(any_size, "MOST_BYTES", 1 << 19)
    model, x = u_net(), picture(3, 256, 256)
    out = zarr.create_array({}, shape=(3, 256, 256), dtype="f4", chunks=(3, 24, 40))
    job = any_size.Tiled(model, model.boxes(x), softmax=True, out=out)
    assert job.tile[0] % 24 == 0 and job.tile[1] % 40 == 0 and max(job.tile) < 256
    job.into(out)
    assert out[:].tobytes() == model.predict(x).tobytes()


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (
            picture(3, 65, 64),
            r"pictures of 65x64 do not suit it: .*it can be of 68x64",
        ),
        (Rows(picture(2, 64, 64)), r"x.shape=\(2, 64, 64\): must be \(n, 3, size1, size2\)"),
        (Rows(picture(3, 0, 64)), r"x.shape=\(3, 0, 64\): must have no axis of 0 entries"),
        (Rows(np.zeros((3, 64, 64), "c8")), r"x.dtype=complex64: must be real numbers"),
        (Rows(picture(3, 64, 60), (3, 64, 64)), r"where it claims uint8 of sizes \(64, 64\)"),
        (Rows(picture(), (3, float("nan"), 96)), r"must be known; x.compute_chunk_sizes"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(x: Any, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said) as error:
        u_net().predict(x)
    assert "\n" not in str(error.value)


def test_weights_for_one_size_are_named() -> None:
    model = Model(nn.Sequential(nn.Conv(4, 3), nn.Flatten(), nn.Linear(2)), (1, 8, 8))
    with pytest.raises(ValueError, match=r"layer 'linear1' are made for 8x8; Model.dense makes"):
        model.predict(picture(1, 20, 30))


def test_memory_is_that_of_a_tile() -> None:
    net = nn.Sequential(nn.Conv(8, 3, padding="same"), nn.ReLU(), nn.Conv(2, 3, padding="same"))
    model, side = Model(net, (1, 8, 8)), 2000
    out = Counted((2, side, side))
    model.predict(Rows(picture(1, 300, 300)), tile=100)  # what is made once
    x = Rows(picture(1, side, side))
    tracemalloc.start()
    try:
        model.predict(x, tile=256, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert out.written == 2 * side * side
    # A map of 8 channels has 128 MB at once; of a tile it has 2.
    assert peak < 30e6


class Counted:
    """An output that keeps nothing."""

    dtype = np.dtype(np.float32)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.written = shape, 0

    def __setitem__(self, index: Any, values: np.ndarray) -> None:
        assert np.isfinite(values).all()
        self.written += values.size
