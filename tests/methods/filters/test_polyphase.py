"""Polyphase filters on every machine that this processor can be, against their definition."""

import numpy as np
import pytest

from faltung.ops import polyphase
from faltung.ops.polyphase import bank, filter_phases


def by_definition(x, h, up, down, outputs):
    """Zeros put in, filtered, every ``down``-th kept."""
    out = np.zeros((len(h), len(x), outputs), np.float64)
    for k, taps in enumerate(h):
        for n, line in enumerate(x):
            wide = np.zeros(line.size * up)
            wide[::up] = line
            made = np.convolve(wide, taps)[::down][:outputs]
            out[k, n, : made.size] = made
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rates", [(1, 1), (2, 1), (1, 4), (5, 3), (160, 147), (1000, 999)])
def test_on_every_machine(machine, dtype, rates, monkeypatch):
    """Signals shorter and longer than a segment, several lines and kernels, one thread or two."""
    rng = np.random.default_rng(0)
    long = 9000 if rates[0] < 500 else 1200
    for size, lines, kernels, taps in ((1, 1, 1, 1), (50, 2, 2, 77), (long, 2, 1, 1001)):
        x = rng.integers(-9, 9, (lines, size)).astype(dtype)
        h = rng.integers(-9, 9, (kernels, taps)).astype(dtype)
        outputs = ((size - 1) * rates[0] + taps - 1) // rates[1] + 1
        phases = bank(h, *rates)
        made = filter_phases(x, phases, outputs)
        assert np.array_equal(made, by_definition(x, h, *rates, outputs))
        monkeypatch.setattr(polyphase, "MIN_PARALLEL_CYCLES", 0.0)
        assert np.array_equal(filter_phases(x, phases, outputs), made)
        monkeypatch.undo()


@pytest.mark.parametrize("seed", range(40))
def test_bits_do_not_depend_on_where_the_signal_is_cut(seed, machine):
    rng = np.random.default_rng(seed)
    up, down = (int(n) for n in rng.integers(1, 12, 2))
    dtype = ["float32", "float64"][seed % 2]
    x = rng.standard_normal((2, 2000)).astype(dtype)
    phases = bank(rng.standard_normal((1, 60)).astype(dtype), up, down)
    outputs = 2000 * up // down
    whole = filter_phases(x, phases, outputs)
    first = int(rng.integers(0, outputs))
    at = max(0, first * down // up - phases.taps + 1)
    rest = filter_phases(x[:, at:].copy(), phases, outputs - first, first=first, at=at)
    assert rest.tobytes() == whole[..., first:].tobytes()
