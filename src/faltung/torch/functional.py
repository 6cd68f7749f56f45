"""Convolutions as functions of PyTorch's tensors.

Tensors are ``(N, C, *space)``, or ``(C, *space)`` without a batch. They may lie in memory in any
way: those with their channels last (``memory_format=torch.channels_last``) are used where they
are, and the result has its channels last, too. The order of the arguments is PyTorch's; names and
meaning are those of ``faltung.conv`` and its kin, which do the work.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

import faltung.torch.operators  # noqa: F401
from faltung.geometry.check import PerAxis, truth
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.padding import Padding, PaddingMode
from faltung.torch.words import conv_words, remembered

_ops: Any = torch.ops.faltung
# As a class of which nothing is known: what is passed may be something else than was promised.
TENSOR: Any = Tensor
# What the functions call the entries of ``given``.
_NAMES = (
    *("stride", "padding", "dilation", "groups", "padding_mode", "flip", "output_padding"),
    *("precision", "method", "tune"),
)
CONV = _ops.conv.default
_conv_transpose = _ops.conv_transpose.default


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    *,
    flip: bool = False,
    channels_last: bool = False,
    precision: str = "fast",
    method: str = "auto",
    tune: bool | None = None,
) -> Tensor:
    """Cross-correlation of any rank; with ``flip``, the convolution of mathematics.

    It has gradients of any order, forward-mode derivatives, and rules for ``torch.vmap``,
    ``torch.autocast``, ``torch.compile`` and ``torch.export``.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, *space)`` or ``(C_in, *space)``
        Of float32, float64, float16, bfloat16, int32, int64, complex64 or complex128, on the CPU.
    weight : Tensor, ``(C_out, C_in // groups, *kernel)``
        Its ``ndim - 2`` is the rank, the number of spatial axes.
    bias : Tensor, ``(C_out,)``, optional
        With numbers of 16 bits it may be float32.
    stride, dilation : int, or one int for each spatial axis
    padding : int, name, or one entry for each spatial axis
        An int, a (before, after) pair or a name: "valid", "same", "same_upper", "same_lower",
        "causal". With a stride "same" is allowed, too.
    groups : int
    padding_mode : name, or one name for each spatial axis
        "zeros", "reflect", "symmetric", "replicate" or "circular".
    flip : bool
        Read the kernel backwards along each spatial axis.
    channels_last : bool
        The channels are the last axis of ``x`` and of the result, ``(N, *space, C)``, whatever
        their order in memory.
    precision, method, tune
        As for ``faltung.conv``.

    Returns
    -------
    Tensor, ``(N, C_out, *output)``
        Without N if ``x`` has none. Its channels lie last in memory if those of ``x`` or ``weight``
        do, else it is contiguous. The same bits for every number of threads.

    Raises
    ------
    TypeError, ValueError
        The message names the argument, its value and the rule.

    References
    ----------
    V. Dumoulin, F. Visin, *A guide to convolution arithmetic for deep learning*, 2016.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> faltung.torch.conv(x, torch.ones(1, 1, 3, 3), stride=2, padding=1)
    tensor([[[[10., 24.],
              [51., 90.]]]])
    """
    given = stride, padding, dilation, groups, padding_mode, flip, 0, precision, method, tune
    if not (isinstance(x, TENSOR) and isinstance(weight, TENSOR)):
        return otherwise(conv, (x, weight, bias), given, channels_last)
    rank = weight.ndim - 2
    words = remembered(conv_words, rank, given)
    return called(CONV, x, weight, bias, words, rank, channels_last)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    padding_mode: PaddingMode = "zeros",
    *,
    flip: bool = False,
    channels_last: bool = False,
    precision: str = "fast",
    method: str = "auto",
    tune: bool | None = None,
) -> Tensor:
    """Transposed convolution of any rank, as PyTorch defines it: a gradient for an input.

    With a padding mode other than zeros it is the transpose of the convolution with that mode.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, *space)`` or ``(C_in, *space)``
    weight : Tensor, ``(C_in, C_out // groups, *kernel)``
    bias : Tensor, ``(C_out,)``, optional
    stride, padding, dilation, groups, padding_mode, flip, channels_last, precision, method, tune
        As for ``conv``. The order of the arguments is that of PyTorch's ``conv_transpose2d``.
    output_padding : int, or one int for each spatial axis
        Entries added at the end of each axis of the result, fewer than its stride or dilation.

    Returns
    -------
    Tensor, ``(N, C_out, *output)``, without N if ``x`` has none
        Along each axis ``output = (H - 1) s - (p_lo + p_hi) + d (k - 1) + output_padding + 1``.

    Raises
    ------
    TypeError, ValueError
        As ``conv``.

    References
    ----------
    V. Dumoulin, F. Visin, *A guide to convolution arithmetic for deep learning*, 2016.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> faltung.torch.conv_transpose(torch.tensor([[1.0, 2.0]]), torch.ones(1, 1, 3), stride=2)
    tensor([[1., 1., 3., 2., 2.]])
    """
    given = (
        *(stride, padding, dilation, groups, padding_mode, flip, output_padding),
        *(precision, method, tune),
    )
    if not (isinstance(x, TENSOR) and isinstance(weight, TENSOR)):
        return otherwise(conv_transpose, (x, weight, bias), given, channels_last)
    rank = weight.ndim - 2
    words = remembered(conv_words, rank, given)
    return called(_conv_transpose, x, weight, bias, words, rank, channels_last)


def conv_local(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    *,
    flip: bool = False,
    channels_last: bool = False,
) -> Tensor:
    """The locally connected ("unshared") layer of any rank: a kernel for each output position.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, *space)`` or ``(C_in, *space)``
        float32 or float64.
    weight : Tensor, ``(*output, C_out, C_in // groups, *kernel)``
        ``pack_local`` brings it into the order that needs no copy.
    bias : Tensor, ``(*output, C_out)``, optional
    stride, padding, dilation, groups, padding_mode, flip, channels_last
        As for ``conv``.

    Returns
    -------
    Tensor, ``(N, C_out, *output)``, without N if ``x`` has none

    Raises
    ------
    TypeError, ValueError
        As ``conv``.

    References
    ----------
    Y. Taigman, M. Yang, M. Ranzato, L. Wolf, *DeepFace: closing the gap to human-level performance
    in face verification*, CVPR 2014.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> weight = torch.tensor([1.0, 10.0, 100.0]).reshape(3, 1, 1, 1) * torch.ones(3, 1, 1, 2)
    >>> faltung.torch.conv_local(torch.tensor([[1.0, 2.0, 4.0, 8.0]]), weight)
    tensor([[   3.,   60., 1200.]])
    """
    given = stride, padding, dilation, groups, padding_mode, flip
    if not (isinstance(x, TENSOR) and isinstance(weight, TENSOR)):
        return otherwise(conv_local, (x, weight, bias), given, channels_last)
    rank = weight.ndim // 2 - 1
    words = remembered(conv_words, rank, given)
    return called(_ops.conv_local.default, x, weight, bias, words, rank, channels_last)


def conv_local_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    padding_mode: PaddingMode = "zeros",
    *,
    flip: bool = False,
    channels_last: bool = False,
) -> Tensor:
    """The transposed local layer: every position of ``x`` is spread by a kernel of its own.

    Parameters
    ----------
    x : Tensor, ``(N, C_in, *space)`` or ``(C_in, *space)``
        float32 or float64.
    weight : Tensor, ``(*space, C_in, C_out // groups, *kernel)``
    bias : Tensor, ``(*output, C_out)``, optional
    stride, padding, output_padding, groups, dilation, padding_mode, flip, channels_last
        As for ``conv_transpose``.

    Returns
    -------
    Tensor, ``(N, C_out, *output)``, without N if ``x`` has none
        Of the size that ``conv_transpose`` gives.

    Raises
    ------
    TypeError, ValueError
        As ``conv``.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> weight = torch.tensor([1.0, 10.0]).reshape(2, 1, 1, 1) * torch.ones(2, 1, 1, 3)
    >>> faltung.torch.conv_local_transpose(torch.tensor([[1.0, 2.0]]), weight, stride=2)
    tensor([[ 1.,  1., 21., 20., 20.]])
    """
    given = stride, padding, dilation, groups, padding_mode, flip, output_padding
    if not (isinstance(x, TENSOR) and isinstance(weight, TENSOR)):
        return otherwise(conv_local_transpose, (x, weight, bias), given, channels_last)
    rank = weight.ndim // 2 - 1
    words = remembered(conv_words, rank, given)
    return called(_ops.conv_local_transpose.default, x, weight, bias, words, rank, channels_last)


def pack_local(weight: Tensor) -> Tensor:
    """The same weight of a local layer, in memory in the order that is read without a copy.

    Parameters
    ----------
    weight : Tensor, ``(*output, C_out, C_in // groups, *kernel)``

    Returns
    -------
    Tensor of the same shape and numbers
        In memory ``(*output, *kernel, C_in // groups, C_out)``.

    Raises
    ------
    ValueError
        Not as many axes as such a weight has.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> packed = faltung.torch.pack_local(torch.zeros(6, 6, 8, 4, 3, 3))
    >>> packed.shape, packed.permute(0, 1, 4, 5, 3, 2).is_contiguous()
    (torch.Size([6, 6, 8, 4, 3, 3]), True)
    """
    rank = weight.ndim // 2 - 1
    if rank < 1 or weight.ndim % 2:
        raise FaltungError(
            f"weight.shape={tuple(weight.shape)}: must be (*output, C_out, C_in // groups, *kernel)"
        )
    order = [*range(rank), *range(rank + 2, weight.ndim), rank + 1, rank]
    back = [order.index(d) for d in range(weight.ndim)]
    return weight.permute(order).contiguous().permute(back)


def called(
    operator: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    words: str,
    rank: int,
    channels_last: bool,
) -> Tensor:
    """The operator on an input that may lack a batch, or have its channels as the last axis."""
    if bias is not None and not isinstance(bias, TENSOR):
        raise _refused("bias", bias)
    if x.ndim == rank + 2 and channels_last is False:
        y: Tensor = operator(x, weight, bias, words)
        return y
    if x.ndim not in (rank + 1, rank + 2) or rank < 1:
        raise FaltungError(
            f"x.shape={tuple(x.shape)}: must have {rank + 2} dimensions (batch, channels and "
            f"{rank} of space, as the weight says), or {rank + 1} without the batch"
        )
    if truth("channels_last", channels_last):
        x = x.movedim(-1, x.ndim - rank - 1)
    if x.ndim == rank + 2:
        y = operator(x, weight, bias, words)
    else:
        y = operator(x.unsqueeze(0), weight, bias, words).squeeze(0)
    return y.movedim(y.ndim - rank - 1, -1) if channels_last else y


def otherwise(
    function: Callable[..., Tensor], given: tuple[Any, ...], options: tuple[Any, ...], last: bool
) -> Tensor:
    """What to do with arguments that are no tensors: those that stand for one, as ``torch.fx`` has
    them, say themselves what happens; others are refused.
    """
    if has_torch_function(given):
        usual = {"output_padding": 0, "precision": "fast", "method": "auto", "tune": None}
        named = dict(zip(_NAMES, options, strict=False))
        named = {n: v for n, v in named.items() if n not in usual or v != usual[n]}
        if last is not False:
            named["channels_last"] = last
        made: Tensor = handle_torch_function(function, given, *given, **named)
        return made
    names = ("x", "weight", "bias")
    wrong = [(n, v) for n, v in zip(names, given, strict=True) if not isinstance(v, TENSOR)]
    raise _refused(*wrong[0])


def _refused(name: str, value: object) -> FaltungTypeError:
    return FaltungTypeError(
        f"{name}={type(value).__name__}: must be a torch.Tensor; faltung.conv takes arrays"
    )
