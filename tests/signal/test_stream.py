"""Streams: the bits of the whole signal, whatever the blocks."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import drawn

from faltung import FaltungError, get_threads, set_threads, signal
from faltung.signal import partitions

LENGTHS = st.lists(st.integers(0, 400), min_size=1, max_size=12)


def cut(x: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    """Blocks of these lengths, and the rest."""
    return np.split(x, np.minimum(np.cumsum(lengths), x.shape[-1]), axis=-1)


@settings(deadline=None, max_examples=60)
@given(
    lengths=LENGTHS,
    taps=st.sampled_from([1, 2, 31, 256, 257, 700, 2500]),
    dtype=st.sampled_from(["float32", "float64", "complex64"]),
    channels=st.sampled_from([(), (2,), (1, 3)]),
    kernels=st.sampled_from([0, 1, 3]),
    threads=st.sampled_from([1, 2]),
)
def test_blocks_of_any_length(lengths, taps, dtype, channels, kernels, threads):
    rng = np.random.default_rng(taps + sum(lengths))
    x = drawn(rng, (*channels, 2000), dtype)
    kernel = drawn(rng, (kernels, taps) if kernels else (taps,), dtype)
    stream = signal.Stream(kernel, channels=channels)
    before = get_threads()
    set_threads(threads)
    try:
        made = [stream(block) for block in cut(x, lengths)]
    finally:
        set_threads(before)
    assert [part.shape[-1] for part in made] == [b.shape[-1] for b in cut(x, lengths)]
    whole = signal.Stream(kernel, channels=channels)
    joined, expected = np.concatenate(made, axis=-1), whole(x)
    assert joined.tobytes() == expected.tobytes()
    assert stream.flush().tobytes() == whole.flush().tobytes()
    assert stream(x).tobytes() == expected.tobytes()  # from its start again
    for k in range(max(1, kernels)):
        one = kernel[k] if kernels else kernel
        alone = signal.lfilter(one, np.ones(1, dtype), x)
        assert np.array_equal(expected[k] if kernels else expected, alone)


@settings(deadline=None, max_examples=60)
@given(
    lengths=LENGTHS,
    rates=st.sampled_from([(1, 3), (3, 1), (2, 3), (7, 5), (160, 147), (147, 160)]),
    dtype=st.sampled_from(["float32", "float64", "complex128"]),
)
def test_other_rates(lengths, rates, dtype):
    rng = np.random.default_rng(sum(lengths))
    x, kernel = drawn(rng, (2, 1500), dtype), drawn(rng, (90,), dtype)
    stream = signal.Stream(kernel, *rates, channels=(2,))
    made = [stream(block) for block in cut(x, lengths)]
    full = (1499 * rates[0] + 89) // rates[1] + 1
    assert stream.results == min(-(-1500 * rates[0] // rates[1]), full)
    made.append(stream.flush())
    whole = signal.upfirdn(kernel, x, *rates)
    assert np.concatenate(made, axis=-1).tobytes() == whole.tobytes()
    resampler = signal.Stream.resampler(*rates, channels=(2,), dtype=dtype)
    made = [*(resampler(block) for block in cut(x, lengths)), resampler.flush()]
    whole = signal.resample_poly(x, *rates, axis=1)
    assert np.concatenate(made, axis=-1).tobytes() == whole.tobytes()


def test_nothing_waits():
    """A result leaves with the last sample that it reads, also by long kernels."""
    stream = signal.Stream(np.arange(1.0, 3001.0))
    assert stream.latency == 0
    assert stream([1.0]).round(6).tolist() == [1.0]
    assert stream(np.zeros(999))[-1].round(6) == 1000
    resampler = signal.Stream.resampler(2, 1)
    assert resampler(np.ones(resampler.latency)).size == 0
    assert resampler([1.0]).size > 0


@pytest.mark.parametrize("taps", [255, 256, 300, 2048, 2049, 20_000])
def test_long_kernels_against_plain_sums(taps):
    rng = np.random.default_rng(taps)
    x, kernel = rng.standard_normal(30_000), rng.standard_normal(taps)
    made = signal.Stream(kernel)(x)
    expected = signal.fftconvolve(x, kernel)[: x.size]
    assert np.abs(made - expected).max() < 1e-12 * np.abs(expected).max()


def test_large_blocks_are_cut_for_memory(monkeypatch):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 9000)), rng.standard_normal(3000)
    whole = signal.Stream(kernel, channels=(2,))(x)
    monkeypatch.setattr(partitions, "AT_ONCE", 512)
    assert np.array_equal(signal.Stream(kernel, channels=(2,))(x), whole)


@pytest.mark.parametrize("taps", [31, 1000])
def test_copies_and_pickles_go_on_by_themselves(taps):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal(1000), rng.standard_normal(taps)
    stream = signal.Stream(kernel)
    stream(x[:333])
    twin, kept = stream.copy(), pickle.loads(pickle.dumps(stream))
    expected = stream(x[333:])
    assert np.array_equal(twin(x[333:]), expected)
    assert np.array_equal(kept(x[333:]), expected)
    assert kept.samples == kept.results == 1000


def test_a_block_that_is_refused_changes_nothing():
    stream = signal.Stream(np.ones(3, np.float32), channels=(2,))
    stream(np.ones((2, 5), np.float32))
    with pytest.raises(FaltungError, match=r"block\.shape=\(5,\)"):
        stream(np.ones(5))
    with pytest.raises(TypeError, match="complex"):
        stream(np.ones((2, 5), complex))
    assert stream(np.ones((2, 1), np.float32)).tolist() == [[3.0], [3.0]]


def test_refusals():
    with pytest.raises(FaltungError, match=r"kernel\.shape"):
        signal.Stream([])
    with pytest.raises(FaltungError, match="up=0"):
        signal.Stream([1.0], 0)
    with pytest.raises(FaltungError, match="channels"):
        signal.Stream([1.0], channels=(0,))
