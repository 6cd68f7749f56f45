"""Convolution, its gradients and its transpose as functions of NumPy arrays.

Arrays are ``(N, C, *space)``, or ``(N, *space, C)`` with ``channels_last``; N may be left out.
Weights are always ``(C_out, C_in // groups, *kernel)``. Any strides, read-only inputs and empty
batches are fine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, ParamSpec, cast

from numpy.typing import ArrayLike

from faltung.geometry.calls import explained
from faltung.geometry.check import PerAxis
from faltung.geometry.errors import FaltungError
from faltung.geometry.padding import Padding, PaddingMode
from faltung.ops.arguments import OTHERS, Array, array
from faltung.ops.call_cache import Calls, Inputs, Prepared
from faltung.ops.constant import BorderMode, constant
from faltung.ops.directions import SHARED, forward, input_grad, transpose, weight_grad
from faltung.ops.options import WITHOUT_CHANNELS, Geometry
from faltung.ops.run import policy_of
from faltung.plan.words import MethodName, Precision

_calls: Calls[Array] = Calls()


def _shared(body: Callable[..., Prepared], borders: bool) -> Callable[..., Prepared]:
    """A direction with its options in one flat tuple, which is fast to make and to compare.
    borders: whether it depends on the constant that is in the padding.
    """

    def prepare(inputs: Inputs, options: tuple[Any, ...], out: Array | None) -> Prepared:
        geometry, border = constant(Geometry(*options[:6]), options[6])
        how = {"policy": policy_of(*options[8:11]), **({"border": border} if borders else {})}
        return body(SHARED, inputs, geometry, options[7], out, *options[11:], **how)

    return prepare


_forward = _shared(forward, True)
_input_grad = _shared(input_grad, False)
_weight_grad = _shared(weight_grad, True)


@explained
def conv(
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
    precision: Precision = "fast",
    method: MethodName = "auto",
    tune: bool | None = None,
    out: Array | None = None,
) -> Array:
    """Cross-correlation of any rank; with ``flip``, the convolution of mathematics.

    Parameters
    ----------
    x : array_like, ``(N, C_in, *space)`` or ``(C_in, *space)``
        With ``channels_last`` ``(N, *space, C_in)`` or ``(*space, C_in)``. Of float32, float64,
        float16, bfloat16, int32, int64, complex64 or complex128; all arrays have the same dtype.
    weight : array_like, ``(C_out, C_in // groups, *kernel)``
        Its ``ndim - 2`` is the rank, the number of spatial axes.
    bias : array_like, ``(C_out,)``, optional
        With 16-bit numbers it may be float32.
    stride, dilation : int, or one int for each spatial axis
        Steps, in entries of ``x``, between outputs and between taps of the kernel.
    padding : int, name, or one entry for each spatial axis
        Entries added on both sides of each axis, or (lo, hi) pairs of them; or "valid" (none),
        "same" (d (k - 1) in all, for any stride), "same_upper" and "same_lower" (the least that
        gives ceil(H / s) outputs), "causal" (d (k - 1), all before).
    groups : int
        The channels are split into so many parts that do not see each other.
    padding_mode : name, or one name for each spatial axis
        "zeros", "constant", "reflect", "symmetric", "replicate" or "circular".
    padding_value : number
        What "constant" puts into the padding; beyond the ends of other axes with zeros, zeros.
    flip : bool
        Read the kernel backwards along each spatial axis.
    channels_last : bool
        The channels are the last axis of ``x`` and of the result.
    precision : {"fast", "strict"}
        "strict" computes plain sums of products only, no transforms.
    method : "auto" or the name of a method
        How it is computed; "auto" takes the cheapest.
    tune : bool, optional
        Measure once which method is the fastest, and remember it. None: as FALTUNG_TUNE says.
    out : ndarray, optional
        Where to write the result. It must not share memory with the other arrays.

    Returns
    -------
    ndarray, ``(N, C_out, *output)``
        Without N if ``x`` has none, with the channels last if ``x`` has them last. Along each axis
        ``output = floor((H - d (k - 1) - 1 + p_lo + p_hi) / s) + 1``.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.
    MemoryError
        The result cannot be allocated.

    References
    ----------
    V. Dumoulin, F. Visin, *A guide to convolution arithmetic for deep learning*, 2016.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> faltung.conv(x, np.ones((1, 1, 3, 3)), stride=2, padding=1)
    array([[[[10., 24.],
             [51., 90.]]]])
    """
    geometry = stride, padding, dilation, groups, padding_mode, flip, padding_value
    options = *geometry, channels_last, precision, method, tune
    return _calls.run("conv", _forward, (x, weight, bias), options, out)


P = ParamSpec("P")


def _of_rank(
    rank: int, whole: Callable[P, Array]
) -> Callable[[Callable[[], None]], Callable[P, Array]]:
    """A decorator that makes ``conv`` for weights of one rank. The signature is that of ``conv``,
    for ``help`` and for type checkers; name and docstring are those of the decorated function.
    """
    called: Callable[..., Array] = whole.__wrapped__  # type: ignore[attr-defined]

    def decorated(named: Callable[[], None]) -> Callable[P, Array]:
        def of_rank(
            x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, **options: Any
        ) -> Array:
            checked = array("weight", weight, None, OTHERS)
            if checked.ndim != rank + 2:
                raise FaltungError(
                    f"weight.shape={checked.shape}: conv{rank}d needs {rank + 2} dimensions, "
                    "(C_out, C_in // groups, *kernel)"
                    f"{WITHOUT_CHANNELS if checked.ndim == rank else '; conv takes any rank'}"
                )
            return called(x, checked, bias, **options)

        made: Any = update_wrapper(of_rank, named)
        made.__wrapped__ = called
        return cast(Callable[P, Array], explained(made))

    return decorated


@_of_rank(1, conv)
def conv1d() -> None:
    """Cross-correlation of sequences: ``conv`` of rank 1.

    Parameters
    ----------
    x : array_like, ``(N, C_in, L)`` or ``(C_in, L)``
    weight : array_like, ``(C_out, C_in // groups, k)``
    bias : array_like, ``(C_out,)``, optional
    stride, padding, ..., out
        As for ``conv``.

    Returns
    -------
    ndarray, ``(N, C_out, output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``conv``; also for a weight of another rank.

    Examples
    --------
    >>> import faltung
    >>> faltung.conv1d([[1.0, 2.0, 4.0, 8.0]], [[[1.0, 1.0]]], stride=2)
    array([[ 3., 12.]])
    """


@_of_rank(2, conv)
def conv2d() -> None:
    """Cross-correlation of pictures: ``conv`` of rank 2.

    Parameters
    ----------
    x : array_like, ``(N, C_in, H, W)`` or ``(C_in, H, W)``
    weight : array_like, ``(C_out, C_in // groups, kh, kw)``
    bias : array_like, ``(C_out,)``, optional
    stride, padding, ..., out
        As for ``conv``.

    Returns
    -------
    ndarray, ``(N, C_out, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``conv``; also for a weight of another rank.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.conv2d(np.ones((1, 3, 3)), np.ones((1, 1, 3, 3)), padding="same")
    array([[[4., 6., 4.],
            [6., 9., 6.],
            [4., 6., 4.]]])
    """


@_of_rank(3, conv)
def conv3d() -> None:
    """Cross-correlation of volumes: ``conv`` of rank 3.

    Parameters
    ----------
    x : array_like, ``(N, C_in, D, H, W)`` or ``(C_in, D, H, W)``
    weight : array_like, ``(C_out, C_in // groups, kd, kh, kw)``
    bias : array_like, ``(C_out,)``, optional
    stride, padding, ..., out
        As for ``conv``.

    Returns
    -------
    ndarray, ``(N, C_out, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``conv``; also for a weight of another rank.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.conv3d(np.ones((2, 1, 4, 8, 8)), np.ones((5, 1, 3, 3, 3))).shape
    (2, 5, 2, 6, 6)
    """


@explained
def conv_input_grad(
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
    precision: Precision = "fast",
    method: MethodName = "auto",
    tune: bool | None = None,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the input of ``conv``, from that for its output.

    With complex arrays it takes the conjugate weight, as PyTorch does.

    Parameters
    ----------
    grad : array_like, ``(N, C_out, *output)``
        As ``conv`` returns its result.
    weight : array_like, ``(C_out, C_in // groups, *kernel)``
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
        As ``conv``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.conv_input_grad(np.ones((1, 3)), np.array([[[1.0, 2.0]]]), (1, 4))
    array([[1., 3., 3., 2.]])
    """
    geometry = stride, padding, dilation, groups, padding_mode, flip, padding_value
    options = *geometry, channels_last, precision, method, tune, input_shape
    return _calls.run("input_grad", _input_grad, (grad, weight), options, out)


@explained
def conv_weight_grad(
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
    precision: Precision = "fast",
    method: MethodName = "auto",
    tune: bool | None = None,
    out: Array | None = None,
) -> Array:
    """The gradient of a loss for the weight of ``conv``, from that for its output.

    With complex arrays it takes the conjugate input, as PyTorch does. The gradient for the bias is
    the sum of ``grad`` over batch and positions.

    Parameters
    ----------
    x : array_like, ``(N, C_in, *space)``
        As ``conv`` takes it.
    grad : array_like, ``(N, C_out, *output)``
        As ``conv`` returns its result.
    weight_shape : sequence of int
        ``(C_out, C_in // groups, *kernel)``.
    stride, padding, ..., out
        As for ``conv``.

    Returns
    -------
    ndarray of shape ``weight_shape``

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``conv``.

    Examples
    --------
    >>> import numpy as np, faltung
    >>> faltung.conv_weight_grad(np.array([[1.0, 2.0, 4.0, 8.0]]), np.ones((1, 3)), (1, 1, 2))
    array([[[ 7., 14.]]])
    """
    geometry = stride, padding, dilation, groups, padding_mode, flip, padding_value
    options = *geometry, channels_last, precision, method, tune, weight_shape
    return _calls.run("weight_grad", _weight_grad, (x, grad), options, out)


@explained
def conv_transpose(
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
    precision: Precision = "fast",
    method: MethodName = "auto",
    tune: bool | None = None,
    out: Array | None = None,
) -> Array:
    """Transposed convolution as PyTorch defines it: a convolution's gradient for its input.

    With a padding mode other than zeros it is the transpose of the convolution with that mode.

    Parameters
    ----------
    x : array_like, ``(N, C_in, *space)`` or ``(C_in, *space)``
    weight : array_like, ``(C_in, C_out // groups, *kernel)``
    bias : array_like, ``(C_out,)``, optional
    stride, padding, dilation, ..., out
        As for ``conv``.
    output_padding : int, or one int for each spatial axis
        Entries added at the end of each axis of the result, fewer than its stride or dilation:
        several sizes of input have the same size of output.

    Returns
    -------
    ndarray, ``(N, C_out, *output)``, without N if ``x`` has none
        Along each axis ``output = (H - 1) s - (p_lo + p_hi) + d (k - 1) + output_padding + 1``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As ``conv``.

    References
    ----------
    V. Dumoulin, F. Visin, *A guide to convolution arithmetic for deep learning*, 2016.

    Examples
    --------
    >>> import faltung
    >>> faltung.conv_transpose([[1.0, 2.0]], [[[1.0, 1.0, 1.0]]], stride=2)
    array([[1., 1., 3., 2., 2.]])
    """
    geometry = stride, padding, dilation, groups, padding_mode, flip
    policy = policy_of(precision, method, tune)
    inputs = x, weight, bias
    return transpose(
        SHARED, inputs, Geometry(*geometry), channels_last, out, output_padding, policy
    )
