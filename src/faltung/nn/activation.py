"""Activations: a formula at every element. Formulas and sources: `graph/activations.py`."""

from dataclasses import dataclass

from faltung.geometry.check import real, show
from faltung.geometry.expr import Expr
from faltung.graph import activations
from faltung.graph.builder import Builder
from faltung.graph.ops import Softmax as SoftmaxOp
from faltung.graph.value import Value
from faltung.nn.layer import Layer, numbers


@dataclass(frozen=True, slots=True, repr=False)
class Activation(Layer):
    """A formula at every element."""

    def formula(self) -> Expr:
        """The activation of operand 0."""
        raise TypeError(f"layer={type(self).__name__}: has no formula")

    def build(self, b: Builder, x: Value) -> Value:
        numbers(b, x)
        return b.elementwise(self.formula(), x)


@dataclass(frozen=True, slots=True, repr=False)
class ReLU(Activation):
    """max(x, 0)"""

    def formula(self) -> Expr:
        return activations.relu()


@dataclass(frozen=True, slots=True, repr=False)
class ReLU6(Activation):
    """min(max(x, 0), 6)"""

    def formula(self) -> Expr:
        return activations.relu6()


@dataclass(frozen=True, slots=True, repr=False)
class LeakyReLU(Activation):
    """x where x > 0, else slope * x."""

    slope: float = 0.01

    def formula(self) -> Expr:
        return activations.leaky_relu(above_zero("slope", self.slope))


@dataclass(frozen=True, slots=True, repr=False)
class ELU(Activation):
    """x where x > 0, else alpha (exp x - 1)."""

    alpha: float = 1.0

    def formula(self) -> Expr:
        return activations.elu(above_zero("alpha", self.alpha))


@dataclass(frozen=True, slots=True, repr=False)
class Sigmoid(Activation):
    """1 / (1 + exp -x)"""

    def formula(self) -> Expr:
        return activations.sigmoid()


@dataclass(frozen=True, slots=True, repr=False)
class Tanh(Activation):
    """The hyperbolic tangent."""

    def formula(self) -> Expr:
        return activations.tanh()


@dataclass(frozen=True, slots=True, repr=False)
class SiLU(Activation):
    """x sigmoid(x), also called swish."""

    def formula(self) -> Expr:
        return activations.silu()


@dataclass(frozen=True, slots=True, repr=False)
class GELU(Activation):
    """x (1 + erf(x / sqrt 2)) / 2; with ``approximate="tanh"`` by a hyperbolic tangent."""

    approximate: str = "none"

    def formula(self) -> Expr:
        found = {"none": activations.gelu, "tanh": activations.gelu_tanh}.get(self.approximate)
        if found is None:
            raise ValueError(f"approximate={show(self.approximate)}: must be 'none' or 'tanh'")
        return found()


@dataclass(frozen=True, slots=True, repr=False)
class Softplus(Activation):
    """log(1 + exp x)"""

    def formula(self) -> Expr:
        return activations.softplus()


@dataclass(frozen=True, slots=True, repr=False)
class HardSigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6"""

    def formula(self) -> Expr:
        return activations.hard_sigmoid()


@dataclass(frozen=True, slots=True, repr=False)
class HardSwish(Activation):
    """x min(max(x + 3, 0), 6) / 6"""

    def formula(self) -> Expr:
        return activations.hard_swish()


@dataclass(frozen=True, slots=True, repr=False)
class Softmax(Layer):
    """exp x / sum of exp x, over the channels. Networks for classes leave it out: the loss and
    `Model.predict` apply it.
    """

    def build(self, b: Builder, x: Value) -> Value:
        numbers(b, x)
        x = b.settled(x)
        return b.node(SoftmaxOp(), (x,), x.shape, fields=b.fields(x))


def above_zero(name: str, value: float) -> float:
    number = real(name, value)
    if not number > 0:
        raise ValueError(f"{name}={show(value)}: must be above 0")
    return number
