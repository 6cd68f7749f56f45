"""Convolution of Dask arrays: the bits of the whole, for any chunks and options."""

import pickle
from typing import Any

import numpy as np
import pytest
from grid import examples
from hypothesis import given
from hypothesis import strategies as st

import faltung
from faltung.geometry.axis import MODES
from faltung.geometry.border import Border

da = pytest.importorskip("dask.array")
import faltung.dask  # noqa: E402
from faltung.dask.blocks import Blocks  # noqa: E402

RANDOM = np.random.default_rng(0)


def cut(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """Chunks of an axis, of any sizes."""
    chunks: list[int] = []
    while sum(chunks) < size:
        chunks.append(draw(st.integers(1, min(size - sum(chunks), 40))))
    return tuple(chunks)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Any, Any, Any, dict[str, Any], tuple[tuple[int, ...], ...]]:
    """Input, weight, bias, options and chunks."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    space = tuple(draw(st.integers(4, 60 if rank == 1 else 14)) for _ in range(rank))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    dtype = draw(st.sampled_from(["float32", "float64", "float16", "int32", "complex64"]))

    def random(*shape: int) -> Any:
        made = 4 * RANDOM.standard_normal(shape)
        return (made + 1j * made[::-1] if dtype == "complex64" else made).astype(dtype)

    last = draw(st.booleans())
    outer = (2,) if draw(st.booleans()) else ()
    channels = (groups * each[0],)
    x = random(*outer, *space, *channels) if last else random(*outer, *channels, *space)
    w = random(groups * each[1], each[0], *kernel)
    bias = random(groups * each[1]) if draw(st.booleans()) else None
    numbers = st.tuples(st.integers(0, 3), st.integers(0, 3))
    options = {
        "stride": tuple(draw(st.integers(1, 3)) for _ in range(rank)),
        "dilation": tuple(draw(st.integers(1, 2)) for _ in range(rank)),
        "padding": draw(
            st.sampled_from(["same", "same_lower", "causal"]) | st.tuples(*[numbers] * rank)
        ),
        "padding_mode": tuple(draw(st.sampled_from(MODES)) for _ in range(rank)),
        "groups": groups,
        "flip": draw(st.booleans()),
        "channels_last": last,
        "precision": draw(st.sampled_from(["fast", "strict"])),
    }
    return x, w, bias, options, tuple(cut(draw, size) for size in x.shape)


def same(x: Any, w: Any, bias: Any, options: dict[str, Any], chunks: Any, like: Any = None) -> Any:
    """The lazy result, after it has been compared with that of the whole array."""
    try:
        expected = faltung.conv(x, w, bias, **(options if like is None else like))
    except ValueError as error:
        with pytest.raises(type(error)) as raised:
            faltung.dask.conv(da.from_array(x, chunks=chunks), w, bias, **options)
        assert str(raised.value) == str(error)
        return None
    made = faltung.dask.conv(da.from_array(x, chunks=chunks), w, bias, **options)
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    found = made.compute(scheduler="threads")
    assert found.tobytes() == expected.tobytes()
    for index in np.ndindex(made.numblocks):
        assert made.blocks[index].shape == tuple(
            along[i] for along, i in zip(made.chunks, index, strict=True)
        )
    return made


@examples(8)
@given(problems())
def test_any_chunks_and_options(problem: Any) -> None:
    same(*problem)


@pytest.mark.parametrize(
    "modes",
    [
        ("constant", "constant"),
        ("constant", "zeros"),
        ("zeros", "constant"),
        ("constant", "circular"),
    ],
)
@pytest.mark.parametrize("padding", [((2, 1), (0, 2)), ((5, 4), (3, 0))])
def test_constants_beyond_the_ends(modes: Any, padding: Any) -> None:
    """Also where an output reads nothing else, and in the corners between zeros and constants."""
    x, w = RANDOM.random((2, 3, 13, 11)), RANDOM.random((4, 3, 3, 2))
    for stride in (1, 2):
        given = {"padding": padding, "padding_mode": modes, "stride": stride, "padding_value": 1.5}
        want = faltung.conv(x, w, **given)
        for chunks in ((4, 5), (1, 2), (13, 11)):
            lazy = da.from_array(x, chunks=(1, 3, *chunks))
            assert faltung.dask.conv(lazy, w, **given).compute().tobytes() == want.tobytes()


@pytest.mark.parametrize("padding_mode", MODES)
@pytest.mark.parametrize(
    ("space", "kernel", "dilation", "chunks"),
    [
        ((40, 37), (3, 3), 1, (7, 16)),
        ((40, 37), (5, 3), (1, 2), (40, 9)),
        ((33, 21), (1, 5), 1, (4, 3)),
        ((9, 9), (3, 3), 1, (8, 8)),  # the last tile has one output
    ],
)
def test_tiles_of_winograd(
    padding_mode: Any, space: Any, kernel: Any, dilation: Any, chunks: Any
) -> None:
    x = RANDOM.standard_normal((2, 16, *space), dtype=np.float32)
    w = RANDOM.standard_normal((8, 16, *kernel), dtype=np.float32)
    options = {"padding": "same", "padding_mode": padding_mode, "dilation": dilation}
    options["method"] = "winograd"
    same(x, w, None, options, (1, 5, *chunks))


def test_a_choice_of_winograd_is_that_of_the_whole() -> None:
    x = RANDOM.standard_normal((1, 64, 56, 56), dtype=np.float32)
    w = RANDOM.standard_normal((64, 64, 3, 3), dtype=np.float32)
    assert faltung.plan_forward(faltung.parse("n1 c64>64 56x56 k3 p1")).reasons[0][1][0].name == (
        "winograd"
    )
    same(x, w, None, {"padding": 1}, (1, 64, (50, 6), (3, 53)))


def test_what_no_part_has_is_a_sum() -> None:
    x = RANDOM.standard_normal((1, 1, 200, 200), dtype=np.float32)
    w = RANDOM.standard_normal((1, 1, 41, 41), dtype=np.float32)
    same(x, w, None, {}, (1, 1, 64, 64), like={"precision": "strict"})
    fft = faltung.dask.conv(da.from_array(x, chunks=(1, 1, 100, 90)), w, method="fft").compute()
    expected = faltung.conv(x, w, precision="strict")
    assert 0 < abs(fft - expected).max() < 1e-5 * abs(expected).max()


@pytest.mark.parametrize("method", ["direct", "spatial"])
def test_a_sum_by_name(method: Any) -> None:
    x = RANDOM.standard_normal((1, 30, 31), dtype=np.float32)
    w = RANDOM.standard_normal((1, 1, 3, 3), dtype=np.float32)
    same(x, w, None, {"method": method, "padding": 1}, (1, 8, 1))


def test_chunks_of_the_result() -> None:
    x = da.zeros((4, 6, 100, 50), chunks=((1, 3), (2, 1, 3), (30, 70), (8, 8, 8, 26)))
    w = np.zeros((4, 3, 5, 5))
    whole = (1, 3), (4,), (30, 70), (8, 8, 8, 26)
    assert faltung.dask.conv(x, w[:, :1].repeat(6, 1), padding="same").chunks == whole
    made = faltung.dask.conv(x, w, groups=2, padding=((0, 0), (60, 0)), stride=(2, 1))
    assert made.chunks == ((1, 3), (2, 2), (15, 33), (8, 8, 8, 26, 26, 30))


def test_nothing_is_computed_until_it_is_asked_for() -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    x = da.map_blocks(fail, chunks=((1,), (5, 5)), dtype=np.float64, meta=np.empty((0, 0)))
    made = faltung.dask.conv(x, np.ones((1, 1, 3)))
    assert made.chunks == ((1,), (5, 3))


def test_the_graph_is_small_and_has_a_name() -> None:
    x = da.zeros((1, 1024, 1024), chunks=(1, 128, 128), dtype=np.float32)
    w = np.ones((1, 1, 31, 31), np.float32)
    made, again = (faltung.dask.conv(x, w, padding="same") for _ in range(2))
    assert made.name == again.name != faltung.dask.conv(x, 2 * w, padding="same").name
    own = dict(made.dask.layers[made.name])
    # A task for each chunk, the weights, and frames; a corner is cut from the strips beside it.
    assert 64 + 1 < len(own) <= 64 + 64 + 1
    blocks = [pickle.dumps(task) for key, task in own.items() if key[0] == made.name]
    assert max(map(len, blocks)) < 6000 < w.nbytes * 4
    frame = next(v for k, v in own.items() if "frame" in k[0])
    cut = frame[0](np.ones((1, 128, 128), np.float32))
    assert sum(strip.nbytes for strip in cut) < 128 * 128 * 4 / 2


def test_a_chunk_alone_is_not_copied() -> None:
    x = da.zeros((10, 10), chunks=(5, 10))
    blocks = Blocks(x, "frame")
    blocks.add("a", [(1, 5), (0, 10)], [Border("constant")] * 2)
    frames, made = blocks.tasks()
    (gather,), keys = made["a"]
    chunk = np.arange(50.0).reshape(5, 10)
    assert not frames
    assert keys == [(x.name, 0, 0)]
    assert np.shares_memory(gather([chunk]), chunk)


class Quantity:
    """An array with a unit, as pint and astropy wrap one."""

    def __init__(self, magnitude: Any) -> None:
        self.magnitude = magnitude


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((1, 5)), TypeError, r"^x=ndarray: must be a Dask array; use dask.array.asarray"),
        (Quantity(da.ones((1, 5))), TypeError, r"^x=Quantity: .* pass x.magnitude$"),
        (
            da.ones((1, 5), chunks=5, dtype=object),
            TypeError,
            r"^x.dtype=object: must be numbers; convert",
        ),
        (da.ma.masked_less(da.ones((1, 5)), 0), TypeError, r"not of MaskedArray; fill it first"),
        (da.ones((1, 5))[:, da.ones(5) > 0], ValueError, r"x.compute_chunk_sizes\(\) first"),
        (da.ones((1, 5), dtype=bool), TypeError, r"^x.dtype=bool: must be float32,"),
        (da.ones(5), ValueError, r"^x.shape=\(5,\): must have 3 dimensions"),
    ],
)
def test_what_is_refused(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        faltung.dask.conv(x, np.ones((1, 1, 3)))
    assert isinstance(raised.value, faltung.FaltungError)


def test_lazy_weights_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^weight: must not be lazy; pass weight.compute\(\)$"):
        faltung.dask.conv(da.ones((1, 5)), da.ones((1, 1, 3)))


def test_a_chunk_that_is_masked_after_all() -> None:
    x = da.ones((1, 5)).map_blocks(np.ma.asarray, meta=np.empty((0, 0)))
    with pytest.raises(TypeError, match=r"must be a NumPy array$"):
        faltung.dask.conv(x, np.ones((1, 1, 3))).compute()
