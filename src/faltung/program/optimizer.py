"""Optimizers as formulas over all parameters at once.

SGD with momentum: v = mu v + g, p = p - lr v (Nesterov: p - lr (g + mu v)), as PyTorch has it
(Sutskever et al., 2013). AdamW: Loshchilov and Hutter, 2019, with decoupled weight decay. Either
may keep an average of the parameters beside them (Polyak and Juditsky, 1992).
"""

from dataclasses import field
from math import sqrt
from typing import ClassVar, Literal

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import Expr, maximum, operand, unary
from faltung.geometry.record import dataclass

# The operands of every update: parameter, gradient, slots, then the scalars.
P, G = operand(0), operand(1)


@dataclass(frozen=True, slots=True)
class Optimizer:
    """What a step does with a parameter and its gradient. ``slots``: arrays that it keeps for each
    parameter. ``scalars``: numbers that change from step to step, by name.
    """

    decay: float = field(default=0.0, kw_only=True)
    clip: float | None = field(default=None, kw_only=True)

    slots: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ("lr", "decay", "clip")

    def __post_init__(self) -> None:
        if not 0 <= self.decay < float("inf"):
            raise FaltungError(f"decay={show(self.decay)}: must be at least 0")
        if self.clip is not None and not 0 < self.clip < float("inf"):
            raise FaltungError(f"clip={show(self.clip)}: must be above 0, or None")

    def formulas(self) -> tuple[Expr, ...]:
        """The new parameter and the new slots, of (parameter, gradient, *slots, *scalars)."""
        raise FaltungTypeError(f"optimizer={type(self).__name__}: has no formulas")

    def values(self, step: int, lr: float) -> dict[str, float]:
        """The scalars of step ``step``, counted from 0; ``clip`` is computed by the program."""
        return {"lr": lr, "decay": self.decay}


@dataclass(frozen=True, slots=True)
class SGD(Optimizer):
    """Gradient descent with momentum; ``decay`` is added to the gradient (L2)."""

    momentum: float
    nesterov: bool = False

    slots: ClassVar[tuple[str, ...]] = ("momentum",)

    def __post_init__(self) -> None:
        Optimizer.__post_init__(self)
        if not 0 <= self.momentum < 1:
            raise FaltungError(f"momentum={show(self.momentum)}: must be at least 0 and below 1")

    def formulas(self) -> tuple[Expr, ...]:
        v, lr, decay, clip = (operand(i) for i in range(2, 6))
        grad = G * clip + decay * P
        moved = self.momentum * v + grad
        step = grad + self.momentum * moved if self.nesterov else moved
        return P - lr * step, moved


@dataclass(frozen=True, slots=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    scalars: ClassVar[tuple[str, ...]] = ("lr", "decay", "clip", "step_size", "root")

    def __post_init__(self) -> None:
        Optimizer.__post_init__(self)
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise FaltungError(f"{name}={show(getattr(self, name))}: must be in [0, 1)")
        if not self.eps > 0:
            raise FaltungError(f"eps={show(self.eps)}: must be above 0")

    def formulas(self) -> tuple[Expr, ...]:
        m, v, lr, decay, clip, step_size, root = (operand(i) for i in range(2, 9))
        grad = G * clip
        mean = self.beta1 * m + (1 - self.beta1) * grad
        square = self.beta2 * v + (1 - self.beta2) * (grad * grad)
        step = mean / (unary("sqrt", maximum(square, 0)) * root + self.eps)
        return P - lr * decay * P - step_size * step, mean, square

    def values(self, step: int, lr: float) -> dict[str, float]:
        """step_size = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t), t counted from 1."""
        t = step + 1
        return {
            "lr": lr,
            "decay": self.decay,
            "step_size": lr / (1 - self.beta1**t),
            "root": 1 / sqrt(1 - self.beta2**t),
        }


AVERAGE = "average"  # the slot that begins as the parameters


@dataclass(frozen=True, slots=True)
class Averaged:
    """Another optimizer, and an exponential moving average of what it makes of the parameters.

    ``average``: the part that stays at each step, from 0 to 1. In the first steps less stays, (1 +
    t) / (10 + t), so that the parameters that training began with are soon forgotten, however short
    it is.
    """

    optimizer: Optimizer
    average: float

    def __post_init__(self) -> None:
        if not 0 < self.average < 1:
            raise FaltungError(f"ema={show(self.average)}: must be above 0 and below 1")

    @property
    def clip(self) -> float | None:
        return self.optimizer.clip

    @property
    def slots(self) -> tuple[str, ...]:
        return (*self.optimizer.slots, AVERAGE)

    @property
    def scalars(self) -> tuple[str, ...]:
        return (*self.optimizer.scalars, "new")

    def formulas(self) -> tuple[Expr, ...]:
        """Those of the optimizer, then the average, which moves towards the new parameter."""
        at = 2 + len(self.optimizer.slots)
        numbers = len(self.optimizer.scalars)
        known = [operand(i + (i >= at)) for i in range(at + numbers)]
        parameter, *slots = (formula.replaced(known) for formula in self.optimizer.formulas())
        average, new = operand(at), operand(at + 1 + numbers)
        return parameter, *slots, average + new * (parameter - average)

    def values(self, step: int, lr: float) -> dict[str, float]:
        return {**self.optimizer.values(step, lr), "new": self.new(step)}

    def new(self, step: int) -> float:
        """The part of the average that the parameters after step ``step``, from 0, become."""
        return 1 - min(self.average, (1 + step) / (10 + step))


Rule = Optimizer | Averaged
OptimizerName = Literal["sgd", "adamw"]
OPTIMIZERS: dict[OptimizerName, type[Optimizer]] = {"sgd": SGD, "adamw": AdamW}
