"""``Stream``: FIR filters and resampling of a signal that arrives in blocks of any length."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from faltung.geometry.check import integers
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.ops.arguments import Array
from faltung.signal.arguments import array
from faltung.signal.partitions import HEAD, Levels, levels
from faltung.signal.phases import Phases, output_length
from faltung.signal.resample import resampler, result_of


class Stream:
    """A causal FIR filter, or several, for a signal that arrives block by block.

    The results of all blocks, one after the other, are bit for bit those of the whole signal at
    once: ``lfilter(kernel, 1, x)``, or with rates ``upfirdn(kernel, x, up, down)``.

    Parameters
    ----------
    kernel : array_like, ``(taps,)`` or ``(kernels, taps)``
        With several kernels, results have an axis of them in front.
    up, down : int
        Rates: results come ``up / down`` times as fast as samples.
    channels : sequence of int
        The shape of what arrives at once: blocks are ``(*channels, samples)``.
    dtype : dtype, optional
        Of the samples; that of the taps by default. Blocks must fit into it without loss.

    Attributes
    ----------
    samples, results : int
        How many samples have come in and how many results have gone out since the start.
    latency : int
        By how many results what comes out is later than what goes in: 0, because a result leaves
        with the last sample that it reads. (That a linear-phase filter delays the signal by half
        its taps is the filter's doing; for a resampler, ``latency`` is that delay, and is in
        samples.)

    Raises
    ------
    ValueError, TypeError
        Shapes, rates or dtypes that do not fit.

    Notes
    -----
    More than 256 taps, without rates, are summed as spectra of partitions that begin at fixed
    positions of the signal; the first 256 taps are plain sums, so that nothing waits for a block to
    be full. A stream can be copied (``copy``, a snapshot) and pickled at any time. A NaN that has
    come in stays in partitions for as long as their taps are.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import signal
    >>> x = np.random.default_rng(0).standard_normal(1000)
    >>> kernel = np.hanning(31)
    >>> stream = signal.Stream(kernel)
    >>> blocks = [stream(x[:7]), stream(x[7:7]), stream(x[7:600]), stream(x[600:])]
    >>> bool((np.concatenate(blocks) == signal.lfilter(kernel, 1, x)).all())
    True
    >>> stream.flush().shape  # what the last samples still add to
    (30,)
    """

    def __init__(
        self,
        kernel: ArrayLike,
        up: int = 1,
        down: int = 1,
        *,
        channels: Sequence[int] = (),
        dtype: DTypeLike | None = None,
    ) -> None:
        taps = array("kernel", kernel)
        if taps.ndim not in (1, 2) or not taps.size:
            raise FaltungError(
                f"kernel.shape={taps.shape}: must be (taps,) or (kernels, taps), not empty"
            )
        self.up, self.down = integers("up, down", (up, down))
        if self.up < 1 or self.down < 1:
            raise FaltungError(f"up={up}, down={down}: must be at least 1")
        self.channels = tuple(integers("channels", channels)) if len(channels) else ()
        if any(n < 1 for n in self.channels):
            raise FaltungError(f"channels={self.channels}: every size must be at least 1")
        given = taps if dtype is None else np.empty(0, dtype)
        self._in = result_of(given)
        self._out = result_of(given, taps)
        self._taken = (Ellipsis,) if taps.ndim == 2 else (0,)
        self._taps = np.atleast_2d(taps).astype(np.result_type(taps, np.float32))
        self._skip, self._resamples, self.latency = 0, False, 0
        self._lines = int(np.prod(self.channels, dtype=np.int64))
        self._begin()

    @classmethod
    def resampler(
        cls,
        up: int,
        down: int,
        *,
        window: Any = ("kaiser", 5.0),
        channels: Sequence[int] = (),
        dtype: DTypeLike = np.float64,
    ) -> "Stream":
        """A stream whose results, with ``flush`` at the end, are those of ``resample_poly``.

        Parameters
        ----------
        up, down : int
        window : as for ``resample_poly``
        channels, dtype : as for ``Stream``

        Returns
        -------
        Stream
            ``latency`` samples have to come in before the first result goes out: half the filter.

        Raises
        ------
        ValueError, TypeError
            As ``resample_poly`` and ``Stream``.

        Examples
        --------
        >>> import numpy as np
        >>> from faltung import signal
        >>> x = np.random.default_rng(0).standard_normal(4410)
        >>> stream = signal.Stream.resampler(160, 147)
        >>> parts = [stream(x[:1000]), stream(x[1000:]), stream.flush()]
        >>> bool((np.concatenate(parts) == signal.resample_poly(x, 160, 147)).all())
        True
        """
        up, down, taps, first = resampler(up, down, window, np.dtype(dtype))
        made = cls(taps, up, down, channels=channels, dtype=dtype)
        made._skip, made._resamples = first, True
        made.latency = first * down // up
        made._begin()
        return made

    def _begin(self) -> None:
        """The state before the first sample."""
        head = self._taps
        self._levels = Levels()
        if self.up == self.down == 1 and self._taps.shape[1] > HEAD and _is_real(self._out):
            head = self._taps[:, :HEAD]
            self._levels = levels(self._taps.astype(self._out), self._lines)
        self._phases = Phases.of(head, self._out, self.up, self.down)
        self._held = np.zeros((self._lines, 0), self._in)
        self.samples, self._next = 0, self._skip

    @property
    def results(self) -> int:
        return self._next - self._skip

    def __call__(self, block: ArrayLike) -> Array:
        """The results that can be told now.

        Parameters
        ----------
        block : array_like, ``(*channels, samples)``
            Any number of samples, also none.

        Returns
        -------
        ndarray, ``(*kernels, *channels, results)``
            Without rates as many results as samples.

        Raises
        ------
        ValueError, TypeError
            A block of another shape, or of a dtype that does not fit; the stream is as before.
        """
        samples = array("block", block)
        if samples.ndim != len(self.channels) + 1 or samples.shape[:-1] != self.channels:
            raise FaltungError(
                f"block.shape={samples.shape}: must be (*channels, samples), with "
                f"channels={self.channels}"
            )
        if not np.can_cast(samples.dtype, self._in, "same_kind"):
            raise FaltungTypeError(
                f"block.dtype={samples.dtype}: must fit into {self._in}; give Stream dtype="
                f"{samples.dtype.name!r}"
            )
        lines = samples.reshape(self._lines, samples.shape[-1]).astype(self._in)
        size = self.samples + lines.shape[1]
        known = min(-(-size * self.up // self.down), self._end(size))
        return self._shaped(self._more(lines, known))

    def flush(self) -> Array:
        """The results that the last samples still add to; then the stream is as at its start.

        Returns
        -------
        ndarray, ``(*kernels, *channels, results)``
            All until ``upfirdn``'s last, or for a resampler ``resample_poly``'s.
        """
        if self._resamples:
            until = self._skip + -(-self.samples * self.up // self.down)
        else:
            until = self._end(self.samples)
        zeros = 0
        if self._levels.each:  # a level adds where its samples are
            zeros = max(0, until - self.samples)
        made = self._shaped(self._more(np.zeros((self._lines, zeros), self._in), until))
        self._begin()
        return made

    def _end(self, samples: int) -> int:
        """How many results there are if no more samples come."""
        return output_length(self._taps.shape[1], samples, self.up, self.down)

    def copy(self) -> "Stream":
        """A stream that goes on from here by itself."""
        return copy(self)  # no array of the state is ever written again

    def _more(self, lines: Array, until: int) -> Array:
        """Results up to number ``until``, with these samples; later ones are zeros."""
        at = self.samples - self._held.shape[1]
        held = np.concatenate([self._held, lines], axis=1)
        outputs = max(0, until - self._next)
        made = self._phases.lines(held, outputs, first=self._next, at=at)
        late, self._levels = self._levels(lines)
        if self._levels.each and outputs:
            made = made + late
        self._next += outputs
        self.samples += lines.shape[1]
        # What the next result reads, from its first tap on.
        begin = self._next * self.down // self.up - self._phases.bank.taps + 1
        self._held = held[:, max(0, begin - at) :].copy()
        return made

    def _shaped(self, made: Array) -> Array:
        count, _, outputs = made.shape
        shaped: Array = made.reshape(count, *self.channels, outputs)[self._taken]
        return shaped


def _is_real(dtype: np.dtype[Any]) -> bool:
    return dtype.char in "fd"


def causal(taps: Array, lines: Array, outputs: int) -> Array:
    """The first ``outputs`` results of a filter on lines (lines, samples), followed by zeros."""
    if taps.size <= HEAD or not _is_real(lines.dtype):  # what a stream would do
        (made,) = Phases.of(taps[np.newaxis], lines.dtype, 1, 1).lines(lines, outputs)
        return np.asarray(made)
    stream = Stream(taps, channels=(lines.shape[0],), dtype=lines.dtype)
    made = stream(lines)
    if outputs > lines.shape[1]:
        made = np.concatenate([made, stream.flush()], axis=-1)
    return made[:, :outputs]
