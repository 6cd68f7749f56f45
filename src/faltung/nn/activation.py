"""Activations: a formula at every element. Formulas and sources: ``graph/activations.py``."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Literal

from faltung.geometry.check import real, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import Expr
from faltung.geometry.formula import as_text, parse
from faltung.geometry.record import dataclass
from faltung.graph import activations
from faltung.graph.builder import Builder
from faltung.graph.ops import Softmax as SoftmaxOp
from faltung.graph.value import Value
from faltung.nn.layer import Layer, numbers


@dataclass(frozen=True, slots=True, repr=False)
class Activation(Layer):
    """A formula at every element; the base class of activations.

    Examples
    --------
    >>> from faltung import nn
    >>> isinstance(nn.ReLU(), nn.Activation), str(nn.ReLU().formula())
    (True, 'max($0, 0.0)')
    """

    def formula(self) -> Expr:
        """The activation of operand 0."""
        raise FaltungTypeError(f"layer={type(self).__name__}: has no formula")

    def build(self, b: Builder, x: Value) -> Value:
        numbers(b, x)
        return b.elementwise(self.formula(), x)


@dataclass(frozen=True, slots=True, repr=False)
class ReLU(Activation):
    """The rectified linear unit, ``max(x, 0)``.

    References
    ----------
    V. Nair, G. Hinton, *Rectified linear units improve restricted Boltzmann machines*, ICML 2010.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.ReLU(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[0., 0., 2.]], dtype=float32)
    """

    def formula(self) -> Expr:
        return activations.relu()


@dataclass(frozen=True, slots=True, repr=False)
class ReLU6(Activation):
    """A rectified linear unit with an upper bound, ``min(max(x, 0), 6)``.

    References
    ----------
    M. Sandler et al., *MobileNetV2: inverted residuals and linear bottlenecks*, CVPR 2018.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.ReLU6(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[0., 0., 2.]], dtype=float32)
    """

    def formula(self) -> Expr:
        return activations.relu6()


@dataclass(frozen=True, slots=True, repr=False)
class LeakyReLU(Activation):
    """``x`` where ``x > 0``, else ``slope * x``.

    Parameters
    ----------
    slope : float, above 0

    References
    ----------
    A. Maas, A. Hannun, A. Ng, *Rectifier nonlinearities improve neural network acoustic models*,
    ICML 2013.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.LeakyReLU(0.1), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[-0.1,  0. ,  2. ]], dtype=float32)
    """

    slope: float = 0.01

    def formula(self) -> Expr:
        return activations.leaky_relu(above_zero("slope", self.slope))


@dataclass(frozen=True, slots=True, repr=False)
class ELU(Activation):
    """The exponential linear unit: ``x`` where ``x > 0``, else ``alpha (exp(x) - 1)``.

    Parameters
    ----------
    alpha : float, above 0

    References
    ----------
    D.-A. Clevert, T. Unterthiner, S. Hochreiter, *Fast and accurate deep network learning by
    exponential linear units*, ICLR 2016.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.ELU(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[-0.63,  0.  ,  2.  ]], dtype=float32)
    """

    alpha: float = 1.0

    def formula(self) -> Expr:
        return activations.elu(above_zero("alpha", self.alpha))


@dataclass(frozen=True, slots=True, repr=False)
class Sigmoid(Activation):
    """The logistic function, ``1 / (1 + exp(-x))``.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.Sigmoid(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[0.27, 0.5 , 0.88]], dtype=float32)
    """

    def formula(self) -> Expr:
        return activations.sigmoid()


@dataclass(frozen=True, slots=True, repr=False)
class Tanh(Activation):
    """The hyperbolic tangent.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.Tanh(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[-0.76,  0.  ,  0.96]], dtype=float32)
    """

    def formula(self) -> Expr:
        return activations.tanh()


@dataclass(frozen=True, slots=True, repr=False)
class SiLU(Activation):
    """The sigmoid linear unit, ``x sigmoid(x)``, also called swish.

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya, *Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning*, Neural Networks 107, 2018.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.SiLU(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[-0.27,  0.  ,  1.76]], dtype=float32)
    """

    def formula(self) -> Expr:
        return activations.silu()


@dataclass(frozen=True, slots=True, repr=False)
class GELU(Activation):
    """The Gaussian error linear unit, ``x (1 + erf(x / sqrt(2))) / 2``.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "tanh" computes it by a hyperbolic tangent.

    References
    ----------
    D. Hendrycks, K. Gimpel, *Gaussian error linear units (GELUs)*, 2016.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.GELU(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[-0.16,  0.  ,  1.95]], dtype=float32)
    """

    _: KW_ONLY
    approximate: Literal["none", "tanh"] = "none"

    def formula(self) -> Expr:
        found = {"none": activations.gelu, "tanh": activations.gelu_tanh}.get(self.approximate)
        if found is None:
            raise FaltungError(f"approximate={show(self.approximate)}: must be 'none' or 'tanh'")
        return found()


@dataclass(frozen=True, slots=True, repr=False)
class Softplus(Activation):
    """A smooth rectifier, ``log(1 + exp(x))``.

    References
    ----------
    X. Glorot, A. Bordes, Y. Bengio, *Deep sparse rectifier neural networks*, AISTATS 2011.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.Softplus(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[0.31, 0.69, 2.13]], dtype=float32)
    """

    def formula(self) -> Expr:
        return activations.softplus()


@dataclass(frozen=True, slots=True, repr=False)
class HardSigmoid(Activation):
    """A sigmoid of three straight lines, ``min(max(x + 3, 0), 6) / 6``.

    References
    ----------
    A. Howard et al., *Searching for MobileNetV3*, ICCV 2019.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.HardSigmoid(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[0.33, 0.5 , 0.83]], dtype=float32)
    """

    def formula(self) -> Expr:
        return activations.hard_sigmoid()


@dataclass(frozen=True, slots=True, repr=False)
class HardSwish(Activation):
    """``x HardSigmoid(x)``.

    References
    ----------
    A. Howard et al., *Searching for MobileNetV3*, ICCV 2019.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.HardSwish(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[-0.33,  0.  ,  1.67]], dtype=float32)
    """

    def formula(self) -> Expr:
        return activations.hard_swish()


@dataclass(frozen=True, slots=True, repr=False)
class Formula(Activation):
    """A formula of every element ``x``, as text: an activation of your own.

    Its gradient is the formula's derivative, and it is compiled into the layer before it as the
    other activations are.

    Parameters
    ----------
    text : str or Expr
        Numbers, ``x``, ``pi`` and ``e``, ``+ - * / % **``, ``where(condition, a, b)`` with
        comparisons, and functions such as ``exp``, ``log1p``, ``tanh``, ``sigmoid``, ``erf``,
        ``abs``, ``max``, ``min``, ``relu`` and ``softplus``. It is read, not executed. Or a formula
        over operand 0 of ``faltung.geometry.expr``.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> mish = nn.Formula("x * tanh(softplus(x))")
    >>> Model(mish, (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[-0.3 ,  0.  ,  1.94]], dtype=float32)
    """

    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", as_text(self.text, ("x",), "text"))

    def formula(self) -> Expr:
        return parse(self.text, ("x",), "text")


@dataclass(frozen=True, slots=True, repr=False)
class Softmax(Layer):
    """Probabilities of the channels, ``exp(x) / sum(exp(x))``.

    Classifiers leave it out: the loss and ``Model.predict`` apply it.

    Examples
    --------
    >>> from faltung import Model, nn
    >>> Model(nn.Softmax(), (3,)).predict([[-1.0, 0.0, 2.0]]).round(2)
    array([[0.04, 0.11, 0.84]], dtype=float32)
    """

    def build(self, b: Builder, x: Value) -> Value:
        numbers(b, x)
        x = b.settled(x)
        return b.node(SoftmaxOp(), (x,), x.shape, fields=b.fields(x))


def above_zero(name: str, value: float) -> float:
    number = real(name, value)
    if not number > 0:
        raise FaltungError(f"{name}={show(value)}: must be above 0")
    return number
