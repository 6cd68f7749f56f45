"""``RecurrentSpec``: a recurrent layer, its gates and formulas.

A layer walks along the steps of a sequence. At each it computes, for every hidden unit, the sums of
its gates: a product of the input and one of the state before, and from them the state after. The
formulas are those of S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", Neural Computation
9, 1997, with the forget gate and the peepholes of F. A. Gers and J. Schmidhuber, "Recurrent Nets
that Time and Count", IJCNN 2000, and those of K. Cho et al., "Learning Phrase Representations using
RNN Encoder-Decoder", EMNLP 2014, in both forms that programs have of them.
"""

from collections.abc import Callable, Sequence
from math import isfinite

from faltung.geometry.check import one_of, show
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import (
    Expr,
    at_least,
    greater,
    maximum,
    minimum,
    operand,
    select,
    unary,
)
from faltung.geometry.record import dataclass

# Gates by kind, in the order that PyTorch has: input, forget, cell, output; reset, update, new.
GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}
# The same in the order of ONNX.
ONNX_GATES = {"lstm": "iofg", "gru": "zrn", "rnn": "h"}
# Activations that each kind takes: of the gates, of what is new, and of the state that is shown.
ACTIVATIONS = {"lstm": 3, "gru": 2, "rnn": 1}
# The gates that look at the cell, as ONNX orders them.
PEEPHOLES = "iof"


@dataclass(frozen=True, slots=True)
class Squash:
    """An activation of a gate: a name of ``SQUASH`` and two numbers, which few of them read."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        one_of("activation", self.name, SQUASH)

    def of(self, x: Expr) -> Expr:
        """The formula."""
        return SQUASH[self.name](x, self.alpha, self.beta)


def _softplus(x: Expr, alpha: float, beta: float) -> Expr:
    return maximum(x, 0) + unary("log1p", unary("exp", minimum(-x, x)))


# By the names of ONNX in small letters: https://onnx.ai/onnx/operators/onnx__LSTM.html.
SQUASH: dict[str, Callable[[Expr, float, float], Expr]] = {
    "relu": lambda x, alpha, beta: maximum(x, 0),
    "tanh": lambda x, alpha, beta: unary("tanh", x),
    "sigmoid": lambda x, alpha, beta: unary("sigmoid", x),
    "affine": lambda x, alpha, beta: x * alpha + beta,
    "leakyrelu": lambda x, alpha, beta: select(at_least(x, 0), x, x * alpha),
    "thresholdedrelu": lambda x, alpha, beta: select(at_least(x, alpha), x, 0),
    "scaledtanh": lambda x, alpha, beta: unary("tanh", x * beta) * alpha,
    "hardsigmoid": lambda x, alpha, beta: minimum(maximum(x * alpha + beta, 0), 1),
    "elu": lambda x, alpha, beta: select(greater(x, 0), x, alpha * unary("expm1", minimum(x, 0))),
    "softsign": lambda x, alpha, beta: x / (unary("abs", x) + 1),
    "softplus": _softplus,
}
ONNX_NAMES = {
    "relu": "Relu",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "affine": "Affine",
    "leakyrelu": "LeakyRelu",
    "thresholdedrelu": "ThresholdedRelu",
    "scaledtanh": "ScaledTanh",
    "hardsigmoid": "HardSigmoid",
    "elu": "Elu",
    "softsign": "Softsign",
    "softplus": "Softplus",
}
# How many numbers an activation reads, for those that read any.
NUMBERS = {
    "affine": 2,
    "leakyrelu": 1,
    "thresholdedrelu": 1,
    "scaledtanh": 2,
    "hardsigmoid": 2,
    "elu": 1,
}
USUAL = {
    "lstm": (Squash("sigmoid"), Squash("tanh"), Squash("tanh")),
    "gru": (Squash("sigmoid"), Squash("tanh")),
    "rnn": (Squash("tanh"),),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What a step computes for each hidden unit, as formulas.

    Operands: the sums of the gates in the order of the spec; with ``apart`` the product of that
    gate with the state, which is then not in its sum; the state before; of an LSTM its cell and,
    with peepholes, their three weights.

    states: the state after, and of an LSTM the cell. first: gates whose product reads the state.
    second: those whose product reads ``inner`` instead, a formula too.
    """

    states: tuple[Expr, ...]
    first: tuple[int, ...]
    second: tuple[int, ...] = ()
    apart: int | None = None
    inner: Expr | None = None


@dataclass(frozen=True, slots=True)
class RecurrentSpec:
    """A recurrent layer over ``steps`` positions, with ``hidden`` units in each direction.

    Parameters
    ----------
    kind
        "lstm", "gru" or "rnn".
    reverse
        For each direction whether it walks from the last step to the first.
    activations
        For each direction those of the gates, of what is new, and of an LSTM of the cell as the
        output shows it.
    gates
        The order of the gates in the rows of the weights: letters of ``GATES``.
    clip
        What the gates' activations read is first brought into [-clip, clip]; the cell that is shown
        is not, as in ONNX Runtime.
    input_forget
        An LSTM forgets 1 - i, for the input gate i.
    linear_before_reset
        A GRU multiplies with the reset gate after the recurrent product, as PyTorch does, and not
        before it.
    bias, recurrent_bias, peepholes, lengths, initial_h, initial_c
        Which further inputs there are.

    Raises
    ------
    ValueError
        Values that do not make a layer.
    """

    kind: str
    steps: int
    hidden: int
    reverse: tuple[bool, ...] = (False,)
    activations: tuple[tuple[Squash, ...], ...] = ()
    gates: str = ""
    clip: float | None = None
    input_forget: bool = False
    linear_before_reset: bool = False
    bias: bool = False
    recurrent_bias: bool = False
    peepholes: bool = False
    lengths: bool = False
    initial_h: bool = False
    initial_c: bool = False

    def __post_init__(self) -> None:
        one_of("kind", self.kind, GATES)
        if not self.activations:
            usual = (USUAL[self.kind],) * len(self.reverse)
            object.__setattr__(self, "activations", usual)
        if not self.gates:
            object.__setattr__(self, "gates", GATES[self.kind])
        if self.steps < 1 or self.hidden < 1 or not self.reverse:
            raise FaltungError(
                f"steps={self.steps}, hidden={self.hidden}, {len(self.reverse)} directions: must "
                "be at least 1"
            )
        if sorted(self.gates) != sorted(GATES[self.kind]):
            raise FaltungError(f"gates={show(self.gates)}: must be those of {GATES[self.kind]!r}")
        if self.kind == "gru" and self.gates[-1] != "n":
            raise FaltungError(f"gates={show(self.gates)}: the last one must be 'n'")
        wanted = ACTIVATIONS[self.kind]
        found = [len(each) for each in self.activations]
        if found != [wanted] * len(self.reverse):
            raise FaltungError(
                f"activations: must be {wanted} for each direction of {self.kind}, got {found}"
            )
        if self.clip is not None and not (isfinite(self.clip) and self.clip > 0):
            raise FaltungError(f"clip={show(self.clip)}: must be a number above 0")

    @property
    def directions(self) -> int:
        return len(self.reverse)

    @property
    def is_lstm(self) -> bool:
        """Whether there is a cell beside the state."""
        return self.kind == "lstm"

    @property
    def weights(self) -> tuple[int, ...]:
        """How many gates each recurrent weight of a direction has, in their order."""
        cell = self.cell(0)
        return (len(cell.first), len(cell.second)) if cell.second else (len(cell.first),)

    def macs(self, channels: int) -> int:
        """Multiply-adds for a sample whose steps have so many channels."""
        rows = self.directions * len(self.gates) * self.hidden
        return self.steps * rows * (channels + self.hidden)

    def cell(self, direction: int) -> Cell:
        """The formulas of a direction."""
        return _CELLS[self.kind](self, self.activations[direction])

    def _clipped(self, x: Expr) -> Expr:
        return x if self.clip is None else minimum(maximum(x, -self.clip), self.clip)


def _lstm(spec: RecurrentSpec, squash: Sequence[Squash]) -> Cell:
    """c' = f c + i g, h' = o s(c'); the peepholes of i and f look at c, that of o at c'."""
    gate, new, shown = squash
    z = {letter: operand(spec.gates.index(letter)) for letter in "ifgo"}
    c = operand(5)
    seen = dict(zip(PEEPHOLES, map(operand, (6, 7, 8)), strict=True))

    def value(letter: str, cell: Expr) -> Expr:
        total = z[letter] + seen[letter] * cell if spec.peepholes else z[letter]
        return gate.of(spec._clipped(total))

    i = value("i", c)
    f = 1 - i if spec.input_forget else value("f", c)
    after = f * c + i * new.of(spec._clipped(z["g"]))
    h = value("o", after) * shown.of(after)
    return Cell((h, after), (0, 1, 2, 3))


def _gru(spec: RecurrentSpec, squash: Sequence[Squash]) -> Cell:
    """h' = (1 - z) n + z h; n reads the product of r h, or r times the product of h."""
    gate, new = squash
    r, z, n = (operand(spec.gates.index(letter)) for letter in "rzn")
    number = spec.gates.index("n")
    reset, update = gate.of(spec._clipped(r)), gate.of(spec._clipped(z))
    if spec.linear_before_reset:
        total, h = n + reset * operand(3), operand(4)
        made = Cell((), (0, 1, 2), apart=number)
    else:
        total, h = n, operand(3)
        first = tuple(i for i in range(3) if i != number)
        made = Cell((), first, (number,), inner=reset * h)
    fresh = new.of(spec._clipped(total))
    after = fresh + update * (h - fresh)
    return Cell((after,), made.first, made.second, made.apart, made.inner)


def _rnn(spec: RecurrentSpec, squash: Sequence[Squash]) -> Cell:
    return Cell((squash[0].of(spec._clipped(operand(0))),), (0,))


_CELLS: dict[str, Callable[[RecurrentSpec, Sequence[Squash]], Cell]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn": _rnn,
}
