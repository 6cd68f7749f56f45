"""Fourier transforms as products with constant matrices: of an axis, and of frames of a signal."""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.conv import conv_spec
from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_linear import linear, weight
from faltung.graph.ops import Convolve
from faltung.onnx.arguments import Arguments, counted

Array = npt.NDArray[Any]

# Numbers of a matrix at most: a longer transform should be a fast one.
MOST_NUMBERS = 1 << 24


def _matrix(
    entries: int, parts: int, length: int, results: int, inverse: bool, real: bool
) -> Array:
    """(results, 2 or 1, entries, parts): what each result takes of each entry. real: the signal of
    half a spectrum, whose other half is its mirror image.
    """
    n, k = np.arange(min(entries, length)), np.arange(results)
    angle = 2 * np.pi * ((k[:, np.newaxis] * n) % length) / length
    cosine, sine = np.cos(angle), np.sin(angle) if inverse else -np.sin(angle)
    made = np.zeros((results, 1 if real else 2, entries, parts))
    made[:, 0, : len(n), 0] = cosine
    if parts == 2:
        made[:, 0, : len(n), 1] = -sine
    if not real:
        made[:, 1, : len(n), 0] = sine
        if parts == 2:
            made[:, 1, : len(n), 1] = cosine
    if real:  # every frequency but the first, and the last of an even length, is there twice
        twice = np.full(len(n), 2.0)
        twice[0] = 1
        twice[length // 2 + 1 :] = 0
        if length % 2 == 0 and len(n) > length // 2:
            twice[length // 2] = 1
        made[:, :, : len(n)] *= twice[:, np.newaxis]
    return made / length if inverse else made


def _whole(a: Arguments, number: int, default: int) -> int:
    if not a.has(number):
        return default
    found = a.array(number)
    if found.size != 1 or found.dtype.kind not in "iu":
        raise FaltungError(f"input {number}: must be one whole number")
    return int(found.ravel()[0])


def dft(a: Arguments) -> Tensor:
    """Along one axis, of real numbers or of pairs."""
    x = a.floats(0)
    if x.rank < 2 or x.shape[-1] not in (1, 2):
        raise FaltungError(f"input of shape {x.shape}: must end with 1 or 2")
    inverse, half = bool(a.whole("inverse", 0)), bool(a.whole("onesided", 0))
    named = a.whole("axis", 1) if a.opset < 20 else _whole(a, 2, -2)
    axis = counted(named, x.rank)
    if axis == x.rank - 1:
        raise FaltungError(f"axis={named}: must not be the last one")
    entries, parts = x.shape[axis], x.shape[-1]
    real = inverse and half
    length = _whole(a, 1, 2 * (entries - 1) if real else entries)
    if length < 1:
        raise FaltungError(f"dft_length={length}: must be at least 1")
    results = length // 2 + 1 if half and not inverse else length
    if 4 * results * entries > MOST_NUMBERS:
        raise Unsaid(f"a transform of {length} entries")
    w = _matrix(entries, parts, length, results, inverse, real)
    moved = x.moved(axis, x.rank - 2)
    flat = a.f.reshaped(moved, (*moved.shape[:-2], entries * parts))
    made = linear(a.f, flat, w.reshape(-1, entries * parts), None)
    made = a.f.reshaped(made, (*moved.shape[:-2], results, w.shape[1]))
    return made.moved(x.rank - 2, axis)


def stft(a: Arguments) -> Tensor:
    """Of frames of a signal (batch, length, 1 or 2), which may be weighted by a window."""
    x = a.floats(0)
    if x.rank == 2:
        x = a.f.reshaped(x, (*x.shape, 1))
    if x.rank != 3 or x.shape[2] not in (1, 2):
        raise FaltungError(f"signal of shape {x.shape}: must be (batch, length, 1 or 2)")
    step = _whole(a, 1, 0)
    window = a.array(2).ravel() if a.has(2) else None
    size = _whole(a, 3, len(window) if window is not None else 0)
    if step < 1 or not 1 <= size <= x.shape[1]:
        raise FaltungError(f"frame_step={step}, frame_length={size}: do not fit the signal")
    if window is not None and len(window) != size:
        raise FaltungError(f"window of {len(window)} numbers: must have {size}")
    results = size // 2 + 1 if a.whole("onesided", 1) else size
    parts = x.shape[2]
    if 4 * results * size > MOST_NUMBERS:
        raise Unsaid(f"frames of {size} entries")
    w = _matrix(size, parts, size, results, False, False)
    if window is not None:
        w = w * window[:, np.newaxis]
    taps = w.reshape(2 * results, size, parts).transpose(0, 2, 1)
    spec = conv_spec((1, parts, x.shape[1]), taps.shape, stride=step, dtype=a.f.dtype)
    operands = [a.f.map(x.transposed((0, 2, 1))), weight(a.f, taps, taps.shape)]
    made = a.f.node(Convolve(spec), operands, (2 * results, *spec.output), x.shape[0])
    turned = a.f.of_map(made, x.dtype).transposed((0, 2, 1))
    return a.f.reshaped(turned, (x.shape[0], *spec.output, results, 2))


TABLE = {"DFT": dft, "STFT": stft}
