"""The local ("unshared") convolution and its gradients as functions of NumPy arrays.

As a convolution, but with a kernel of its own for each output position: weight
``(*output, C_out, C_in // groups, *kernel)``, bias ``(*output, C_out)``. Inputs are
``(N, C, *space)``, or ``(N, *space, C)`` with ``channels_last``; N may be left out. Any strides,
read-only inputs and empty batches are fine.

Kernels read weights that lie in memory as ``(*output, *kernel, C_in // groups, C_out)`` where they
are; others are copied at every call. ``pack_local`` gives the same array in that order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from faltung.geometry.calls import explained
from faltung.geometry.check import PerAxis
from faltung.geometry.padding import Padding, PaddingMode
from faltung.ops.arguments import Array, array
from faltung.ops.constant import BorderMode, constant
from faltung.ops.directions import (
    LOCAL,
    forward,
    input_grad,
    memory_order,
    transpose,
    weight_grad,
)
from faltung.ops.options import Geometry, local_rank


@explained
def conv_local(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: BorderMode = "zeros",
    padding_value: complex = 0.0,
    flip: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The locally connected layer of any rank: a kernel of its own for each output position.

    Parameters
    ----------
    x : array_like, ``(N, C_in, *space)`` or ``(C_in, *space)``
        float32 or float64.
    weight : array_like, ``(*output, C_out, C_in // groups, *kernel)``
        ``pack_local`` brings it into the order that needs no copy.
    bias : array_like, ``(*output, C_out)``, optional
    stride, padding, ..., out
        As for ``conv``.

    Returns
    -------
    ndarray, ``(N, C_out, *output)``
        Without N if ``x`` has none, with the channels last if ``x`` has them last.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.
    MemoryError
        The result cannot be allocated.

    References
    ----------
    Y. Taigman, M. Yang, M. Ranzato, L. Wolf, *DeepFace: closing the gap to human-level performance
    in face verification*, CVPR 2014.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> weight = np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1) * np.ones((3, 1, 1, 2))
    >>> faltung.conv_local([[1.0, 2.0, 4.0, 8.0]], weight)
    array([[   3.,   60., 1200.]])
    """
    given = Geometry(stride, padding, dilation, groups, padding_mode, flip)  # type: ignore[arg-type]
    geometry, border = constant(given, padding_value)
    made: Array = forward(
        LOCAL, (x, weight, bias), geometry, channels_last, out, border=border
    ).run()
    return made


@explained
def conv_local_input_grad(
    grad: ArrayLike,
    weight: ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: BorderMode = "zeros",
    padding_value: complex = 0.0,
    flip: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the input of ``conv_local``, from that for its output.

    Parameters
    ----------
    grad : array_like, ``(N, C_out, *output)``
        As ``conv_local`` returns its result.
    weight : array_like, ``(*output, C_out, C_in // groups, *kernel)``
    input_shape : sequence of int
        The shape of ``x``, with the channels last if ``channels_last``.
    stride, padding, ..., out
        As for ``conv``.

    Returns
    -------
    ndarray of shape ``input_shape``

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``conv_local``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> weight = np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1) * np.ones((3, 1, 1, 2))
    >>> faltung.conv_local_input_grad(np.ones((1, 3)), weight, (1, 4))
    array([[  1.,  11., 110., 100.]])
    """
    given = Geometry(stride, padding, dilation, groups, padding_mode, flip)  # type: ignore[arg-type]
    geometry, _ = constant(given, padding_value)
    made: Array = input_grad(LOCAL, (grad, weight), geometry, channels_last, out, input_shape).run()
    return made


@explained
def conv_local_weight_grad(
    x: ArrayLike,
    grad: ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: BorderMode = "zeros",
    padding_value: complex = 0.0,
    flip: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the weight of ``conv_local``, from that for its output.

    The gradient for the bias is the sum of ``grad`` over the batch.

    Parameters
    ----------
    x : array_like, ``(N, C_in, *space)``
        As ``conv_local`` takes it.
    grad : array_like, ``(N, C_out, *output)``
        As ``conv_local`` returns its result.
    weight_shape : sequence of int
        ``(*output, C_out, C_in // groups, *kernel)``.
    stride, padding, ..., out
        As for ``conv``.

    Returns
    -------
    ndarray of shape ``weight_shape``
        In memory in the order of ``pack_local``, unless ``out`` is given.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``conv_local``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> grad = faltung.conv_local_weight_grad([[1.0, 2.0, 4.0, 8.0]], np.ones((1, 3)), (3, 1, 1, 2))
    >>> grad[:, 0, 0]
    array([[1., 2.],
           [2., 4.],
           [4., 8.]])
    """
    given = Geometry(stride, padding, dilation, groups, padding_mode, flip)  # type: ignore[arg-type]
    geometry, border = constant(given, padding_value)
    made: Array = weight_grad(
        LOCAL, (x, grad), geometry, channels_last, out, weight_shape, border=border
    ).run()
    return made


@explained
def conv_local_transpose(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    channels_last: bool = False,
    out: Array | None = None,
) -> Array:
    """The transposed local layer: every position of ``x`` is spread by a kernel of its own.

    It is the gradient for the input of a local layer. So its own gradients are ``conv_local`` (for
    ``x``), and ``conv_local_weight_grad`` with ``x`` and the output gradient exchanged.

    Parameters
    ----------
    x : array_like, ``(N, C_in, *space)`` or ``(C_in, *space)``
    weight : array_like, ``(*space, C_in, C_out // groups, *kernel)``
    bias : array_like, ``(*output, C_out)``, optional
    stride, padding, output_padding, ..., out
        As for ``conv_transpose``.

    Returns
    -------
    ndarray, ``(N, C_out, *output)``, without N if ``x`` has none
        Of the size that ``conv_transpose`` gives.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``conv_local``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> weight = np.array([1.0, 10.0]).reshape(2, 1, 1, 1) * np.ones((2, 1, 1, 3))
    >>> faltung.conv_local_transpose([[1.0, 2.0]], weight, stride=2)
    array([[ 1.,  1., 21., 20., 20.]])
    """
    geometry = Geometry(stride, padding, dilation, groups, padding_mode, flip)
    return transpose(LOCAL, (x, weight, bias), geometry, channels_last, out, output_padding)


@explained
def pack_local(weight: ArrayLike) -> Array:
    """The same weight, in memory in the order in which kernels read it without a copy.

    Parameters
    ----------
    weight : array_like, ``(*output, C_out, C_in // groups, *kernel)``

    Returns
    -------
    array of the same shape and numbers
        In memory ``(*output, *kernel, C_in // groups, C_out)``.

    Raises
    ------
    TypeError, ValueError
        As ``conv_local``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> packed = faltung.pack_local(np.zeros((6, 6, 8, 4, 3, 3)))
    >>> packed.shape, packed.transpose(0, 1, 4, 5, 3, 2).flags.c_contiguous
    ((6, 6, 8, 4, 3, 3), True)
    """
    weight = array("weight", weight)
    order = memory_order(weight.ndim, local_rank("weight.shape", weight.shape))
    return np.ascontiguousarray(weight.transpose(order)).transpose(np.argsort(order))
