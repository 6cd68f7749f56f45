"""Recurrent layers: along the only axis of a map, from its first position to its last."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal

from faltung.geometry.check import one_of, real, show, truth, whole
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.geometry.recurrent import RecurrentSpec, Squash
from faltung.graph.builder import Builder
from faltung.graph.ops import Dropout as DropoutOp
from faltung.graph.ops import Recurrent
from faltung.graph.value import Value
from faltung.nn.conv import spatial
from faltung.nn.layer import Layer


@dataclass(frozen=True, slots=True, repr=False)
class _Recurrent(Layer):
    """What the three layers share."""

    hidden: int
    _: KW_ONLY
    layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    last: bool = False
    dropout: float = 0.0

    def _spec(self, steps: int, size: int, reverse: tuple[bool, ...], bias: bool) -> RecurrentSpec:
        raise FaltungError(f"layer={type(self).__name__}: is not a kind of recurrence")

    def build(self, b: Builder, x: Value) -> Value:
        size, layers = whole("hidden", self.hidden, 1), whole("layers", self.layers, 1)
        rate = real("dropout", self.dropout)
        if not 0 <= rate < 1:
            raise FaltungError(f"dropout={show(self.dropout)}: must be at least 0 and below 1")
        bias, last = truth("bias", self.bias), truth("last", self.last)
        both = truth("bidirectional", self.bidirectional)
        kind = type(self).__name__
        x = spatial(b, x, kind)
        if len(x.space) != 1:
            raise FaltungError(
                f"{kind} {b.current!r} needs (channels, length), got {x.shape} {b.after(x)}"
            )
        spec = self._spec(x.positions, size, (False, True)[: 1 + both], bias)
        for number in range(layers):
            if number and rate and b.training:
                key = b.outside(f"key{number}", kind="key")
                x = b.node(DropoutOp(rate), (x, key), x.shape)
            made = self._layer(b, x, spec, number)
            x = made[0]
        return made[1] if last else x

    def _layer(self, b: Builder, x: Value, spec: RecurrentSpec, number: int) -> tuple[Value, ...]:
        inputs = [x]
        for reverse in spec.reverse:
            end = f"_l{number}{'_reverse' * reverse}"
            rows = len(spec.gates) * spec.hidden
            for name, columns in (("weight_ih", x.channels), ("weight_hh", spec.hidden)):
                inputs.append(
                    b.parameter(
                        name + end,
                        (rows, columns),
                        inner=(rows, columns, 1),
                        order=(2, 1, 0),
                        fan_in=spec.hidden,
                        gain=1.0,
                        initial="uniform",
                    )
                )
            for name in ("bias_ih", "bias_hh") if spec.bias else ():
                inputs.append(
                    b.parameter(
                        name + end,
                        (rows,),
                        fan_in=spec.hidden,
                        gain=1.0,
                        initial="uniform",
                        decay=False,
                    )
                )
        channels = spec.directions * spec.hidden
        states = [(channels,)] * (1 + spec.is_lstm)
        return b.nodes(Recurrent(spec), inputs, (channels, spec.steps), *states)


@dataclass(frozen=True, slots=True, repr=False)
class LSTM(_Recurrent):
    """Long short-term memory, along the only axis of a map.

    Makes ``(H, T)`` of ``(C, T)``, in both directions ``(2 H, T)``. Its parameters are called as in
    PyTorch and begin as there: ``weight_ih_l0`` ``(4 H, C)``, ``weight_hh_l0`` ``(4 H, H)``,
    ``bias_ih_l0`` and ``bias_hh_l0`` ``(4 H,)``, with the gates in the order input, forget, cell,
    output; those of further layers end in ``_l1`` and so on, those of the other direction in
    ``_reverse``.

    Parameters
    ----------
    hidden : int
        Units in each direction, H.
    layers : int
        How many stand on top of each other.
    bidirectional : bool
        Whether another layer walks from the end to the beginning.
    bias : bool
        With biases.
    last : bool
        Give the state after the last step ``(H,)`` instead of the map; of the other direction, that
        is the state at the beginning.
    dropout : float, from 0 to below 1
        Rate of dropout between layers.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, *Long short-term memory*, Neural Computation 9, 1997; F. A. Gers,
    J. Schmidhuber, F. Cummins, *Learning to forget*, Neural Computation 12, 2000.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.LSTM(32, bidirectional=True), (16, 50)).output.shape
    (64, 50)
    >>> nn.build(nn.LSTM(32, last=True), (16, 50)).output.shape
    (32,)
    """

    def _spec(self, steps: int, size: int, reverse: tuple[bool, ...], bias: bool) -> RecurrentSpec:
        return RecurrentSpec("lstm", steps, size, reverse, bias=bias, recurrent_bias=bias)


@dataclass(frozen=True, slots=True, repr=False)
class GRU(_Recurrent):
    """Gated recurrent units, along the only axis of a map.

    As ``LSTM``, with three gates: reset, update, new. The reset gate multiplies the recurrent
    product with its bias, as in PyTorch.

    Parameters
    ----------
    hidden : int
        Units in each direction, H.
    layers : int
        How many stand on top of each other.
    bidirectional : bool
        Whether another layer walks from the end to the beginning.
    bias : bool
        With biases.
    last : bool
        Give the state after the last step ``(H,)`` instead of the map.
    dropout : float, from 0 to below 1
        Rate of dropout between layers.

    References
    ----------
    K. Cho et al., *Learning phrase representations using RNN encoder-decoder*, EMNLP 2014.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.GRU(32, layers=2), (16, 50)).output.shape
    (32, 50)
    """

    def _spec(self, steps: int, size: int, reverse: tuple[bool, ...], bias: bool) -> RecurrentSpec:
        return RecurrentSpec(
            "gru",
            steps,
            size,
            reverse,
            linear_before_reset=True,
            bias=bias,
            recurrent_bias=bias,
        )


@dataclass(frozen=True, slots=True, repr=False)
class RNN(_Recurrent):
    """A simple recurrent layer, along the only axis of a map: h' = tanh(W x + R h + b).

    As ``LSTM``, with one gate.

    Parameters
    ----------
    hidden : int
        Units in each direction, H.
    layers : int
        How many stand on top of each other.
    bidirectional : bool
        Whether another layer walks from the end to the beginning.
    bias : bool
        With biases.
    last : bool
        Give the state after the last step ``(H,)`` instead of the map.
    dropout : float, from 0 to below 1
        Rate of dropout between layers.
    nonlinearity : {"tanh", "relu"}
        What the sum goes through.

    References
    ----------
    J. L. Elman, *Finding structure in time*, Cognitive Science 14, 1990.

    Examples
    --------
    >>> from faltung import nn
    >>> nn.build(nn.RNN(32, nonlinearity="relu"), (16, 50)).output.shape
    (32, 50)
    """

    _: KW_ONLY
    nonlinearity: Literal["tanh", "relu"] = "tanh"

    def _spec(self, steps: int, size: int, reverse: tuple[bool, ...], bias: bool) -> RecurrentSpec:
        squash = (Squash(one_of("nonlinearity", self.nonlinearity, ("tanh", "relu"))),)
        each = (squash,) * len(reverse)
        return RecurrentSpec("rnn", steps, size, reverse, each, bias=bias, recurrent_bias=bias)
