"""One linear map in three forms: dense matrix, local layer, convolution; and the ways between them.

A convolution is a local layer whose positions share one kernel; a local layer is a dense matrix
that is zero wherever an output does not see an input. Downwards (``conv_to_local``,
``local_to_dense``, ``conv_to_dense``) every number is copied. Upwards (``dense_to_local``,
``local_to_conv``, ``dense_to_conv``) the numbers must be such, exactly: otherwise the error names
the first that is not.

Weights: convolution ``(C_out, C_in // groups, *kernel)``, local
``(*output, C_out, C_in // groups, *kernel)``, dense ``(C_out * outputs, C_in * inputs)``, so that
``(matrix @ x.ravel())`` is the layer on one sample, ``(C_in, *space)``, channels first.
``input_shape``: that of a sample, or of a batch. The geometry is said as for ``conv``, with all its
options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from faltung.geometry.calls import explained
from faltung.geometry.check import integers, show
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError, FaltungMemoryError, FaltungTypeError
from faltung.methods.base.addresses import sources
from faltung.ops.arguments import Array, array, batched_shape
from faltung.ops.options import Geometry, GeometryOptions, local_rank, local_spec, spec_of


@explained
def conv_to_local(
    weight: ArrayLike, input_shape: Sequence[int], **geometry: Unpack[GeometryOptions]
) -> Array:
    """A convolution as a local layer: its kernel once for each output position.

    Parameters
    ----------
    weight : array_like, ``(C_out, C_in // groups, *kernel)``
        float32 or float64.
    input_shape : sequence of int
        The shape of a sample, ``(C_in, *space)``, or of a batch of them.
    stride, padding, dilation, groups, padding_mode, flip
        As for ``conv``.

    Returns
    -------
    ndarray, ``(*output, C_out, C_in // groups, *kernel)``

    Raises
    ------
    TypeError, ValueError
        As ``conv``.
    MemoryError
        The result cannot be allocated.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> local = faltung.conv_to_local([[[1.0, 2.0]]], (1, 3))
    >>> local.reshape(-1, 2)
    array([[1., 2.],
           [1., 2.]])
    """
    weight = array("weight", weight)
    spec = _spec(input_shape, weight.shape, weight, geometry)
    return np.array(np.broadcast_to(weight, (*spec.output, *weight.shape)))


@explained
def local_to_dense(
    weight: ArrayLike, input_shape: Sequence[int], **geometry: Unpack[GeometryOptions]
) -> Array:
    """A local layer as a matrix: zero where an output does not see an input.

    Where a padding mode shows an input to several taps of a window, their weights add up.

    Parameters
    ----------
    weight : array_like, ``(*output, C_out, C_in // groups, *kernel)``
        float32 or float64.
    input_shape : sequence of int
        The shape of a sample, ``(C_in, *space)``, or of a batch of them.
    stride, padding, dilation, groups, padding_mode, flip
        As for ``conv``.

    Returns
    -------
    ndarray, ``(C_out * outputs, C_in * inputs)``
        ``matrix @ x.ravel()`` is the layer on one sample ``x``, channels first.

    Raises
    ------
    TypeError, ValueError
        As ``conv``.
    MemoryError
        The result cannot be allocated.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.local_to_dense([[[[1.0, 2.0]]], [[[3.0, 4.0]]]], (1, 3))
    array([[1., 2., 0.],
           [0., 3., 4.]])
    """
    weight = array("weight", weight)
    spec = _local_spec(input_shape, weight, geometry)
    outs, ins = prod(spec.output), prod(spec.size)
    groups, parts = spec.groups, (spec.channels_out // spec.groups, spec.channels_in // spec.groups)
    try:
        matrix = np.zeros((groups, parts[0], outs, groups, parts[1], ins), weight.dtype)
    except (ValueError, OverflowError):
        raise FaltungMemoryError(f"matrix: {outs, ins} positions cannot be allocated") from None
    kernels = weight.reshape(outs, groups, *parts, *spec.kernel)
    for tap, made, read in _reads(spec):
        for g in range(groups):
            at: Any = (made, g, slice(None), slice(None), *tap)
            matrix[g][:, made, g, :, read] += kernels[at]
    return matrix.reshape(spec.channels_out * outs, spec.channels_in * ins)


@explained
def conv_to_dense(
    weight: ArrayLike, input_shape: Sequence[int], **geometry: Unpack[GeometryOptions]
) -> Array:
    """A convolution as a matrix: zero where an output does not see an input.

    Parameters
    ----------
    weight : array_like, ``(C_out, C_in // groups, *kernel)``
        float32 or float64.
    input_shape : sequence of int
        The shape of a sample, ``(C_in, *space)``, or of a batch of them.
    stride, padding, dilation, groups, padding_mode, flip
        As for ``conv``.

    Returns
    -------
    ndarray, ``(C_out * outputs, C_in * inputs)``
        ``matrix @ x.ravel()`` is the convolution of one sample ``x``, channels first.

    Raises
    ------
    TypeError, ValueError
        As ``conv``.
    MemoryError
        The result cannot be allocated.

    References
    ----------
    S. d'Ascoli, L. Sagun, J. Bruna, G. Biroli, *Finding the needle in the haystack with
    convolutions: on the benefits of architectural bias*, NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.conv_to_dense([[[1.0, 2.0]]], (1, 3))
    array([[1., 2., 0.],
           [0., 1., 2.]])
    """
    return local_to_dense(conv_to_local(weight, input_shape, **geometry), input_shape, **geometry)


@explained
def dense_to_local(
    matrix: ArrayLike,
    input_shape: Sequence[int],
    channels_out: int,
    kernel: Sequence[int],
    **geometry: Unpack[GeometryOptions],
) -> Array:
    """A matrix as a local layer.

    Taps that read zeros of the padding get a zero, and so do all but the first of those that a
    padding mode shows the same input.

    Parameters
    ----------
    matrix : array_like, ``(C_out * outputs, C_in * inputs)``
        float32 or float64.
    input_shape : sequence of int
        The shape of a sample, ``(C_in, *space)``, or of a batch of them.
    channels_out : int
    kernel : sequence of int
        The size of the kernel along each spatial axis.
    stride, padding, dilation, groups, padding_mode, flip
        As for ``conv``.

    Returns
    -------
    ndarray, ``(*output, C_out, C_in // groups, *kernel)``

    Raises
    ------
    ValueError
        The first entry, in the order of the matrix, that is not zero although its output does not
        see its input. Otherwise as ``conv``.
    TypeError
        As ``conv``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.dense_to_local([[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]], (1, 3), 1, (2,)).reshape(-1, 2)
    array([[1., 2.],
           [3., 4.]])
    """
    matrix = array("matrix", matrix)
    spec = _dense_spec(input_shape, channels_out, kernel, matrix, geometry)
    outs, ins = prod(spec.output), prod(spec.size)
    groups, parts = spec.groups, (spec.channels_out // spec.groups, spec.channels_in // spec.groups)
    entries = matrix.reshape(groups, parts[0], outs, groups, parts[1], ins)
    weight = np.zeros((outs, groups, *parts, *spec.kernel), matrix.dtype)
    seen = np.zeros((outs, ins), bool)
    for tap, made, read in _reads(spec):
        new = ~seen[made, read]
        made, read = made[new], read[new]
        seen[made, read] = True
        for g in range(groups):
            at: Any = (made, g, slice(None), slice(None), *tap)
            weight[at] = entries[g][:, made, g, :, read]
    _check_zeros(entries, seen, spec)
    return weight.reshape(*spec.output, *spec.weight_shape)


@explained
def local_to_conv(
    weight: ArrayLike, input_shape: Sequence[int], **geometry: Unpack[GeometryOptions]
) -> Array:
    """A local layer as a convolution: the kernel that all its positions share.

    Weights of taps that read zeros of the padding do not matter and are not compared; a tap that
    reads nothing else anywhere gets a zero.

    Parameters
    ----------
    weight : array_like, ``(*output, C_out, C_in // groups, *kernel)``
        float32 or float64.
    input_shape : sequence of int
        The shape of a sample, ``(C_in, *space)``, or of a batch of them.
    stride, padding, dilation, groups, padding_mode, flip
        As for ``conv``.

    Returns
    -------
    ndarray, ``(C_out, C_in // groups, *kernel)``

    Raises
    ------
    ValueError
        The first weight, tap by tap, that differs from the one at an earlier position. Otherwise as
        ``conv``.
    TypeError
        As ``conv``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.local_to_conv([[[[1.0, 2.0]]], [[[1.0, 2.0]]]], (1, 3))
    array([[[1., 2.]]])
    """
    weight = array("weight", weight)
    spec = _local_spec(input_shape, weight, geometry)
    every = weight.reshape(prod(spec.output), *spec.weight_shape)
    shared = np.zeros(spec.weight_shape, weight.dtype)
    for tap, made, _ in _reads(spec):
        if not len(made):
            continue
        one: Any = (slice(None), slice(None), *tap)
        here = every[(made, *one)]
        shared[one] = here[0]
        # A NaN is the same as a NaN: what is asked is whether numbers are shared.
        other = (here != here[0]) & ~(np.isnan(here) & np.isnan(here[0]))
        if other.any():
            at, out, into = (int(i) for i in np.argwhere(other)[0])
            place, first = (
                (*map(int, np.unravel_index(made[i], spec.output)), out, into, *map(int, tap))
                for i in (at, 0)
            )
            raise FaltungError(
                f"weight[{_text(place)}]={here[at, out, into]}: must be {here[0, out, into]}, that "
                f"of weight[{_text(first)}], as a convolution shares its kernel"
            )
    return shared


@explained
def dense_to_conv(
    matrix: ArrayLike,
    input_shape: Sequence[int],
    channels_out: int,
    kernel: Sequence[int],
    **geometry: Unpack[GeometryOptions],
) -> Array:
    """A matrix as a convolution: ``dense_to_local``, then ``local_to_conv``.

    Where a padding mode shows an input to two taps of a window, the matrix does not say what each
    of them had: an error.

    Parameters
    ----------
    matrix : array_like, ``(C_out * outputs, C_in * inputs)``
        float32 or float64.
    input_shape : sequence of int
        The shape of a sample, ``(C_in, *space)``, or of a batch of them.
    channels_out : int
    kernel : sequence of int
        The size of the kernel along each spatial axis.
    stride, padding, dilation, groups, padding_mode, flip
        As for ``conv``.

    Returns
    -------
    ndarray, ``(C_out, C_in // groups, *kernel)``

    Raises
    ------
    ValueError
        As ``dense_to_local`` and ``local_to_conv``; two taps that read the same input.
    TypeError
        As ``conv``.

    References
    ----------
    S. d'Ascoli, L. Sagun, J. Bruna, G. Biroli, *Finding the needle in the haystack with
    convolutions: on the benefits of architectural bias*, NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.dense_to_conv([[1.0, 2.0, 0.0], [0.0, 1.0, 2.0]], (1, 3), 1, (2,))
    array([[[1., 2.]]])
    """
    matrix = array("matrix", matrix)
    spec = _dense_spec(input_shape, channels_out, kernel, matrix, geometry)
    for _, made, _read in _twice(spec):
        if len(made):
            raise FaltungError(
                f"padding_mode={spec.padding_mode}: two taps of a window read the same input, so "
                "the matrix holds the sum of their weights alone"
            )
    local = dense_to_local(matrix, input_shape, channels_out, kernel, **geometry)
    return local_to_conv(local, input_shape, **geometry)


# What the functions share -------------------------------------------------------------------------


def _spec(
    input_shape: Sequence[int],
    weight: tuple[int, ...],
    like: Array,
    geometry: Mapping[str, Any],
    name: str = "weight.shape",
) -> ConvSpec:
    shape = batched_shape("input_shape", input_shape, len(weight) - 2, False)
    return spec_of((1, *shape[1:]), weight, like.dtype, _geometry(geometry), "input_shape", name)


def _geometry(given: Mapping[str, Any]) -> Geometry:
    """The geometry of these arguments. TypeError: another name."""
    for name, value in given.items():
        if name not in Geometry._fields:
            raise FaltungTypeError(
                f"{name}={show(value)}: must be one of {', '.join(Geometry._fields)}"
            )
    return Geometry(**given)


def _local_spec(input_shape: Sequence[int], weight: Array, geometry: Mapping[str, Any]) -> ConvSpec:
    rank = local_rank("weight.shape", weight.shape)
    shape = batched_shape("input_shape", input_shape, rank, False)
    one = (1, *shape[1:])
    return local_spec(one, weight.shape, weight.dtype, _geometry(geometry), "input_shape")


def _dense_spec(
    input_shape: Sequence[int],
    channels_out: int,
    kernel: Sequence[int],
    matrix: Array,
    geometry: Mapping[str, Any],
) -> ConvSpec:
    taps = integers("kernel", kernel)
    shape = batched_shape("input_shape", input_shape, len(taps), False)
    groups = _geometry(geometry).groups
    inner = shape[1] // groups if type(groups) is int and groups > 0 else shape[1]
    spec = _spec(input_shape, (channels_out, inner, *taps), matrix, geometry, "weight shape")
    wanted = (spec.channels_out * prod(spec.output), spec.channels_in * prod(spec.size))
    if matrix.shape != wanted:
        raise FaltungError(
            f"matrix.shape={matrix.shape}: must be {wanted}, (C_out * outputs, C_in * inputs)"
        )
    return spec


Reads = Iterator[tuple[tuple[int, ...], npt.NDArray[np.intp], npt.NDArray[np.intp]]]


def _reads(spec: ConvSpec) -> Reads:
    """For every tap: its index in the weight, the outputs at which it reads an input, and which."""
    tables = [sources(axis) for axis in spec.axes]
    for tap in np.ndindex(*spec.kernel):
        outputs, inputs = np.zeros(1, np.intp), np.zeros(1, np.intp)
        for read, k, axis in zip(tables, tap, spec.axes, strict=True):
            where = read[:, k]
            present = np.flatnonzero(where >= 0)
            outputs = (outputs[:, None] * axis.output + present).ravel()
            inputs = (inputs[:, None] * axis.size + where[present]).ravel()
        mirrored = tuple(size - 1 - k for size, k in zip(spec.kernel, tap, strict=True))
        yield (mirrored if spec.flip else tap), outputs, inputs


def _twice(spec: ConvSpec) -> Reads:
    """As ``_reads``, those pairs alone that an earlier tap read too."""
    seen = np.zeros((prod(spec.output), prod(spec.size)), bool)
    for tap, made, read in _reads(spec):
        again = seen[made, read]
        seen[made, read] = True
        yield tap, made[again], read[again]


def _check_zeros(entries: Array, seen: npt.NDArray[np.bool_], spec: ConvSpec) -> None:
    """ValueError: an entry of the matrix that the layer cannot express."""
    wrong = entries != 0
    for g in range(spec.groups):
        wrong[g, :, :, g] &= ~seen[:, None, :]
    if not wrong.any():
        return
    g, of, o, h, into, i = map(int, np.unravel_index(wrong.argmax(), wrong.shape))
    out, channel = g * entries.shape[1] + of, h * entries.shape[4] + into
    row, column = out * seen.shape[0] + o, channel * seen.shape[1] + i
    to = _text(map(int, np.unravel_index(o, spec.output)))
    source = _text(map(int, np.unravel_index(i, spec.size)))
    raise FaltungError(
        f"matrix[{row}, {column}]={entries[g, of, o, h, into, i]}: must be 0, the output at "
        f"({to}) of channel {out} does not see the input at ({source}) of channel {channel}"
    )


def _text(numbers: Any) -> str:
    return ", ".join(map(str, numbers))
