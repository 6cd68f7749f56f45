"""The functions of ``faltung.ndimage`` on Dask arrays: the bits of the whole, for any chunks."""

import warnings
from typing import Any

import numpy as np
import pytest
from ndimage_random import ALL, random_call

import faltung
from faltung import ndimage
from faltung.ndimage.calls import RESOLVERS

da = pytest.importorskip("dask.array")
import faltung.dask  # noqa: E402

X = np.random.default_rng(0).standard_normal((17, 19))


def cut(rng: np.random.Generator, size: int) -> tuple[int, ...]:
    """Chunks of an axis, of any sizes."""
    most = int(rng.choice([2, 5, 40]))
    chunks: list[int] = []
    while sum(chunks) < size:
        chunks.append(int(rng.integers(1, min(size - sum(chunks), most) + 1)))
    return tuple(chunks) or (0,)


@pytest.mark.parametrize("name", ALL)
def test_random_calls(name: str) -> None:
    """Half of them by ``faltung.ndimage``, which leaves Dask arrays to ``faltung.dask``."""
    for number in range(ALL.index(name), 3 * len(ALL), len(ALL)):
        call = random_call(11, number)
        if call.out != "dtype":
            call.out = "none"
        rng, x = np.random.default_rng(number), call.x
        expected: Any
        try:
            expected = call.run(ndimage)
        except Exception as error:
            expected = error
        call.x = da.from_array(x, chunks=tuple(cut(rng, size) for size in x.shape))
        if isinstance(expected, Exception):
            with pytest.raises(type(expected)) as raised:
                call.run(faltung.dask)
            assert str(raised.value) == str(expected)
            continue
        made = call.run(faltung.dask if number % 2 else ndimage)
        assert isinstance(made, da.Array)
        assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
        assert made.compute(scheduler="threads").tobytes() == expected.tobytes(), str(call)


def test_passes_with_borders_of_their_own() -> None:
    """The mode of an axis holds for all axes of its pass: one axis has several borders."""
    x = da.from_array(X, chunks=(4, 5))
    for name in ("gaussian_laplace", "gaussian_gradient_magnitude"):
        for mode in (("wrap", "mirror"), ("constant", "nearest"), ("reflect", "wrap")):
            expected = getattr(ndimage, name)(X, 1.2, mode=mode)
            made = getattr(faltung.dask, name)(x, 1.2, mode=mode)
            assert made.compute().tobytes() == expected.tobytes()


def test_a_chunk_inside_reads_no_more_than_it_must() -> None:
    computed = []

    def chunk(block_info: Any = None) -> Any:
        computed.append(block_info[None]["chunk-location"])
        return np.ones((10, 10))

    x = da.map_blocks(chunk, chunks=((10,) * 9, (10,) * 9), dtype=float, meta=np.empty((0, 0)))
    faltung.dask.uniform_filter(x, (3, 1)).blocks[4, 4].compute(scheduler="synchronous")
    assert sorted(computed) == [(3, 4), (4, 4), (5, 4)]
    computed.clear()
    faltung.dask.uniform_filter(x, (3, 1), mode="wrap").blocks[0, 4].compute()
    assert sorted(computed) == [(0, 4), (1, 4), (8, 4)]


def test_several_kernels() -> None:
    kernels = [np.ones((3, 3)), np.eye(3)]
    made = faltung.dask.correlate(da.from_array(X, chunks=(8, 7)), kernels)
    assert made.chunks == ((2,), (8, 8, 1), (7, 7, 5))
    assert made.compute().tobytes() == ndimage.correlate(X, kernels).tobytes()


def test_every_function_is_there() -> None:
    assert set(RESOLVERS) <= set(faltung.dask.__all__)
    assert dir(faltung.dask) == sorted(faltung.dask.__all__)


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        (X, {}, TypeError, r"^input=ndarray: must be a Dask array"),
        (da.ones((4, 4)), {"output": np.empty((4, 4))}, TypeError, r"must be a dtype, .*to_zarr$"),
        (da.ones((4, 4)), {"sigma": da.ones(2)}, TypeError, r"must not be lazy; pass "),
        (da.ones((4, 4), dtype="f2"), {}, RuntimeError, r"^input.dtype=float16 not supported"),
        (da.ones((4, 4), chunks=2, dtype=object), {}, TypeError, r"^input.dtype=object: must be"),
        (da.ma.masked_less(da.ones(4), 0), {}, TypeError, r"not of MaskedArray; fill it first"),
        (da.ones(9)[da.ones(9) > 0], {}, ValueError, r"input.compute_chunk_sizes\(\) first"),
        (da.ones((4, 4)), {"mode": "edge"}, RuntimeError, r"mode"),
        (da.ones((4, 4)), {"sigmas": 3}, TypeError, r"sigmas"),
    ],
)
def test_what_is_refused(given: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as raised, warnings.catch_warnings():
        faltung.dask.gaussian_filter(given, **{"sigma": 1, **options})
    assert isinstance(raised.value, faltung.FaltungError)
