"""Normalisation of rows against NumPy: short and long rows, any pitch, far from zero, in place."""

import numpy as np
import pytest
from grid import MACHINES, grid
from methods.maps import Arrays, anywhere, laid, pitch

from faltung.jit.compile import object_code
from faltung.jit.target import host
from faltung.machine.table import AVX512, NEON, Machine
from faltung.methods.base.step import Matrix, Work
from faltung.methods.rows.normalise import NormaliseKernel, normalise


def run(
    x: np.ndarray,
    out: np.ndarray,
    machine: Machine,
    *,
    gain: np.ndarray | None = None,
    shift: np.ndarray | None = None,
    stored: tuple[np.ndarray, np.ndarray] | None = None,
    centred: bool = True,
    threads: int = 2,
) -> NormaliseKernel:
    arrays, work = Arrays(), Work()
    mean, rstd = stored or (None, None)
    normalise(
        work,
        x.dtype.name,
        machine,
        rows=len(x),
        channels=x.shape[1],
        x=Matrix(arrays.operand(x), pitch(x)),
        out=Matrix(arrays.operand(out), pitch(out)),
        eps=1e-5,
        gain=None if gain is None else arrays.operand(gain),
        shift=None if shift is None else arrays.operand(shift),
        mean=None if mean is None or not centred else Matrix(arrays.operand(mean), pitch(mean)),
        rstd=None if rstd is None else Matrix(arrays.operand(rstd), pitch(rstd)),
        centred=centred,
        title="test",
    )
    (step,) = arrays.run(work, machine, threads, anywhere)
    assert isinstance(step.recipe, NormaliseKernel)
    return step.recipe


def meant(x: np.ndarray, centred: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    wide = x.astype(np.float64)
    mean = wide.mean(1, keepdims=True) * centred
    rstd = 1 / np.sqrt(((wide - mean) ** 2).mean(1, keepdims=True) + 1e-5)
    return (wide - mean) * rstd, mean, rstd


@grid(
    channels=[1, 3, 16, 17, 40, 100, 257, 1000],
    dtype=["float32", "float64"],
    machine=MACHINES,
    centred=[True, False],
    every=2,
)
def test_rows(channels: int, dtype: str, machine: Machine, centred: bool) -> None:
    rng = np.random.default_rng(channels)
    x = (rng.normal(size=(37, channels)) + 3).astype(dtype)
    gain, shift = rng.normal(size=(2, channels)).astype(dtype)
    want, mean, rstd = meant(x, centred)
    tolerance = 3e-6 if dtype == "float32" else 1e-13
    for gap in (0, 3):
        source, out = laid(x, channels + gap), laid(np.zeros_like(x), channels + 2 * gap)
        stored = laid(np.zeros((37, 1), dtype), 1 + gap), laid(np.zeros((37, 1), dtype), 1)
        run(source, out, machine, gain=gain, shift=shift, stored=stored, centred=centred)
        np.testing.assert_allclose(out, want * gain + shift, rtol=tolerance, atol=tolerance * 4)
        np.testing.assert_allclose(stored[0], mean, rtol=tolerance)  # without one it stays 0
        np.testing.assert_allclose(stored[1], rstd, rtol=tolerance)
        np.testing.assert_array_equal(source, x)
        between = np.lib.stride_tricks.as_strided(out, (36, channels + 2 * gap), out.strides)
        assert (between[:, channels:] == -77).all()
        for vectors in ({"gain": gain}, {"shift": shift}, {}):
            made = laid(x, channels + gap)
            run(made, made, machine, centred=centred, **vectors)
            scaled = want * vectors.get("gain", 1) + vectors.get("shift", 0)
            np.testing.assert_allclose(made, scaled, rtol=tolerance, atol=tolerance * 4)


@pytest.mark.parametrize("channels", [96, 3000])
def test_far_from_zero(channels: int, machine: Machine) -> None:
    """Nothing cancels but what float32 has rounded off already."""
    x = (np.random.default_rng(0).normal(size=(50, channels)) + 1e4).astype(np.float32)
    out = np.zeros_like(x)
    run(x, out, machine)
    np.testing.assert_allclose(out, meant(x)[0], rtol=2e-3, atol=2e-3)


def test_rows_have_the_same_bits_anywhere(machine: Machine) -> None:
    x = np.random.default_rng(1).normal(size=(999, 70)).astype(np.float32)
    found = []
    for threads in (1, 2, 5):
        out = np.zeros_like(x)
        run(x, out, machine, threads=threads)
        found.append(out)
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()
    alone = np.zeros((1, 70), np.float32)
    run(x[500:501].copy(), alone, machine)
    assert alone.tobytes() == out[500:501].tobytes()


def test_short_rows_stay_in_registers() -> None:
    x = np.zeros((4, host().lanes("float32") * host().registers // 2), np.float32)
    assert run(x, x.copy(), host()).held
    x = np.zeros((4, x.shape[1] + 1), np.float32)
    assert not run(x, x.copy(), host()).held


@pytest.mark.parametrize("target", [AVX512, NEON], ids=lambda row: row.name)
@pytest.mark.parametrize("held", [0, 3])
def test_compiles_where_it_cannot_run(target: Machine, held: int) -> None:
    kernel = NormaliseKernel("float32", held, 1 if held else 0, True, True, True, True)
    assert object_code(kernel, target)
