"""What makes a convolution of arrays: their options checked once, and what must fit together."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from faltung.geometry.adjoint import transposed
from faltung.geometry.check import PerAxis, integer
from faltung.geometry.conv import NARROW, ConvSpec, conv_spec
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import Padding, PaddingMode
from faltung.ops.arguments import OTHERS, Array, array
from faltung.ops.run import KEPT


class Geometry(NamedTuple):
    """What makes a convolution of two shapes; names and defaults are those of ``conv_spec``."""

    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    groups: int = 1
    padding_mode: PaddingMode = "zeros"
    flip: bool = False


class GeometryOptions(TypedDict, total=False):
    """``Geometry`` as keyword arguments."""

    stride: PerAxis
    padding: Padding
    dilation: PerAxis
    groups: int
    padding_mode: PaddingMode
    flip: bool


def parameters(
    x: Array, weight: npt.ArrayLike, bias: npt.ArrayLike | None
) -> tuple[Array, Array | None]:
    """Weight and bias, of the dtype of ``x``; the bias of numbers of 16 bits as float32."""
    weight = array("weight", weight, x.dtype, OTHERS)
    if weight.ndim < 3:
        said = WITHOUT_CHANNELS if weight.ndim == x.ndim or weight.ndim == 2 else ""
        raise FaltungError(
            f"weight.shape={weight.shape}: must be (C_out, C_in // groups, *kernel){said}"
        )
    if bias is not None:
        bias = np.ascontiguousarray(_bias(x.dtype, bias))
    return weight, bias


def _bias(dtype: np.dtype[Any], bias: npt.ArrayLike) -> Array:
    """The bias in the dtype that sums are kept in."""
    if dtype.name not in NARROW:
        return array("bias", bias, dtype, OTHERS)
    made = array("bias", bias, None, OTHERS)
    if made.dtype not in (dtype, np.float32):
        raise FaltungTypeError(
            f"bias.dtype={made.dtype}: must be float32 or {dtype}, as the other arrays"
        )
    return made.astype(np.float32, copy=False)


def bias_fits(bias: Array | None, channels: int, output: tuple[int, ...] = ()) -> None:
    """ValueError: another shape. ``output``: the positions, where each has a bias of its own."""
    shape = (*output, channels)
    if bias is not None and bias.shape != shape:
        rule = "(*output, C_out)" if output else "one for each output channel"
        raise FaltungError(f"bias.shape={bias.shape}: must be {shape}, {rule}")


def grad_fits(grad: Array, view: Array, spec: ConvSpec, batch: bool, other: str) -> None:
    """ValueError: an output gradient of another shape, or with a batch where ``other`` has none.
    ``view``: it as (N, C, *space).
    """
    if view.shape != spec.output_shape:
        raise FaltungError(
            f"grad.shape={view.shape} as (N, C, *space): must be that of the output, "
            f"{spec.output_shape}"
        )
    if (grad.ndim == spec.rank + 2) != batch:
        raise FaltungError(
            f"grad.shape={grad.shape}: must have a batch where {other} has one, and only there"
        )


@contextmanager
def named(input_name: str, weight_name: str) -> Iterator[None]:
    """Errors of the geometry speak of shapes; here of the argument that has the shape."""
    try:
        yield
    except (ValueError, TypeError) as error:
        text = (
            str(error)
            .replace("input_shape=", f"{input_name}=")
            .replace("weight_shape=", f"{weight_name}=")
        )
        raise type(error)(text) from None


def spec_of(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    dtype: np.dtype[Any],
    geometry: Geometry,
    input_name: str = "x.shape",
    weight_name: str = "weight.shape",
) -> ConvSpec:
    """The spec of these arguments; remembered, because a small convolution takes less time than its
    check.
    """
    key: Hashable = (x, weight, dtype, *map(hashable, geometry))
    try:
        return _specs[key]
    except KeyError:
        pass
    except TypeError:  # an argument that cannot be hashed is none that the geometry takes
        key = None
    with named(input_name, weight_name):
        try:
            spec = conv_spec(x, weight, **geometry._asdict(), dtype=dtype.name)
        except FaltungError as error:
            said = _channels_elsewhere(x, weight, geometry.groups)
            if not said:
                raise
            raise type(error)(f"{error}{said}") from None
    if key is not None:
        if len(_specs) >= KEPT:
            _specs.clear()
        _specs[key] = spec
    return spec


def _channels_elsewhere(x: tuple[int, ...], weight: tuple[int, ...], groups: Any) -> str:
    """What to say where the channels that a weight wants are on another axis of ``x``."""
    if len(x) != len(weight) or integer(groups) is None:
        return ""
    wanted = weight[1] * groups
    if x[1] == wanted or wanted not in (x[-1], x[2]):
        return ""
    if x[-1] == wanted:
        return "; if the channels of x are its last axis, say channels_last=True"
    return "; if the channels of x come before its space, leave channels_last out"


_specs: dict[Hashable, ConvSpec] = {}


def hashable(value: Any, depth: int = 3) -> Hashable:
    """The value with its type, because 1, 1.0 and True are equal and not all legal. Lists within
    lists deeper than any argument may be stay lists, which cannot be hashed.
    """
    if depth and isinstance(value, (list, tuple)):
        return tuple(hashable(each, depth - 1) for each in value)
    return type(value), value


def transposed_spec(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    dtype: np.dtype[Any],
    geometry: Geometry,
    output_padding: PerAxis,
    weight_name: str = "weight.shape",
) -> ConvSpec:
    """The convolution whose transpose takes ``x``: its output is the ``x`` of the transpose."""
    with named("x.shape", weight_name):
        return transposed(
            x, weight, output_padding=output_padding, dtype=dtype.name, **geometry._asdict()
        )


def rank_of(name: str, shape: tuple[int, ...]) -> int:
    """The rank of a convolution whose weight has this shape. ValueError: none has."""
    if len(shape) < 3:
        raise FaltungError(
            f"{name}={shape}: must be (C_out, C_in // groups, *kernel), at least 3 numbers"
        )
    return len(shape) - 2


# What to write for a kernel that has no channels.
WITHOUT_CHANNELS = (
    "; a kernel of one channel is weight[np.newaxis, np.newaxis], and faltung.ndimage.correlate "
    "takes arrays without channels"
)


# Local layers ------------------------------------------------------------------------------------


def local_rank(name: str, shape: tuple[int, ...]) -> int:
    """The rank of a local layer whose weight has this shape. ValueError: none has."""
    rank, odd = divmod(len(shape) - 2, 2)
    if rank < 1 or odd:
        raise FaltungError(
            f"{name}={shape}: must be (*output, C_out, C_in // groups, *kernel), an even number of "
            "sizes, at least 4"
        )
    return rank


def local_spec(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    dtype: np.dtype[Any],
    geometry: Geometry,
    input_name: str = "x.shape",
    weight_name: str = "weight.shape",
) -> ConvSpec:
    """The convolution of the same shapes. ValueError: weights for other positions than its own."""
    rank = local_rank(weight_name, weight)
    spec = spec_of(x, weight[rank:], dtype, geometry, input_name, f"{weight_name}[{rank}:]")
    if weight[:rank] != spec.output:
        raise FaltungError(
            f"{weight_name}={weight}: must begin with the output sizes, {spec.output}"
        )
    return spec


def local_transposed_spec(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    dtype: np.dtype[Any],
    geometry: Geometry,
    output_padding: PerAxis,
) -> ConvSpec:
    """The convolution of the same shapes. ValueError: weights for other positions than those of
    ``x``.
    """
    rank = local_rank("weight.shape", weight)
    kernel, name = weight[rank:], f"weight.shape[{rank}:]"
    spec = transposed_spec(x, kernel, dtype, geometry, output_padding, name)
    if weight[:rank] != x[2:]:
        raise FaltungError(f"weight.shape={weight}: must begin with the sizes of x, {x[2:]}")
    return spec
