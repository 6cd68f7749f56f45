"""Lines of samples through upsampling, FIR filters and downsampling: for every dtype and border."""

from functools import lru_cache
from typing import Any

import numpy as np

from faltung.geometry.border import Border
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.ops.arguments import Array
from faltung.ops.polyphase import Bank, bank, filter_phases

# Names of ``upfirdn`` for borders that repeat entries, and those that carry on from them.
REPEATING = {
    **{"symmetric": "symmetric", "reflect": "reflect"},
    **{"edge": "replicate", "wrap": "circular"},
}
EXTENSIONS = ("constant", *REPEATING, "smooth", "antisymmetric", "antireflect", "line")
# Kernels of at most so many bytes are taken apart once for all calls.
KEPT_BYTES = 1 << 16
# Real numbers of the precision of complex ones.
REAL = {"F": "f", "D": "d", "G": "g"}


def output_length(taps: int, samples: int, up: int, down: int) -> int:
    """How many outputs a signal has until the last of its samples has left the filter."""
    return ((samples - 1) * up + taps - 1) // down + 1 if samples else 0


@dataclass(frozen=True)
class Phases:
    """Kernels of one length, ready for lines of ``dtype``; if ``split``, the bank holds all real
    parts and then all imaginary ones.
    """

    bank: Bank
    dtype: np.dtype[Any]
    split: bool

    @classmethod
    def of(cls, kernels: Array, dtype: np.dtype[Any], up: int, down: int) -> "Phases":
        """Kernels (kernels, taps) for results of ``dtype``; short ones are remembered."""
        if kernels.nbytes > KEPT_BYTES or kernels.dtype.char not in "fdFD":
            return cls.made(kernels, dtype, up, down)
        words = kernels.tobytes(), kernels.dtype.char, kernels.shape
        return _remembered(*words, dtype.char, up, down)

    @classmethod
    def made(cls, kernels: Array, dtype: np.dtype[Any], up: int, down: int) -> "Phases":
        """The same, not remembered."""
        real = np.dtype(REAL.get(dtype.char, dtype.char))
        split = kernels.dtype.kind == "c"
        if split:
            kernels = np.concatenate([kernels.real, kernels.imag])
        return cls(bank(kernels.astype(real), up, down), dtype, split)

    def lines(self, x: Array, outputs: int, *, first: int = 0, at: int = 0) -> Array:
        """Outputs (kernels, lines, outputs) from number ``first`` on, of lines (lines, samples)
        that begin with sample number ``at``; zeros stand before and after.
        """
        real, lines = self.bank.weights.dtype, x.shape[0]
        parts = 2 if x.dtype.kind == "c" else 1
        if parts == 2:
            x = np.concatenate([x.real, x.imag])
        x = np.ascontiguousarray(x, real)
        run = filter_phases if real.char in "fd" else tap_by_tap
        made = run(x, self.bank, outputs, first=first, at=at)
        if parts == 1 and not self.split:
            return made.astype(self.dtype, copy=False)
        sums = made.reshape(
            1 + self.split, made.shape[0] // (1 + self.split), parts, lines, outputs
        )
        out = np.zeros((sums.shape[1], lines, outputs), self.dtype)
        out.real = sums[0, :, 0]
        if parts == 2:
            out.imag = sums[0, :, 1]
        if self.split:
            out.imag += sums[1, :, 0]
            if parts == 2:
                out.real -= sums[1, :, 1]
        return out


@lru_cache(maxsize=64)
def _remembered(
    taps: bytes, kind: str, shape: tuple[int, ...], dtype: str, up: int, down: int
) -> Phases:
    kernels = np.frombuffer(taps, kind).reshape(shape)
    return Phases.made(kernels, np.dtype(dtype), up, down)


def tap_by_tap(x: Array, kernels: Bank, outputs: int, *, first: int, at: int) -> Array:
    """``filter_phases`` in NumPy's arithmetic, for numbers wider than kernels hold."""
    lines, size = x.shape
    up, down, taps = kernels.up, kernels.down, kernels.taps
    out = np.zeros((kernels.weights.shape[0], lines, outputs), x.dtype)
    periods = -(-outputs // up) + 1
    # Zeros around the samples, so that every output finds all of its taps.
    start = (first // up) * down - taps + 1 - at
    stop = start + (periods + 1) * down + int(kernels.offsets[-1]) + taps
    before, after = max(0, -start), max(0, stop - size)
    wide = np.pad(x, ((0, 0), (before, after)))
    for n in range(min(up, outputs)):
        period, place = divmod(first + n, up)
        begin = period * down + int(kernels.offsets[place]) - taps + 1 - at + before
        many = len(range(n, outputs, up))
        for t in range(taps):
            part = wide[:, begin + t : begin + t + (many - 1) * down + 1 : down]
            out[..., n::up] += kernels.weights[:, place, t, np.newaxis, np.newaxis] * part
    return out


def extended(x: Array, before: int, after: int, mode: str, value: Any) -> Array:
    """Lines with ``before`` and ``after`` more entries, as ``upfirdn`` continues a signal."""
    size = x.shape[-1]
    places = np.concatenate([np.arange(-before, 0), np.arange(size, size + after)])
    if not places.size:
        return x
    if mode == "constant":
        beyond = np.full((*x.shape[:-1], places.size), value, x.dtype)
    elif mode in REPEATING:
        beyond = x[..., Border(REPEATING[mode]).sources(places.tolist(), size)]
    else:
        beyond = _carried_on(x, places, mode).astype(x.dtype, copy=False)
    return np.concatenate([beyond[..., :before], x, beyond[..., before:]], axis=-1)


def _carried_on(x: Array, places: Array, mode: str) -> Array:
    """What stands at ``places`` outside the lines, in the modes that compute it."""
    size = x.shape[-1]
    start, end = x[..., :1], x[..., -1:]
    if mode == "antisymmetric":
        turns, at = np.divmod(places, size)
        odd = turns % 2 != 0
        signs = np.where(odd, -1, 1).astype(x.dtype)
        return np.asarray(x[..., np.where(odd, size - 1 - at, at)] * signs)
    if size == 1:
        return np.repeat(start, places.size, axis=-1)
    if mode == "antireflect":
        turns, at = np.divmod(places, size - 1)
        odd = turns % 2 != 0
        lift = (end - start) * (turns - odd).astype(x.dtype)
        return np.asarray(np.where(odd, 2 * end - x[..., size - 1 - at], x[..., at]) + lift)
    left = places < 0
    if mode == "line":
        slopes = (end - start) / (size - 1), (end - start) / (size - 1)
    else:  # smooth
        slopes = x[..., 1:2] - start, end - x[..., -2:-1]
    steps = np.where(left, places, places - (size - 1)).astype(x.dtype)
    return np.asarray(np.where(left, start + slopes[0] * steps, end + slopes[1] * steps))


def extension_of(name: str, mode: object, words: tuple[str, ...] = ()) -> str:
    """One of ``EXTENSIONS`` or of ``words``."""
    found = mode.lower() if isinstance(mode, str) else ""
    if found not in EXTENSIONS and found not in words:
        hint = {"zeros": "constant", "replicate": "edge", "circular": "wrap", "nearest": "edge"}
        meant = f"; {hint[found]!r} is meant" if found in hint else ""
        raise FaltungError(
            f"{name}={mode!r}: must be one of: {', '.join((*words, *EXTENSIONS))}{meant}"
        )
    return found
