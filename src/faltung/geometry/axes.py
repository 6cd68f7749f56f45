"""The spatial axes of a problem: what ``ConvSpec`` and ``PoolSpec`` have in common."""

from collections.abc import Sequence
from math import prod

from faltung.geometry.axis import Axis
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError


class Axes:
    """Properties of all ``axes`` of a spec: one entry per axis, in order."""

    __slots__ = ()
    axes: tuple[Axis, ...]

    def check_axes(self, what: str) -> None:
        """Refuse ``axes`` that are not a tuple of Axis (TypeError) or empty (ValueError)."""
        if type(self.axes) is not tuple or not all(isinstance(axis, Axis) for axis in self.axes):
            raise FaltungTypeError(f"axes={show(self.axes)}: must be a tuple of Axis")
        if not self.axes:
            raise FaltungError(f"axes=(): {what} must have at least one spatial axis")

    def check_counts(self, **least: int) -> None:
        """Refuse fields that are not ints (TypeError) or less than their least (ValueError)."""
        for name, bound in least.items():
            value = getattr(self, name)
            if type(value) is not int:
                raise FaltungTypeError(f"{name}={value!r}: must be an int")
            if value < bound:
                raise FaltungError(f"{name}={value}: must be at least {bound}")

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.axes)

    @property
    def size(self) -> tuple[int, ...]:
        """Input size of each axis, without padding."""
        return tuple(axis.size for axis in self.axes)

    @property
    def output(self) -> tuple[int, ...]:
        """Output size of each axis."""
        return tuple(axis.output for axis in self.axes)

    @property
    def kernel(self) -> tuple[int, ...]:
        """Number of taps of each axis."""
        return tuple(axis.kernel for axis in self.axes)

    @property
    def stride(self) -> tuple[int, ...]:
        """Stride of each axis."""
        return tuple(axis.stride for axis in self.axes)

    @property
    def dilation(self) -> tuple[int, ...]:
        """Dilation of each axis."""
        return tuple(axis.dilation for axis in self.axes)

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Padding before and after each axis, (lo, hi), in array entries."""
        return tuple((axis.lo, axis.hi) for axis in self.axes)

    @property
    def taps(self) -> int:
        """Number of taps: the product over the axes."""
        return prod(self.kernel)


def make_axes(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
) -> tuple[Axis, ...]:
    """One ``Axis`` per spatial axis; an error says which of several it is about."""
    axes = []
    for size, h, s, d, (lo, hi), mode in zip(
        sizes, kernel, stride, dilation, pairs, names, strict=True
    ):
        try:
            axes.append(Axis(size, h, s, d, lo, hi, mode))
        except FaltungError as error:
            where = f" (spatial axis {len(axes)})" if len(sizes) > 1 else ""
            raise type(error)(f"{error}{where}") from None
    return tuple(axes)
