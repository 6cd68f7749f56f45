"""Normalisation, and dropout."""

from __future__ import annotations

from dataclasses import KW_ONLY

from faltung.geometry.check import real, show, whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import at_least, operand, power, random, select
from faltung.geometry.record import dataclass
from faltung.graph.builder import Builder
from faltung.graph.ops import ChannelConv, Elementwise, Normalise
from faltung.graph.ops import Dropout as DropoutOp
from faltung.graph.value import Value
from faltung.nn.layer import Layer, numbers


@dataclass(frozen=True, slots=True, repr=False)
class BatchNorm(Layer):
    """Batch normalisation: each channel with zero mean and unit variance.

    In training by the statistics of the batch, at inference by running ones. Its parameters are
    ``weight``, ``bias``, ``running_mean`` and ``running_var``, ``(C,)`` each; the running variance
    is the unbiased one, as in PyTorch.

    Parameters
    ----------
    eps : float, above 0
        Added to the variance.
    momentum : float from 0 to 1
        How far each batch moves the running statistics.

    References
    ----------
    S. Ioffe, C. Szegedy, *Batch normalization: accelerating deep network training by reducing
    internal covariate shift*, ICML 2015.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.BatchNorm(), (16, 32, 32)).output.shape
    (16, 32, 32)
    """

    _: KW_ONLY
    eps: float = 1e-5
    momentum: float = 0.1

    def build(self, b: Builder, x: Value) -> Value:
        x = b.settled(x)
        gain, shift = _affine(b, x)
        c = (x.channels,)
        running = [
            b.parameter(name, c, initial=start, decay=False, trained=False)
            for name, start in (("running_mean", 0.0), ("running_var", 1.0))
        ]
        eps, momentum = _positive("eps", self.eps), real("momentum", self.momentum)
        if not 0 <= momentum <= 1:
            raise FaltungError(f"momentum={show(self.momentum)}: must be between 0 and 1")
        op = Normalise("batch", eps, momentum=momentum, training=b.training)
        operands = (x, gain, shift, *running)
        return b.node(op, operands, x.shape, fields=b.fields(x))


@dataclass(frozen=True, slots=True, repr=False)
class GroupNorm(Layer):
    """Group normalisation: by the statistics of each sample and each group of channels.

    Its parameters are ``weight`` and ``bias``, ``(C,)`` each.

    Parameters
    ----------
    groups : int
        Must divide the channels.
    eps : float, above 0
        Added to the variance.

    References
    ----------
    Y. Wu, K. He, *Group normalization*, ECCV 2018.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.GroupNorm(4), (16, 32, 32)).output.shape
    (16, 32, 32)
    """

    groups: int
    _: KW_ONLY
    eps: float = 1e-5

    def build(self, b: Builder, x: Value) -> Value:
        x = b.settled(x)
        groups = whole("groups", self.groups, 1)
        if x.channels % groups:
            raise FaltungError(
                f"groups={groups}: must divide the {x.channels} channels that GroupNorm gets "
                f"{b.after(x)}"
            )
        op = Normalise("group", _positive("eps", self.eps), groups)
        return b.node(op, (x, *_affine(b, x)), x.shape, fields=b.fields(x))


@dataclass(frozen=True, slots=True, repr=False)
class LayerNorm(Layer):
    """Layer normalisation over the channels at each position, as in ConvNeXt and transformers.

    Its parameters are ``weight`` and ``bias``, ``(C,)`` each. For the whole sample at once take
    ``GroupNorm(1)``.

    Parameters
    ----------
    eps : float, above 0
        Added to the variance.

    References
    ----------
    J. Ba, J. Kiros, G. Hinton, *Layer normalization*, 2016.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.LayerNorm(), (16, 32, 32)).output.shape
    (16, 32, 32)
    """

    _: KW_ONLY
    eps: float = 1e-5

    def build(self, b: Builder, x: Value) -> Value:
        x = b.settled(x)
        op = Normalise("position", _positive("eps", self.eps))
        return b.node(op, (x, *_affine(b, x)), x.shape, fields=b.fields(x))


@dataclass(frozen=True, slots=True, repr=False)
class LocalResponseNorm(Layer):
    """Local response normalisation: ``x (k + alpha / size * sum of x^2)^-beta``.

    The sum is over ``size`` neighbouring channels. With PyTorch's ``alpha / size``.

    Parameters
    ----------
    size : int
        Channels of the sum.
    alpha : float, at least 0
    beta : float
    k : float, above 0

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, *ImageNet classification with deep convolutional neural
    networks*, NIPS 2012, section 3.3.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.LocalResponseNorm(5), (16, 32, 32)).output.shape
    (16, 32, 32)
    """

    size: int = 5
    _: KW_ONLY
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def build(self, b: Builder, x: Value) -> Value:
        x, size, k = b.settled(x), whole("size", self.size, 1), _positive("k", self.k)
        alpha, beta = real("alpha", self.alpha), real("beta", self.beta)
        if alpha < 0:
            raise FaltungError(f"alpha={show(self.alpha)}: must be at least 0")
        square = b.elementwise(operand(0) * operand(0), x)
        # Neighbours that no channel has are left out: the text of a network may say any size.
        before, after = min(size // 2, x.channels - 1), min((size - 1) // 2, x.channels - 1)
        op = ChannelConv((alpha / size,) * (before + 1 + after), before)
        scale = b.node(op, (square,), x.shape, fields=b.fields(x))
        return b.elementwise(operand(0) * power(k + operand(1), -beta), x, scale)


@dataclass(frozen=True, slots=True, repr=False)
class Dropout(Layer):
    """In training, zeros with probability ``rate``; other elements are divided by ``1 - rate``.

    Which elements are zero follows from the seed, the step and the number of each element alone.

    Parameters
    ----------
    rate : float from 0, below 1

    References
    ----------
    N. Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting*, JMLR
    15, 2014.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.Dropout(0.2), (16, 32, 32), training=True).output.shape
    (16, 32, 32)
    """

    rate: float = 0.5

    def build(self, b: Builder, x: Value) -> Value:
        rate = rate_of(self.rate)
        if not b.training or rate == 0:
            return x
        key = b.outside("key", kind="key")
        made = b.node(DropoutOp(rate), (x, key), x.shape, fields=b.fields(x))
        return b.flatten(made) if b.flat(x) else made


@dataclass(frozen=True, slots=True, repr=False)
class StochasticDepth(Layer):
    """In training, all of a sample is zero with probability ``rate``, else divided by ``1 - rate``.

    Before the addition of a residual block it leaves the block out.

    Parameters
    ----------
    rate : float from 0, below 1

    References
    ----------
    G. Huang, Y. Sun, Z. Liu, D. Sedra, K. Q. Weinberger, *Deep networks with stochastic depth*,
    ECCV 2016.

    Examples
    --------
    >>> from faltung import nn
    >>> block = nn.Residual(nn.Sequential(nn.Conv(16, 1), nn.StochasticDepth(0.1)))
    >>> nn.build(block, (16, 32, 32), training=True).output.shape
    (16, 32, 32)
    """

    rate: float

    def build(self, b: Builder, x: Value) -> Value:
        rate = rate_of(self.rate)
        x = b.settled(x)
        numbers(b, x)
        if not b.training or rate == 0:
            return x
        key = b.outside("key", kind="key")
        one = (1,) * len(x.shape)
        keep = select(at_least(random(operand(0)), rate), 1 / (1 - rate), 0)
        factor = b.node(Elementwise(one, (keep,)), (key,), one)
        return b.elementwise(operand(0) * operand(1), x, factor)


def rate_of(value: float) -> float:
    """A probability that is not 1."""
    rate = real("rate", value)
    if not 0 <= rate < 1:
        raise FaltungError(f"rate={show(value)}: must be at least 0 and below 1")
    return rate


def _affine(b: Builder, x: Value) -> tuple[Value, Value]:
    """Gain and shift of each channel."""
    numbers(b, x)
    gain = b.parameter("weight", (x.channels,), initial=1.0, decay=False)
    return gain, b.parameter("bias", (x.channels,), initial=0.0, decay=False)


def _positive(name: str, value: float) -> float:
    number = real(name, value)
    if not number > 0:
        raise FaltungError(f"{name}={show(value)}: must be above 0")
    return number
