"""Long causal filters without latency: the late taps as spectra of blocks at fixed positions.

The taps from ``block`` on, up to the next level's, meet only blocks of samples that are complete
when a result is asked for: so nothing has to wait, and short blocks serve early taps, long ones
late taps (W. G. Gardner, "Efficient convolution without input-output delay", 1995). Blocks begin at
multiples of their length in the whole signal, whatever came in at once; every transform is that of
one block, and spectra are added up in one order by operations that round each number by itself. So
the bits of a result depend on its number in the signal alone.
"""

from dataclasses import field, replace
from typing import Any

import numpy as np

from faltung.geometry.record import dataclass
from faltung.ops.arguments import Array

# Taps that are summed directly, also the shortest block.
HEAD = 256
# How much longer the blocks of a level are than those before, and the longest.
GROWTH, LONGEST = 8, 1 << 16
# Samples that are transformed at once, at the most, all lines together: for memory.
AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Level:
    """Taps ``block`` and later by partitions of ``block`` taps: the filter and what it remembers.

    spectra: of the partitions, (kernels, partitions, frequencies), real and imaginary apart. known:
    those of the last blocks, (lines, partitions - 1, frequencies), the same. before, part: the
    samples of the last complete block, and of that which is not complete. tail: what earlier blocks
    add to the results of the block that is not complete.
    """

    block: int
    spectra: tuple[Array, Array]
    known: tuple[Array, Array]
    before: Array
    part: Array
    tail: Array

    def __call__(self, x: Array) -> tuple[Array, "Level"]:
        """What this level adds to the results of lines ``x``, and the level afterwards."""
        level, made = self, []
        step = max(self.block, AT_ONCE // x.shape[0])
        for begin in range(0, x.shape[1], step):
            more, level = level._some(x[:, begin : begin + step])
            made.append(more)
        return np.concatenate(made, axis=-1), level

    def _some(self, x: Array) -> tuple[Array, "Level"]:
        size, held = self.block, self.part.shape[1]
        samples = np.concatenate([self.part, x], axis=1)
        lines, complete = samples.shape[0], samples.shape[1] // size
        if not complete:
            made = self.tail[..., held : held + x.shape[1]]
            return made, replace(self, part=samples)
        whole = samples[:, : complete * size]
        run = np.concatenate([self.before, whole], axis=1)
        pairs = np.concatenate(
            [
                run[:, : complete * size].reshape(lines, complete, size),
                whole.reshape(lines, complete, size),
            ],
            axis=-1,
        )
        spectrum = np.fft.rfft(pairs)
        real = np.concatenate([self.known[0], spectrum.real.astype(x.dtype, copy=False)], axis=1)
        imag = np.concatenate([self.known[1], spectrum.imag.astype(x.dtype, copy=False)], axis=1)
        new = self._tails(real, imag, complete)
        tails = np.concatenate([self.tail, new], axis=-1)
        kept = self.spectra[0].shape[1] - 1
        at = real.shape[1] - kept
        after = replace(
            self,
            known=(real[:, at:].copy(), imag[:, at:].copy()),
            before=whole[:, -size:].copy(),
            part=samples[:, complete * size :].copy(),
            tail=tails[..., -size:].copy(),
        )
        return tails[..., held : held + x.shape[1]], after

    def _tails(self, real: Array, imag: Array, complete: int) -> Array:
        """What is known of the results of the ``complete`` blocks that come next."""
        partitions = self.spectra[0].shape[1]
        shape = (self.spectra[0].shape[0], real.shape[0], complete, real.shape[2])
        sums = np.zeros((2, *shape), real.dtype)
        for p in range(partitions):
            w = [part[:, np.newaxis, p, np.newaxis] for part in self.spectra]
            at = partitions - 1 - p
            x = real[:, at : at + complete], imag[:, at : at + complete]
            sums[0] += x[0] * w[0]
            sums[0] -= x[1] * w[1]
            sums[1] += x[0] * w[1]
            sums[1] += x[1] * w[0]
        spectrum = np.empty(shape, np.result_type(real, np.complex64))
        spectrum.real, spectrum.imag = sums
        tails = np.fft.irfft(spectrum, 2 * self.block)[..., self.block :]
        return tails.reshape(*shape[:2], -1).astype(real.dtype, copy=False)


def levels(kernels: Array, lines: int) -> "Levels":
    """The taps of real kernels (kernels, taps) from ``HEAD`` on."""
    made, block = [], HEAD
    while block < kernels.shape[1]:
        following = block * GROWTH
        stop = following if following <= LONGEST else kernels.shape[1]
        made.append(_level(kernels[:, block:stop], block, lines))
        block = max(stop, following)
    return Levels(tuple(made))


def _level(kernels: Array, block: int, lines: int) -> Level:
    count, taps = kernels.shape
    partitions = -(-taps // block)
    padded = np.zeros((count, partitions * block), kernels.dtype)
    padded[:, :taps] = kernels
    cut = np.zeros((count, partitions, 2 * block), kernels.dtype)
    cut[..., :block] = padded.reshape(count, partitions, block)
    spectrum = np.fft.rfft(cut)
    dtype = kernels.dtype
    known = np.zeros((lines, partitions - 1, block + 1), dtype)
    return Level(
        block,
        (spectrum.real.astype(dtype), spectrum.imag.astype(dtype)),
        (known, known),
        np.zeros((lines, block), dtype),
        np.zeros((lines, 0), dtype),
        np.zeros((count, lines, block), dtype),
    )


@dataclass(frozen=True)
class Levels:
    """All levels of a bank."""

    each: tuple[Level, ...] = field(default=())

    def __call__(self, x: Array) -> tuple[Any, "Levels"]:
        """What all levels add to the results of lines ``x`` (0 for none), and they afterwards."""
        if not self.each or not x.shape[1]:
            return 0, self
        made, after = zip(*(level(x) for level in self.each), strict=True)
        total = made[0]
        for more in made[1:]:
            total = total + more
        return total, Levels(after)
