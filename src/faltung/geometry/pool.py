"""``PoolSpec``: a pooling (maxima or means of windows) as integers.

Windows are placed as in a convolution, for each channel separately. Padding is never a maximum; in
a mean it counts as zeros or not at all.
"""

from collections.abc import Iterator, Sequence
from math import prod

from faltung.geometry.axes import Axes, make_axes
from faltung.geometry.axis import Axis
from faltung.geometry.check import integers, one_of, per_axis, show
from faltung.geometry.conv import FLOATS, ITEMSIZE
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import Padding, pads
from faltung.geometry.record import dataclass

KINDS = ("max", "average")


@dataclass(frozen=True, slots=True)
class PoolSpec(Axes):
    """A pooling, from input (batch, channels, *space) to output (batch, channels, *space').

    Parameters
    ----------
    axes
        One ``Axis`` per spatial axis, with padding mode zeros.
    channels, batch
        Number of channels and of samples.
    kind
        "max" or "average".
    count_padding
        For means: whether to divide by all entries of the window (``count_include_pad=True`` of
        PyTorch) or only by those inside the input.
    dtype
        "float32" or "float64".
    overhang
        How much of the ``hi`` of each axis exists only because the last window may reach beyond
        the padding (``ceil``), in array entries; a mean never counts it. () means none on any axis.

    Raises
    ------
    ValueError
        No axis, a batch below 0, channels below 1, an unknown kind or dtype, a padding mode other
        than zeros, a crop, or a window that contains nothing.
    TypeError
        Numbers that are not ints.

    Examples
    --------
    >>> spec = pool_spec((2, 64, 56, 56), 3, stride=2, padding=1)
    >>> str(spec), spec.output_shape
    ('max n2 c64 56x56 k3 s2 p1', (2, 64, 28, 28))
    """

    axes: tuple[Axis, ...]
    channels: int
    batch: int = 1
    kind: str = "max"
    count_padding: bool = True
    dtype: str = "float32"
    overhang: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.check_axes("a pooling")
        self.check_counts(channels=1, batch=0)
        one_of("kind", self.kind, KINDS)
        if type(self.count_padding) is not bool:
            raise FaltungTypeError(f"count_padding={self.count_padding!r}: must be True or False")
        one_of("dtype", self.dtype, FLOATS)
        self._check_overhang()
        for dim in range(self.rank):
            self._check_axis(dim)

    def _check_overhang(self) -> None:
        beyond = self.overhang
        if type(beyond) is not tuple or not all(type(entry) is int for entry in beyond):
            raise FaltungTypeError(f"overhang={show(beyond)}: must be a tuple of ints")
        if not beyond:
            object.__setattr__(self, "overhang", (0,) * self.rank)
        elif len(beyond) != self.rank or not all(
            0 <= entry <= max(0, axis.hi) for entry, axis in zip(beyond, self.axes, strict=True)
        ):
            raise FaltungError(
                f"overhang={show(beyond)}: must be from 0 to the padding after each axis"
            )

    def _check_axis(self, dim: int) -> None:
        axis = self.axes[dim]
        where = f" (spatial axis {dim})" if self.rank > 1 else ""
        if axis.mode != "zeros":
            raise FaltungError(f"padding_mode={axis.mode!r}: must be zeros in a pooling{where}")
        if min(axis.lo, axis.hi) < 0:
            raise FaltungError(f"padding={axis.lo, axis.hi}: must be at least 0{where}")
        mean = self.kind == "average"
        if mean and self.count_padding and not self.overhang[dim]:
            return
        for o in _at_the_ends(axis):
            first, stop = axis.valid_taps(o)
            if (self.counted(dim, o) if mean else stop - first) == 0:
                raise FaltungError(
                    f"padding={axis.lo, axis.hi}: output {o} would see nothing but padding, with "
                    f"{axis.kernel} taps of dilation {axis.dilation} at stride {axis.stride} on "
                    f"{axis.size} entries{where}"
                )

    def __str__(self) -> str:
        """One line for people: "max n2 c64 56x56 k3 s2 p1"."""
        words = [self.kind, f"n{self.batch}", f"c{self.channels}", "x".join(map(str, self.size))]
        pads = [str(lo) if lo == hi else f"({lo},{hi})" for lo, hi in self.padding]
        options = {"k": self.kernel, "s": self.stride, "p": pads, "d": self.dilation}
        plain = {"s": ["1"], "p": ["0"], "d": ["1"]}
        for key, numbers in options.items():
            each = list(map(str, numbers))
            short = each[:1] if len(set(each)) == 1 else each
            words += [key + "x".join(short)] * (short != plain.get(key))
        words += ["inside"] * (self.kind == "average" and not self.count_padding)
        return " ".join(words + ["f64"] * (self.dtype == "float64"))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(batch, channels, *space)."""
        return (self.batch, self.channels, *self.size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(batch, channels, *space)."""
        return (self.batch, self.channels, *self.output)

    @property
    def flops(self) -> int:
        """Comparisons or additions: one per tap, including taps that read padding."""
        return prod(self.output_shape) * self.taps

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return ITEMSIZE[self.dtype]

    @property
    def bytes_moved(self) -> int:
        """Bytes of input and output, each counted once: the least that must be moved."""
        return (prod(self.input_shape) + prod(self.output_shape)) * self.itemsize

    def counted(self, dim: int, o: int) -> int:
        """How many taps output ``o`` counts along axis ``dim``: the home of this formula.

        A mean is divided by the product of these over the axes.
        """
        axis = self.axes[dim]
        if not self.count_padding:
            first, stop = axis.valid_taps(o)
            return stop - first
        room = axis.size + axis.hi - self.overhang[dim] - (o * axis.stride - axis.lo)
        return max(0, min(axis.kernel, -(-room // axis.dilation)))

    @property
    def divisor(self) -> int | None:
        """What all means are divided by; None where windows at the ends count fewer entries."""
        if self.count_padding and not any(self.overhang):
            return self.taps
        found = 1
        for dim, axis in enumerate(self.axes):
            ends = [self.counted(dim, o) for o in _at_the_ends(axis)]
            each = {*ends, *[axis.kernel] * (len(ends) < axis.output)}
            if len(each) > 1:
                return None
            found *= each.pop()
        return found


def _at_the_ends(axis: Axis) -> Iterator[int]:
    """The outputs that read padding, the outermost first. All others are alike."""
    left = min(axis.output, -(-axis.lo // axis.stride))
    right = max(left, (axis.size + axis.lo - axis.extent) // axis.stride + 1)
    before, after = range(left), range(right, axis.output)
    yield from (*before[:1], *after[-1:])
    yield from before[1:]
    yield from after[:-1]


def pool_axes(
    sizes: Sequence[int],
    kernel: int | Sequence[int] | None = None,
    *,
    stride: int | Sequence[int] | None = None,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    ceil: bool = False,
) -> tuple[Axis, ...]:
    """The axes of a pooling, from the arguments that users pass.

    ``kernel`` None: as large as the input; ``stride`` None: as the kernel. ``ceil``: round the
    output size up, as ``ceil_mode`` of PyTorch: the last window, if it begins in the input or in
    the padding before it, may reach beyond the padding after it, which grows accordingly.
    ValueError, TypeError: arguments that describe no pooling.
    """
    return _axes(sizes, kernel, stride, padding, dilation, ceil)[0]


def pool_spec(
    input_shape: Sequence[int],
    kernel: int | Sequence[int] | None = None,
    *,
    kind: str = "max",
    stride: int | Sequence[int] | None = None,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    ceil: bool = False,
    count_padding: bool = True,
    dtype: str = "float32",
) -> PoolSpec:
    """The spec of a pooling, from the arguments that users pass.

    ``input_shape``: (batch, channels, *space); all else as for ``pool_axes``. The spec remembers
    what ``ceil`` added: as in PyTorch, no mean counts it.
    """
    shape = integers("input_shape", input_shape)
    if len(shape) < 3:
        raise FaltungError(f"input_shape={shape}: must be (batch, channels, *space)")
    axes, beyond = _axes(shape[2:], kernel, stride, padding, dilation, ceil)
    return PoolSpec(axes, shape[1], shape[0], kind, count_padding, str(dtype), beyond)


def _axes(
    sizes: Sequence[int],
    kernel: int | Sequence[int] | None,
    stride: int | Sequence[int] | None,
    padding: Padding,
    dilation: int | Sequence[int],
    ceil: bool,
) -> tuple[tuple[Axis, ...], tuple[int, ...]]:
    """The axes, and how much of each ``hi`` exists only because of ``ceil``."""
    sizes = integers("sizes", sizes)
    rank = len(sizes)
    taps = sizes if kernel is None else per_axis("kernel", kernel, rank, 1)
    strides = taps if stride is None else per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    if type(ceil) is not bool:
        raise FaltungTypeError(f"ceil={ceil!r}: must be True or False")
    pairs = pads(padding, sizes=sizes, kernel=taps, stride=strides, dilation=dilations)
    beyond = [0] * rank
    if ceil:
        grown = []
        for dim, (lo, hi) in enumerate(pairs):
            extent = dilations[dim] * (taps[dim] - 1) + 1
            fitted = _ceil(sizes[dim], extent, strides[dim], lo, hi)
            beyond[dim] = max(0, fitted - hi)
            grown.append((lo, fitted))
        pairs = tuple(grown)
    axes = make_axes(sizes, taps, strides, dilations, pairs, ("zeros",) * rank)
    return axes, tuple(beyond)


def _ceil(size: int, extent: int, stride: int, lo: int, hi: int) -> int:
    """The padding after the axis that gives as many outputs as ``ceil_mode`` of PyTorch.

    These are ceil((H - d(h-1) - 1 + lo + hi) / s) + 1, less those that begin behind the input.
    """
    room = size + lo + hi - extent
    outputs = min(-(-room // stride) + 1, -(-(size + lo) // stride))
    if outputs < 1:
        return hi
    least = (outputs - 1) * stride + extent - size - lo  # the last window ends here
    return min(max(hi, least), least + stride - 1)
