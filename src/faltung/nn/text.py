"""A network as text: what ``repr`` of a layer says, read back. Only layers are called."""

import ast
from importlib import import_module

from faltung import nn
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.nn.layer import DEEPEST, Layer, checked

# The layers that a text may name.
LAYERS: dict[str, type[Layer]] = {
    name: getattr(nn, name)
    for name in nn.__all__
    if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), Layer)
}
# Layers of other folders, which are imported when a text names them.
ELSEWHERE = {"OnnxNet": "faltung.onnx.layer", "GraphNet": "faltung.nn.graphnet"}
_NAMES = {*LAYERS, *ELSEWHERE}
LONGEST = 1 << 20  # characters; the networks of the field have some ten thousand


def parse(text: str) -> Layer:
    """The network that ``repr`` wrote: calls of layers, numbers, texts, tuples, None, True, False.

    ValueError: anything else, layers that do not take what they are given, or more than ``DEEPEST``
    within each other.
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        raise FaltungError(f"net={show(text)}: must be a text of at most {LONGEST} characters")
    try:
        made = _made(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):  # the last two: too many parentheses
        raise FaltungError(
            f"net={show(text)}: is not the text of a network, or one of layers more than {DEEPEST} "
            "deep within each other"
        ) from None
    if not isinstance(made, Layer):
        raise FaltungError(f"net={show(text)}: must be a layer")
    return checked(made)


def _made(node: ast.expr) -> object:
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str()):
            return node.value
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(map(_made, items))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            value = _made(node.operand)
            assert isinstance(value, int | float)
            return -value
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in _NAMES:
            named = {word.arg: _made(word.value) for word in keywords if word.arg}
            if len(named) < len(keywords):
                raise FaltungError(f"net={ast.unparse(node)[:80]!r}: must name its arguments")
            return _layer(name, list(map(_made, args)), named)
    raise FaltungError(f"net={ast.unparse(node)[:80]!r}: is no layer, number or text")


def _found(name: str) -> type[Layer]:
    if name in LAYERS:
        return LAYERS[name]
    made: type[Layer] = getattr(import_module(ELSEWHERE[name]), name)
    return made


def _layer(name: str, args: list[object], named: dict[str, object]) -> Layer:
    try:
        return _found(name)(*args, **named)  # type: ignore[arg-type]
    except TypeError as error:
        raise FaltungError(f"net={name}: {error}") from None
