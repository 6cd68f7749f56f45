"""What rules say about the values of a node: the words of ``sound.py``."""

from collections.abc import Sequence
from math import isfinite

from faltung.geometry.check import integer
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import ARITY, CONDITIONS, LOGIC, Expr
from faltung.graph.value import Value

Values = Sequence[Value]


class Unsound(FaltungError):
    """A node whose values do not fit its operation."""


def need(true: object, what: str) -> None:
    if not true:
        raise Unsound(what)


def maps(values: Values) -> None:
    for value in values:
        need(value.kind == "float" and value.batched, "must read a map of numbers")


def held(values: Values) -> None:
    """One for all samples."""
    for value in values:
        once = not value.batched and value.samples == 1 and value.kind == "float"
        need(once, "must read a value that all samples share")


def same(x: Value, y: Value) -> None:
    need(y.shape == x.shape and y.samples == x.samples, f"must give {x.samples} of {x.shape}")


def one(values: Values) -> Value:
    need(len(values) == 1, f"must have one value, has {len(values)}")
    return values[0]


def whole(value: object, least: int, most: int, name: str) -> int:
    found = integer(value)
    fits = found is not None and type(value) is int and least <= found <= most
    need(fits, f"{name}={value!r}: must be from {least} to {most}")
    assert found is not None
    return found


def axis_of(axis: object, x: Value) -> int:
    return whole(axis, 0, len(x.shape) - 1, "axis")


def axes_of(axes: object, rank: int, least: int = 0) -> tuple[int, ...]:
    need(isinstance(axes, tuple) and axes, "must have axes")
    assert isinstance(axes, tuple)
    need(len(set(axes)) == len(axes), f"axes={axes}: must be different ones")
    return tuple(whole(axis, least, rank - 1, "axis") for axis in axes)


def number(value: object, name: str) -> float:
    need(type(value) in (int, float) and isfinite(value), f"{name}={value!r}: must be a number")  # type: ignore[arg-type]
    return float(value)  # type: ignore[arg-type]


def flags(op: object, **kinds: type) -> None:
    for name, kind in kinds.items():
        found = getattr(op, name)
        need(type(found) is kind, f"{name}={found!r}: must be a {kind.__name__}")


def formula(expr: object, operands: int, *, condition: bool = False, depth: int = 0) -> None:
    """Unsound: no formula of so many operands."""
    need(isinstance(expr, Expr) and depth < 200, "must have a formula")
    assert isinstance(expr, Expr)
    args = expr.args
    if expr.op in ("operand", "constant"):
        need(len(args) == 1 and not condition, f"formula {expr.op}: is none")
        if expr.op == "operand":
            whole(args[0], 0, operands - 1, "operand")
        else:
            need(type(args[0]) is float, "formula: a constant must be a number")
        return
    known = ARITY.get(expr.op) == len(args) and expr.op != "random"
    need(known and (expr.op in CONDITIONS) == condition, f"formula {expr.op!r}: does not fit")
    for number, term in enumerate(args):
        asked = expr.op in LOGIC or (expr.op == "select" and number == 0)
        formula(term, operands, condition=asked, depth=depth + 1)


def broadcast(values: Values, shape: tuple[int, ...], samples: int) -> None:
    for value in values:
        fits = value.kind == "float" and value.samples in (1, samples)
        if len(value.shape) not in (0, 1, len(shape)):
            fits = False
        wide = value.shape + (1,) * (len(shape) - len(value.shape))
        fits = fits and all(own in (1, size) for own, size in zip(wide, shape, strict=True))
        vector = len(value.shape) == 1 < len(shape)
        fits = fits and not (vector and value.shape != shape[:1])
        need(fits, f"{value.samples} of {value.shape}: must broadcast to {samples} of {shape}")
