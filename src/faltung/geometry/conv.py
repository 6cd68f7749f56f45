"""ConvSpec: one convolution as a question, in integers only; and its cost in closed form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from math import prod
from typing import Literal, get_args

from faltung.geometry.axes import Axes, make_axes
from faltung.geometry.axis import Axis
from faltung.geometry.calls import explained
from faltung.geometry.check import integers, one_of, per_axis, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import Padding, PaddingMode, modes, pads
from faltung.geometry.record import dataclass

# Bytes of one number.
ITEMSIZE = {
    "float32": 4,
    "float64": 8,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "int64": 8,
    "complex64": 8,
    "complex128": 16,
}
DTYPES = tuple(ITEMSIZE)
# What the text form calls them.
DTYPE_WORDS = {
    "float32": "f32",
    "float64": "f64",
    "float16": "f16",
    "bfloat16": "bf16",
    "int32": "i32",
    "int64": "i64",
    "complex64": "c64",
    "complex128": "c128",
}
# Stored in 16 bits, and float32 wherever they are computed with.
NARROW = ("float16", "bfloat16")
# What networks, pooling and local layers take.
Float = Literal["float32", "float64"]
FLOATS: tuple[Float, ...] = get_args(Float)
# How the values of a network are kept; those of 16 bits are computed with in float32.
Kept = Literal["float32", "float64", "float16", "bfloat16"]
KEPT: tuple[Kept, ...] = get_args(Kept)


def computed_in(dtype: Kept) -> Float:
    """The dtype of the sums and formulas of a network whose values are kept in ``dtype``."""
    return "float64" if dtype == "float64" else "float32"


@dataclass(frozen=True, slots=True)
class Ladder:
    """Parameters, without bias, of one mapping in three forms.

    dense: every output has a weight for every input (the MLP). local: every output position has
    a kernel of its own (locality). conv: all positions share one (translation invariance).
    """

    dense: int
    local: int
    conv: int


@dataclass(frozen=True, slots=True)
class ConvSpec(Axes):
    """A convolution as a question, in whole numbers; ``conv_spec`` and ``parse`` make one.

    Attributes
    ----------
    axes : tuple of Axis
        Size, kernel, stride, dilation, padding and padding mode of each spatial axis.
    channels_in, channels_out : int
        Channels of the input and of the output.
    batch : int
        Samples.
    groups : int
        Groups of channels; it divides both numbers of channels.
    dtype : str
        A key of ``ITEMSIZE``.
    flip : bool
        False: the cross-correlation of deep learning; True: the convolution of mathematics.

    Raises
    ------
    ValueError
        No axis, a batch below 0, channels or groups below 1, groups that do not divide the
        channels, an unknown dtype.
    TypeError
        Numbers that are not ints.

    Notes
    -----
    ``str`` of a spec is the line of text that ``parse`` reads back; its ``repr`` reads back too.

    Examples
    --------
    >>> import faltung
    >>> spec = faltung.conv_spec((1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
    >>> str(spec), spec.output_shape, spec.macs
    ('n1 c3>64 224x224 k7 s2 p3', (1, 64, 112, 112), 118013952)
    """

    axes: tuple[Axis, ...]
    channels_in: int
    channels_out: int
    batch: int = 1
    groups: int = 1
    dtype: str = "float32"
    flip: bool = False

    def __post_init__(self) -> None:
        self.check_axes("a convolution")
        self.check_counts(channels_in=1, channels_out=1, groups=1, batch=0)
        if self.channels_in % self.groups or self.channels_out % self.groups:
            raise FaltungError(
                f"groups={self.groups}: must divide the channels, {self.channels_in} in and "
                f"{self.channels_out} out"
            )
        one_of("dtype", self.dtype, DTYPES)
        if type(self.flip) is not bool:
            raise FaltungTypeError(f"flip={self.flip!r}: must be True or False")

    def _repr_html_(self) -> str:
        """For notebooks: a box, and the page of the explorer, folded."""
        # The page is made far below the geometry, which must not need it.
        frame = import_module("faltung.explore.page").frame(self)
        made: str = import_module("faltung.geometry.conv_html").conv_html(self, frame)
        return made

    def __str__(self) -> str:
        """The canonical text: batch, then what is needed, then what is not the default.

        ``parse`` reads it back to an equal spec, but for the negative padding of adjoint specs,
        which nobody may ask for.
        """
        pads = [str(lo) if lo == hi else f"({lo},{hi})" for lo, hi in self.padding]
        options = {
            "s": _folded(self.stride),
            # A pair (before, after) is for one axis alone, so equal ones are not folded.
            "p": _folded(pads) if self.padding[0][0] == self.padding[0][1] else "x".join(pads),
            "d": _folded(self.dilation),
            "g": str(self.groups),
        }
        defaults = {"s": "1", "p": "0", "d": "1", "g": "1"}
        names = self.padding_mode if len(set(self.padding_mode)) > 1 else self.padding_mode[:1]
        words = [
            f"n{self.batch}",
            f"c{self.channels_in}>{self.channels_out}",
            "x".join(map(str, self.size)),
            f"k{_folded(self.kernel)}",
            *(key + word for key, word in options.items() if word != defaults[key]),
            *["m:" + ",".join(names)] * (names != ("zeros",)),
            *[DTYPE_WORDS[self.dtype]] * (self.dtype != "float32"),
            *["flip"] * self.flip,
        ]
        return " ".join(words)

    @property
    def padding_mode(self) -> tuple[str, ...]:
        """Padding mode of each axis."""
        return tuple(axis.mode for axis in self.axes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(batch, channels_in, *space)."""
        return (self.batch, self.channels_in, *self.size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(batch, channels_out, *space)."""
        return (self.batch, self.channels_out, *self.output)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(channels_out, channels_in // groups, *kernel)."""
        return (self.channels_out, self.channels_in // self.groups, *self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-adds. Every tap of every output counts, also those that read padding."""
        return prod(self.output_shape) * prod(self.weight_shape[1:])

    @property
    def flops(self) -> int:
        """Floating-point operations, two for a multiply-add; the bias is not counted."""
        return 2 * self.macs

    @property
    def weight_parameters(self) -> int:
        """Numbers in the weight."""
        return prod(self.weight_shape)

    @property
    def bias_parameters(self) -> int:
        """Numbers in the bias, if there is one."""
        return self.channels_out

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return ITEMSIZE[self.dtype]

    @property
    def sums(self) -> str:
        """The dtype that sums are kept in: float32 for numbers of 16 bits."""
        return "float32" if self.dtype in NARROW else self.dtype

    @property
    def bytes_moved(self) -> int:
        """Bytes of input, weight and output, each counted once: the least that must move."""
        numbers = prod(self.input_shape) + self.weight_parameters + prod(self.output_shape)
        return numbers * self.itemsize

    def ladder(self) -> Ladder:
        """The parameters of this mapping as a dense matrix, as a local layer, as a convolution."""
        inputs, outputs = prod(self.input_shape[1:]), prod(self.output_shape[1:])
        local = prod(self.output) * self.weight_parameters
        return Ladder(dense=inputs * outputs, local=local, conv=self.weight_parameters)


@explained
def conv_spec(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    dtype: str = "float32",
) -> ConvSpec:
    """The spec of a convolution, from arguments as ``faltung.conv`` takes them.

    Parameters
    ----------
    input_shape : sequence of int
        ``(batch, channels_in, *space)``.
    weight_shape : sequence of int
        ``(channels_out, channels_in // groups, *kernel)``.
    stride, dilation : int or sequence of int
        One number for all axes, or one for each.
    padding : int, str or sequence
        Entries before and after, or one of the names that ``faltung.conv`` knows.
    groups : int
        Groups of channels.
    padding_mode : str or sequence of str
        What stands in the padding.
    flip : bool
        Whether the kernel is flipped: the convolution of mathematics.
    dtype : str
        The type of all numbers.

    Returns
    -------
    ConvSpec
        The problem in whole numbers.

    Raises
    ------
    ValueError, TypeError
        Numbers or names that make no convolution.

    Examples
    --------
    >>> import faltung
    >>> faltung.conv_spec((1, 1, 10), (1, 1, 3), padding="same").output_shape
    (1, 1, 10)
    """
    x, w, groups = checked_shapes(input_shape, weight_shape, groups)
    if w[1] * groups != x[1]:
        raise FaltungError(
            f"weight_shape={w}: its second entry must be channels_in // groups = {x[1]} // {groups}"
        )
    if w[0] % groups:
        raise FaltungError(f"groups={groups}: must divide the output channels, {w[0]}")
    rank = len(x) - 2
    strides = per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    pairs = pads(padding, sizes=x[2:], kernel=w[2:], stride=strides, dilation=dilations)
    names = modes(padding_mode, rank)
    axes = make_axes(x[2:], w[2:], strides, dilations, pairs, names)
    return ConvSpec(axes, x[1], w[0], x[0], groups, str(dtype), flip)


def checked_shapes(
    input_shape: Sequence[int], weight_shape: Sequence[int], groups: int
) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Both shapes and the groups as plain ints, of matching rank and legal size."""
    x, w = integers("input_shape", input_shape), integers("weight_shape", weight_shape)
    groups = whole("groups", groups, 1)
    if len(x) < 3:
        raise FaltungError(f"input_shape={x}: must be (batch, channels, *space)")
    if len(w) != len(x):
        raise FaltungError(f"weight_shape={w}: must have {len(x)} dimensions, as the input {x} has")
    if x[0] < 0:
        raise FaltungError(f"input_shape={x}: the batch must be at least 0")
    if min(x[1:]) < 1:
        raise FaltungError(f"input_shape={x}: channels and sizes must be at least 1")
    if min(w) < 1:
        raise FaltungError(f"weight_shape={w}: every entry must be at least 1")
    if x[1] % groups:
        raise FaltungError(f"groups={groups}: must divide the input channels, {x[1]}")
    return x, w, groups


def _folded(items: Iterable[object]) -> str:
    """One number where all are the same, else one for each axis."""
    words = list(map(str, items))
    return words[0] if len(set(words)) == 1 else "x".join(words)
