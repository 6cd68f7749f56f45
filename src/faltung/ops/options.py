"""What makes a convolution of arrays: their options checked once, and what must fit together."""

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faltung.geometry.conv import NARROW, ConvSpec, conv_spec
from faltung.geometry.padding import Padding, PaddingMode
from faltung.ops.arguments import OTHERS, Array, array
from faltung.ops.run import KEPT

Whole = int | Sequence[int]


class Options(NamedTuple):
    """What makes a convolution of two shapes; the names are those of ``conv_spec``."""

    stride: Whole
    padding: Padding
    dilation: Whole
    groups: int
    padding_mode: PaddingMode
    flip: bool


def parameters(
    x: Array, weight: npt.ArrayLike, bias: npt.ArrayLike | None
) -> tuple[Array, Array | None]:
    """Weight and bias, of the dtype of ``x``; the bias of numbers of 16 bits as float32."""
    weight = array("weight", weight, x.dtype, OTHERS)
    if weight.ndim < 3:
        raise ValueError(f"weight.shape={weight.shape}: must be (C_out, C_in // groups, *kernel)")
    if bias is not None:
        bias = np.ascontiguousarray(_bias(x.dtype, bias))
    return weight, bias


def _bias(dtype: np.dtype[Any], bias: npt.ArrayLike) -> Array:
    """The bias in the dtype that sums are kept in."""
    if dtype.name not in NARROW:
        return array("bias", bias, dtype, OTHERS)
    made = array("bias", bias, None, OTHERS)
    if made.dtype not in (dtype, np.float32):
        raise TypeError(f"bias.dtype={made.dtype}: must be float32 or {dtype}, as the other arrays")
    return made.astype(np.float32, copy=False)


def bias_fits(bias: Array | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ValueError(
            f"bias.shape={bias.shape}: must be ({channels},), one for each output channel"
        )


def grad_fits(grad: Array, spec: ConvSpec) -> None:
    if grad.shape != spec.output_shape:
        raise ValueError(
            f"grad.shape={grad.shape} as (N, C, *space): must be that of the output, "
            f"{spec.output_shape}"
        )


def same_batch(grad: Array, batch: bool, rank: int, other: str) -> None:
    if (grad.ndim == rank + 2) != batch:
        raise ValueError(
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
    options: Options,
    input_name: str = "x.shape",
    weight_name: str = "weight.shape",
) -> ConvSpec:
    """The spec of these arguments; remembered, because a small convolution takes less time than its
    check.
    """
    key: Hashable = (x, weight, dtype, *map(_hashable, options))
    try:
        return _specs[key]
    except KeyError:
        pass
    except TypeError:  # an argument that cannot be hashed is none that the geometry takes
        key = None
    with named(input_name, weight_name):
        spec = conv_spec(x, weight, **options._asdict(), dtype=dtype.name)
    if key is not None:
        if len(_specs) >= KEPT:
            _specs.clear()
        _specs[key] = spec
    return spec


_specs: dict[Hashable, ConvSpec] = {}


def _hashable(value: Any) -> Hashable:
    """The value with its type, because 1, 1.0 and True are equal and not all legal."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    return type(value), value
