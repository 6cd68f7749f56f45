"""Conv: packed once, called often, from many threads, before and after a fork."""

import os
import pickle
import threading

import numpy as np
import pytest

import faltung
from faltung.jit.target import use
from faltung.ops.layer import KEPT
from faltung.ops.run import Recent


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-6, 7, shape).astype(np.float32)


def test_keeps_its_own_weights() -> None:
    w, bias, x = numbers(8, 4, 3, 3), numbers(8), numbers(2, 4, 10, 10)
    layer = faltung.Conv(w, bias, padding=1)
    want = faltung.conv(x, w, bias, padding=1)
    w[:], bias[:] = 0, 0
    np.testing.assert_array_equal(layer(x), want)
    assert not layer.weight.flags.writeable
    with pytest.raises(ValueError):
        layer.bias[0] = 1  # type: ignore[index]


def test_any_size_and_pickle() -> None:
    w = numbers(20, 4, 3, 3)
    layer = pickle.loads(pickle.dumps(faltung.Conv(w, padding="same", channels_last=True)))
    for size in [*range(1, 40), 64, 100]:
        x = numbers(1, size, size + 1, 4)
        want = faltung.conv(x, w, padding="same", channels_last=True)
        np.testing.assert_array_equal(layer(x), want)
    assert "padding='same'" in repr(layer)


def test_packs_once_for_batches_of_any_size() -> None:
    layer = faltung.Conv(numbers(32, 16, 3, 3), padding=1, channels_last=True)
    for batch in (1, 2, 5):
        layer(numbers(batch, 12, 12, 16))
    assert len(layer._packed) == 1


def test_plans_are_kept_until_there_are_too_many() -> None:
    layer = faltung.Conv(numbers(2, 1, 3))
    for size in range(3, 3 + KEPT):
        layer(numbers(1, 1, size))
    assert len(layer._plans) == KEPT
    layer(numbers(1, 1, 2 * KEPT))
    assert len(layer._plans) == KEPT

    recent = Recent(3)
    made = [recent.get(i, object) for i in range(3)]  # type: ignore[arg-type]
    assert [recent.get(i, object) for i in range(3)] == made  # type: ignore[arg-type]


def test_ten_threads_at_once() -> None:
    w = numbers(32, 16, 3, 3)
    layer = faltung.Conv(w, padding=1)
    inputs = [numbers(1 + i % 3, 16, 20 + i, 30) for i in range(10)]
    wants = [faltung.conv(x, w, padding=1) for x in inputs]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(40):
            if not np.array_equal(layer(inputs[i]), wants[i]):
                wrong.append(i)
            if not np.array_equal(faltung.conv(inputs[i], w, padding=1), wants[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork() -> None:
    x, w = numbers(2, 32, 40, 40), numbers(64, 32, 3, 3)
    layer = faltung.Conv(w)
    want = layer(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(layer(x), want) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(layer(x), want)


def test_bad_input() -> None:
    layer = faltung.Conv(numbers(8, 4, 3, 3))
    with pytest.raises(TypeError, match=r"x\.dtype=float64"):
        layer(np.zeros((1, 4, 9, 9)))
    with pytest.raises(ValueError, match=r"x.shape=\(4, 9\)"):
        layer(numbers(4, 9))
    with pytest.raises(ValueError, match=r"bias\.shape"):
        faltung.Conv(numbers(8, 4, 3, 3), numbers(4))


def test_second_calls_check_as_much_as_first_ones() -> None:
    """What a layout was found to be is remembered, not that an array has it."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 2, 3, 3)).astype(np.float32)
    layer = faltung.Conv(w, padding=1, precision="strict")
    x = rng.standard_normal((2, 2, 6, 6)).astype(np.float32)
    want, out = layer(x), np.empty((2, 3, 6, 6), np.float32)
    for _ in range(3):
        assert layer(x, out=out) is out
        assert np.array_equal(out, want)
        assert np.array_equal(layer(x), want)
        with pytest.raises(TypeError, match="must be that of the other arrays"):
            layer(x.astype(np.float64))
        with pytest.raises(ValueError, match=r"out\.shape"):
            layer(x, out=out[:1])
        frozen = out.view()
        frozen.flags.writeable = False
        with pytest.raises(ValueError, match="must be writable"):
            layer(x, out=frozen)
        room = np.zeros(2 * 3 * 36, np.float32)
        inside = room[: x.size].reshape(x.shape)
        inside[...] = x
        with pytest.raises(ValueError, match="must not overlap x"):
            layer(inside, out=room.reshape(out.shape))
        crooked = np.frombuffer(b"?" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
        assert np.array_equal(layer(crooked), want)
        with use("generic"):
            assert np.allclose(layer(x), want, atol=1e-5)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(layer(turned), want)


def test_complex_numbers_apart_by_half_of_one() -> None:
    """Aligned for NumPy, no whole number of entries apart: copied, at the second call too."""
    record = np.zeros((1, 1, 8, 8), [("a", "f4"), ("c", "c8")])
    record["c"] = numbers(1, 1, 8, 8)
    layer = faltung.Conv(np.ones((1, 1, 3, 3), np.complex64))
    want = layer(record["c"].copy())
    for _ in range(2):
        np.testing.assert_array_equal(layer(record["c"]), want)
