"""Operators that read and write quantised numbers, as what they mean between real ones.

ONNX Runtime's quantiser writes networks in two forms. In the first, real operators stand between
DequantizeLinear and QuantizeLinear; in the second each is one operator, such as QLinearConv. Here
the second becomes the first, which a graph can say, and which runs in integers where it can
(``graph/grids.py``). The two differ where a number lies between two levels: one step at most.
"""

from collections.abc import Callable, Sequence

from faltung.onnx.read import Call

MICROSOFT = "com.microsoft"
# The version whose operators the nodes are; of QLinear operators it does not matter.
OPSET = 13


class _Spelling:
    """The nodes that take the place of one."""

    def __init__(self, call: Call) -> None:
        self.call, self.made = call, list[Call]()
        self.opset = max(OPSET, call.opset) if not call.domain else OPSET

    def node(
        self, op: str, inputs: Sequence[str], output: str = "", /, **attributes: object
    ) -> str:
        name = output or f"{self.call.outputs[0]}~{len(self.made)}"
        label = f"{self.call.name or self.call.op}.{op}"
        call = Call(op, "", label, tuple(inputs), (name,), attributes, {}, self.opset)
        self.made.append(call)
        return name

    def real(self, first: int, axis: int | None = None) -> str:
        """What three inputs stand for: numbers, scale, and zero point."""
        more = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", self.given(first, 3), **more)

    def given(self, first: int, count: int) -> list[str]:
        found = [*self.call.inputs, "", "", ""][first : first + count]
        while found and not found[-1]:
            found.pop()
        return found

    def end(self, real: str, first: int) -> None:
        """The result as levels, of the scale and zero point among the inputs."""
        self.node("QuantizeLinear", [real, *self.given(first, 2)], self.call.outputs[0])

    def bias(self, number: int, x: int, w: int) -> list[str]:
        """A bias in units of the products of an input and a weight."""
        if not self.given(number, 1):
            return []
        inputs = self.call.inputs
        unit = self.node("Mul", [inputs[x], inputs[w]])
        return [self.node("DequantizeLinear", [inputs[number], unit], axis=0)]

    def attributes(self, *without: str) -> dict[str, object]:
        return {n: value for n, value in self.call.attributes.items() if n not in without}


def _conv(s: _Spelling) -> None:
    operands = [s.real(0), s.real(3, 0), *s.bias(8, 1, 4)]
    s.end(s.node("Conv", operands, **s.attributes()), 6)


def _matmul(s: _Spelling) -> None:
    s.end(s.node("MatMul", [s.real(0), s.real(3, 1)]), 6)


def _gemm(s: _Spelling) -> None:
    axis = 0 if s.call.attributes.get("transB", 0) else 1
    operands = [s.real(0), s.real(3, axis), *s.bias(6, 1, 4)]
    if s.given(7, 1):
        s.end(s.node("Gemm", operands, **s.attributes()), 7)
    else:
        s.node("Gemm", operands, s.call.outputs[0], **s.attributes())


def _binary(op: str) -> Callable[[_Spelling], None]:
    return lambda s: s.end(s.node(op, [s.real(0), s.real(3)]), 6)


def _unary(op: str, *without: str) -> Callable[[_Spelling], None]:
    return lambda s: s.end(s.node(op, [s.real(0)], **s.attributes(*without)), 3)


def _concat(s: _Spelling) -> None:
    parts = [s.real(i) for i in range(2, len(s.call.inputs), 3)]
    s.end(s.node("Concat", parts, **s.attributes()), 0)


TABLE: dict[tuple[str, str], Callable[[_Spelling], None]] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (MICROSOFT, "QGemm"): _gemm,
    (MICROSOFT, "QLinearAdd"): _binary("Add"),
    (MICROSOFT, "QLinearMul"): _binary("Mul"),
    (MICROSOFT, "QLinearConcat"): _concat,
    (MICROSOFT, "QLinearGlobalAveragePool"): _unary("GlobalAveragePool", "channels_last"),
    (MICROSOFT, "QLinearAveragePool"): _unary("AveragePool", "channels_last"),
    (MICROSOFT, "QLinearLeakyRelu"): _unary("LeakyRelu"),
    (MICROSOFT, "QLinearSigmoid"): _unary("Sigmoid"),
    (MICROSOFT, "QLinearSoftmax"): _unary("Softmax", "opset"),
}


def known(call: Call) -> bool:
    """Whether an operator has such a spelling: not with channels last, or another softmax."""
    other = call.attributes.get("channels_last", 0) or call.attributes.get("opset", OPSET) < OPSET
    return (call.domain, call.op) in TABLE and bool(call.outputs) and not other


def spelled(call: Call) -> list[Call]:
    """The nodes that take the place of one that is ``known``."""
    made = _Spelling(call)
    TABLE[call.domain, call.op](made)
    return made.made
