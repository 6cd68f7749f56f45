"""Whole networks over Dask arrays: lazy, tiles as chunks, the bits of the array at once."""

from typing import Any

import numpy as np
import pytest

from faltung import Model, nets, nn
from faltung.data.units import Units

da = pytest.importorskip("dask.array")
BYTES = Units(255.0, 255.0, low=0.0, high=255.0, whole=True)


def model() -> Model:
    net = nets.get("unet", input_shape=(1, 32, 32), width=0.125, halvings=2, classes=3)
    return Model(net, (1, 32, 32), classes=list("abc"), units=BYTES)


def picture(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("chunks", [(1, 17, 96), (1, 64, 7), ((1,), (100, 28), (50, 46))])
def test_the_bits_of_the_whole_whatever_the_chunks(chunks: Any) -> None:
    x = picture(1, 128, 96)
    made = model().predict(da.from_array(x, chunks=chunks), tile=(48, 64))
    assert made.chunks == ((3,), (48, 48, 32), (64, 32)) and made.dtype == np.float32
    assert made.compute().tobytes() == model().predict(x).tobytes()


def test_several_samples_and_channels_last() -> None:
    x = picture(2, 64, 96, 1)
    made = model().predict(da.from_array(x, chunks=(1, 20, 96, 1)), tile=32)
    assert made.shape == (2, 3, 64, 96) and made.numblocks == (2, 1, 2, 3)
    assert made.compute(num_workers=3).tobytes() == model().predict(x).tobytes()


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    def never(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    x = da.zeros((1, 128, 96), dtype=np.uint8, chunks=(1, 32, 32))
    made = model().predict(x.map_blocks(never, dtype=np.uint8), tile=32)
    assert made.shape == (3, 128, 96)
    with pytest.raises(AssertionError, match="computed"):
        made.compute()


def test_a_tile_reads_its_neighbourhood_alone() -> None:
    read = []

    def note(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        read.append(block_info[0]["chunk-location"])
        return block

    x = da.zeros((1, 320, 320), dtype=np.uint8, chunks=(1, 32, 32))
    noted = x.map_blocks(note, dtype=np.uint8)
    read.clear()
    one = Model(nn.Conv(1, 3, padding="same"), (1, 8, 8), units=BYTES).predict(noted, tile=32)
    one[:, 64:96, 64:96].compute()
    assert {place[1:] for place in read} == {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}


@pytest.mark.parametrize("factor", [1.0, 1 / 255, 257.0])
def test_what_numbers_mean_follows_from_all_of_them(factor: float) -> None:
    x = picture(1, 64, 64) * factor
    made = model().predict(da.from_array(x, chunks=(1, 33, 64)), tile=32)
    assert made.compute().tobytes() == model().predict(x).tobytes()


def test_into_an_array() -> None:
    x, out = picture(1, 64, 96), np.zeros((3, 64, 96), np.float32)
    assert model().predict(da.from_array(x, chunks=-1), out=out, tile=32) is out
    assert out.tobytes() == model().predict(x).tobytes()


def test_chunks_that_are_not_known() -> None:
    x = da.from_array(picture(20, 32, 32), chunks=(5, 32, 32))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        model().predict(x[x.min((1, 2)) > 0])
