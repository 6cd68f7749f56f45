"""From what people pass to what plans take: arrays checked, brought to (N, C, *space), given
strides.

Every error names the argument, its value and the rule.
"""

import sys
from collections.abc import Sequence
from ctypes import addressof, c_char
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import integers, no_array, truth
from faltung.geometry.errors import FaltungError, FaltungMemoryError, FaltungTypeError
from faltung.methods.base.correlation import Strides

Array = npt.NDArray[Any]
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
# What convolutions take besides those; bfloat16 is a dtype of ml_dtypes, known by its name.
OTHERS = ("float16", "bfloat16", "int32", "int64", "complex64", "complex128")
# Steps that NumPy may take to find out whether two arrays share memory, before it counts as shared.
OVERLAP_WORK = 100_000


def array(
    name: str,
    value: npt.ArrayLike,
    dtype: np.dtype[Any] | None = None,
    others: Sequence[str] = (),
) -> Array:
    """A NumPy array of a supported dtype (the given one), readable by kernels; copied only where it
    must be. ``others``: dtypes that are supported besides float32 and float64.

    TypeError for other dtypes: nothing is converted in silence.
    """
    try:
        made = value if isinstance(value, np.ndarray) else np.asarray(value)
    except ValueError as error:
        raise FaltungError(f"{name}: must be an array, {error}") from None
    if not made.dtype.isnative:
        raise FaltungTypeError(f"{name}.dtype={made.dtype.str}: {_foreign(name)}")
    if made.dtype not in DTYPES and made.dtype.name not in others:
        no_array(name, value)
        raise FaltungTypeError(
            f"{name}.dtype={made.dtype}: must be {_listed(others)}; write "
            f'{name}.astype("float32"), or take faltung.ndimage or faltung.signal, which take what '
            "SciPy takes"
        )
    if dtype is not None and made.dtype != dtype:
        raise FaltungTypeError(
            f"{name}.dtype={made.dtype}: must be that of the other arrays, {dtype}; "
            f"pass {name}.astype({dtype.name!r})"
        )
    if _is_masked(made):
        raise FaltungTypeError(f"{name}: must not be a masked array; fill it first")
    size = made.itemsize
    usable = made.flags.aligned and not any([stride % size for stride in made.strides])
    return np.asarray(made if usable else made.copy())


def _foreign(name: str) -> str:
    """What to do about an array of the other byte order, as every FITS file has."""
    return (
        f"must have this machine's byte order; pass {name}.astype({name}.dtype.newbyteorder('='))"
    )


def _is_masked(value: Array) -> bool:
    """Whether it is a masked array, without loading what makes them: who has one has loaded it."""
    ma = sys.modules.get("numpy.ma")
    return ma is not None and isinstance(value, ma.MaskedArray)


def _listed(others: Sequence[str]) -> str:
    names = ["float32", "float64", *others]
    if "bfloat16" in names:
        names[names.index("bfloat16")] = "ml_dtypes.bfloat16"
    return f"{', '.join(names[:-1])} or {names[-1]}"


def mapped(name: str, value: Array, rank: int, channels_last: bool) -> Array:
    """The argument as (N, C, *space): ``batched``, its dimensions checked."""
    dimensions(name, value, rank)
    return batched(value, rank, channels_last)


def batched(value: Array, rank: int, channels_last: bool) -> Array:
    """A view (N, C, *space) of an array that may lack N and may have its channels last."""
    truth("channels_last", channels_last)
    view = value if value.ndim == rank + 2 else value[np.newaxis]
    return view.transpose(0, rank + 1, *range(1, rank + 1)) if channels_last else view


def batched_shape(
    name: str, shape: Sequence[int], rank: int, channels_last: bool
) -> tuple[int, ...]:
    """(N, C, *space) from the shape that people pass."""
    truth("channels_last", channels_last)
    sizes = integers(name, shape)
    if len(sizes) not in (rank + 1, rank + 2):
        raise FaltungError(
            f"{name}={sizes}: must have {rank + 2} dimensions, or {rank + 1} without a batch"
        )
    full = sizes if len(sizes) == rank + 2 else (1, *sizes)
    return (full[0], full[-1], *full[1:-1]) if channels_last else full


def dimensions(name: str, value: Array, rank: int) -> None:
    """ValueError unless the array has ``rank`` spatial axes, channels, and perhaps a batch."""
    if value.ndim not in (rank + 1, rank + 2):
        raise FaltungError(
            f"{name}.shape={value.shape}: must have {rank + 2} dimensions (batch, channels and "
            f"{rank} of space, as the weight says), or {rank + 1} without the batch"
            + (f"; {name}[np.newaxis] has one channel" if value.ndim == rank else "")
        )


def elements(value: Array) -> Strides:
    """Strides in elements; axes of one entry get 0, whatever NumPy says of them, so that plans are
    shared.
    """
    size = value.itemsize
    return tuple(
        [s // size if n > 1 else 0 for s, n in zip(value.strides, value.shape, strict=True)]
    )


def result(
    out: Array | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    like: bool,
    channels_last: bool,
    **inputs: Array | None,
) -> tuple[Array, Array]:
    """The array to return and its (N, C, *space) view. ``like``: with a batch.

    ``out``, if given, must have exactly the shape and dtype, be writable, and share no memory with
    those of ``inputs`` that are there.
    """
    rank = len(shape) - 2
    full = (shape[0], *shape[2:], shape[1]) if channels_last else shape
    own = full if like else full[1:]
    if out is None:
        try:
            out = np.empty(own, dtype)
        except (ValueError, OverflowError):  # more than an address can say
            raise FaltungMemoryError(f"out: {own} of {dtype} cannot be allocated") from None
    else:
        _check_out(out, own, dtype)
        for name, other in inputs.items():
            if other is not None and _shares(out, other):
                raise FaltungError(f"out: must not overlap {name}")
    return out, batched(out, rank, channels_last)


def _check_out(out: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """TypeError, ValueError: an array that kernels cannot write this result into."""
    if not isinstance(out, np.ndarray) or _is_masked(out):
        raise FaltungTypeError(f"out={type(out).__name__}: must be a plain NumPy array")
    if not out.dtype.isnative:
        raise FaltungTypeError(f"out.dtype={out.dtype.str}: must have this machine's byte order")
    if out.dtype != dtype:
        raise FaltungTypeError(f"out.dtype={out.dtype}: must be {dtype}, as the inputs")
    if out.shape != shape:
        raise FaltungError(f"out.shape={out.shape}: must be {shape}")
    if not out.flags.writeable:
        raise FaltungError("out: must be writable")
    if not out.flags.aligned or any(stride % out.itemsize for stride in out.strides):
        raise FaltungError(f"out.strides={out.strides}: entries must be aligned to their size")
    if _folds_on_itself(out):
        raise FaltungError(f"out.strides={out.strides}: two entries must not share memory")


def _shares(a: Array, b: Array) -> bool:
    try:
        return np.shares_memory(a, b, max_work=OVERLAP_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _folds_on_itself(value: Array) -> bool:
    """Whether entries may share memory: true unless each axis steps over all that lies in the ones
    inside it.
    """
    if not value.size:
        return False
    reach = value.itemsize
    for stride, size in sorted(
        (abs(s), n) for s, n in zip(value.strides, value.shape, strict=True) if n > 1
    ):
        if stride < reach:
            return True
        reach = stride * (size - 1) + reach
    return False


def address(value: Array | None) -> int:
    """Where the first entry lies; 0 for no array."""
    if value is None:
        return 0
    if value.flags.carray:
        try:  # in a quarter of the time
            return addressof(c_char.from_buffer(value))  # type: ignore[arg-type]
        except (ValueError, BufferError):  # no entries, or a dtype that buffers do not know
            pass
    return int(value.__array_interface__["data"][0])
