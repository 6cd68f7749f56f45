"""One spatial axis: its output size, and which input each output reads.

Output ``o`` reads, at tap ``k``, the input position ``o * stride + k * dilation - lo``. Everything
else follows from this line. Positions count from the first entry of the unpadded array, so the
padding before it has negative positions and the padding after it begins at ``size``.
"""

from typing import Literal, get_args

from faltung.geometry.border import source
from faltung.geometry.check import one_of
from faltung.geometry.errors import FaltungError, FaltungMemoryError, FaltungTypeError
from faltung.geometry.record import dataclass

Mode = Literal["zeros", "reflect", "symmetric", "replicate", "circular"]
# Entries of an axis with its padding: positions, and what is computed from them, fit 64 bits.
LONGEST = 1 << 62
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a convolution or a pooling. All lengths are in array entries.

    Parameters
    ----------
    size
        Input size, without padding.
    kernel
        Number of taps. With dilation they span ``extent`` entries.
    stride
        Distance between the windows of neighbouring outputs.
    dilation
        Distance between neighbouring taps.
    lo, hi
        Padding before and after. Negative padding is a crop; only the adjoint specs of
        ``adjoint.py`` have it, with mode "zeros" (``padding.py`` refuses it from users).
    mode
        What the padding repeats: one of ``MODES``.

    Raises
    ------
    ValueError
        A size, kernel, stride or dilation below 1, an unknown mode, padding that its mode cannot
        fill, or a kernel larger than the padded input.
    MemoryError
        An axis of 2**62 entries or more with its padding.
    TypeError
        A length that is not an int.

    Examples
    --------
    >>> Axis(size=224, kernel=7, stride=2, lo=3, hi=3).output
    112
    """

    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    lo: int = 0
    hi: int = 0
    mode: str = "zeros"

    def __post_init__(self) -> None:
        for name in ("size", "kernel", "stride", "dilation", "lo", "hi"):
            value = getattr(self, name)
            if type(value) is not int:  # NumPy's integers would change repr and hash
                raise FaltungTypeError(f"{name}={value!r}: must be an int")
            if value < 1 and name not in ("lo", "hi"):
                raise FaltungError(f"{name}={value}: must be at least 1")
        self._check_mode()
        if self.padded >= LONGEST:
            raise FaltungMemoryError(
                f"padding={self.lo, self.hi}: an axis must be shorter than 2**62 with its padding, "
                f"which no memory holds; it would be {self.padded}"
            )
        if self.extent > self.padded:
            raise FaltungError(
                f"kernel={self.kernel}: must not be larger than the padded input; with dilation "
                f"{self.dilation} it spans {self.extent}, the input {self.lo} + {self.size} + "
                f"{self.hi} = {self.padded}"
            )

    def _check_mode(self) -> None:
        one_of("padding_mode", self.mode, MODES)
        if self.mode == "zeros":
            return
        if min(self.lo, self.hi) < 0:
            raise FaltungError(
                f"padding={self.lo, self.hi}: must be at least 0 unless the mode is zeros"
            )
        # What a mode can supply on each side. A reflection does not repeat the edge, so it has one
        # entry fewer than a symmetric or circular continuation; an edge can be repeated for ever.
        supply = {"reflect": self.size - 1, "symmetric": self.size, "circular": self.size}
        if max(self.lo, self.hi) > supply.get(self.mode, max(self.lo, self.hi)):
            raise FaltungError(
                f"padding={self.lo, self.hi}: {self.mode} padding must be at most "
                f"{supply[self.mode]} on an axis of size {self.size}; faltung.ndimage has borders "
                "of any width"
            )

    @property
    def extent(self) -> int:
        """Entries from the first tap to the last, both included."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def padded(self) -> int:
        """Size with the padding."""
        return self.lo + self.size + self.hi

    @property
    def with_padding(self) -> "Axis":
        """The same axis of an array that holds its padding."""
        return Axis(self.padded, self.kernel, self.stride, self.dilation)

    @property
    def output(self) -> int:
        """Output size, floor((H - d(h-1) - 1 + lo + hi) / s) + 1: the home of this formula."""
        return (self.padded - self.extent) // self.stride + 1

    @property
    def unread(self) -> int:
        """Entries at the end of the padded input that no output reads, because of the stride.

        Between 0 and stride - 1. Only the tail counts: if stride > extent, gaps are unread too.
        """
        return (self.padded - self.extent) % self.stride

    def source(self, i: int) -> int | None:
        """The array entry that position ``i`` repeats, None for a zero.

        ``i`` is in -lo .. size + hi - 1; inside the array the entry is ``i`` itself.
        """
        return source(i, self.size, self.mode)

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        """Half-open range of input positions that outputs ``start`` .. ``stop - 1`` read.

        Not clipped: it may begin below 0 and end beyond ``size``. Empty where ``stop <= start``.
        """
        first = start * self.stride - self.lo
        if stop <= start:
            return first, first
        return first, first + (stop - 1 - start) * self.stride + self.extent

    def valid_taps(self, o: int) -> tuple[int, int]:
        """Half-open range of the taps of output ``o`` that read inside the array."""
        first = o * self.stride - self.lo  # where tap 0 reads
        k_lo = min(max(0, -(first // self.dilation)), self.kernel)  # ceil(-first / dilation)
        k_hi = min((self.size - 1 - first) // self.dilation + 1, self.kernel)
        return k_lo, max(k_lo, k_hi)
