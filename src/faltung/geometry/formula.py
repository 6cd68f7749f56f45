"""Formulas as text: what people write, read with ``ast`` and without running any of it.

``parse("abs(output - target)", ("output", "target"))`` is the formula of operands 0 and 1, and
``written`` the way back. A text has numbers, the names of the operands, pi and e, ``+ - * / % **``,
comparisons joined by and, or, not within ``where(condition, a, b)``, and calls of functions.
"""

import ast
from collections.abc import Callable, Sequence
from functools import reduce
from math import e, pi

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import (
    CONDITIONS,
    Expr,
    at_least,
    binary,
    constant,
    equal,
    greater,
    lifted,
    logic,
    maximum,
    minimum,
    operand,
    select,
    unary,
)

LONGEST = 2000  # characters
LARGEST = 800  # operations, those of parts that occur several times each time
OF_MORE = ("max", "min")  # functions that take more values than two
CONSTANTS = {"pi": pi, "e": e}
# Functions of one number, under their names in NumPy and ours.
_OF_ONE = (
    "abs sqrt exp expm1 log log1p tanh sigmoid erf floor ceil round trunc sign sin cos tan asin "
    "acos atan sinh cosh asinh acosh atanh"
).split()
FUNCTIONS: dict[str, tuple[int, Callable[..., Expr]]] = {
    **{name: (1, lambda a, op=name: unary(op, a)) for name in _OF_ONE},
    "max": (2, lambda *terms: reduce(maximum, terms)),
    "min": (2, lambda *terms: reduce(minimum, terms)),
    "pow": (2, lambda a, b: binary("pow", a, b)),
    "where": (3, select),
    "relu": (1, lambda a: maximum(a, 0)),
    "softplus": (1, lambda a: maximum(a, 0) + _log1p_exp(a)),
}
_BINARY: dict[type[ast.operator], Callable[..., Expr]] = {
    ast.Add: lambda a, b: lifted(a) + b,
    ast.Sub: lambda a, b: lifted(a) - b,
    ast.Mult: lambda a, b: lifted(a) * b,
    ast.Div: lambda a, b: lifted(a) / b,
    ast.Mod: lambda a, b: binary("mod", a, b),
    ast.Pow: lambda a, b: binary("pow", a, b),
}
_COMPARE: dict[type[ast.cmpop], Callable[..., Expr]] = {
    ast.Gt: greater,
    ast.GtE: at_least,
    ast.Lt: lambda a, b: greater(b, a),
    ast.LtE: lambda a, b: at_least(b, a),
    ast.Eq: equal,
    ast.NotEq: lambda a, b: logic("not", equal(a, b)),
}
# How an operation of a formula is written; "{0}" and so on are its terms.
_WRITTEN = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "div": "({0} / {1})",
    "mod": "({0} % {1})",
    "neg": "(-{0})",
    "gt": "({0} > {1})",
    "ge": "({0} >= {1})",
    "eq": "({0} == {1})",
    "and": "({0} and {1})",
    "or": "({0} or {1})",
    "not": "(not {0})",
    "select": "where({0}, {1}, {2})",
    **{name: name + "({0}, {1})" for name in ("max", "min", "pow")},
    **{name: name + "({0})" for name in _OF_ONE},
}


def _log1p_exp(a: Expr) -> Expr:
    return unary("log1p", unary("exp", unary("neg", unary("abs", a))))


def parse(text: str, names: Sequence[str], what: str = "formula") -> Expr:
    """The formula that a text says, of operands with these names.

    ``what``: the argument, for messages. TypeError, ValueError: no text, or one that is no formula:
    other names, statements, attributes, too long.
    """
    if not isinstance(text, str):
        raise FaltungTypeError(f"{what}={show(text)}: must be a text such as 'abs({names[0]})'")
    if len(text) > LONGEST:
        raise FaltungError(f"{what}: has {len(text):,} characters: must have at most {LONGEST:,}")
    try:
        body = ast.parse(" ".join(text.split()), mode="eval").body
        made = _Reader(names, what, text).read(body)
    except (SyntaxError, ValueError) as error:
        if isinstance(error, FaltungError):
            raise
        raise FaltungError(f"{what}={show(text)}: is no formula: {_why(error)}") from None
    except (RecursionError, MemoryError):  # too many parentheses
        raise FaltungError(f"{what}={show(text)}: is nested too deeply") from None
    if made.op in CONDITIONS:
        raise FaltungError(f"{what}={show(text)}: is a condition; write where(condition, 1, 0)")
    if _operations(made, {}) > LARGEST:
        raise FaltungError(f"{what}={show(text)}: has more than {LARGEST} operations")
    return made


def _operations(expr: Expr, known: dict[int, int]) -> int:
    """How many operations a formula has; derivatives walk through all of them."""
    if id(expr) not in known:
        known[id(expr)] = bool(expr.terms) + sum(_operations(t, known) for t in expr.terms)
    return known[id(expr)]


def _why(error: Exception) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


class _Reader:
    """One text while it is read."""

    def __init__(self, names: Sequence[str], what: str, text: str) -> None:
        self.known = {name: operand(number) for number, name in enumerate(names)}
        self.names, self.about = tuple(names), f"{what}={show(text)}"

    def read(self, node: ast.expr) -> Expr:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._number(value)
            case ast.Name(id=name):
                return self._name(name)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return unary("neg", self._value(inner))
            case ast.UnaryOp(op=ast.UAdd(), operand=inner):
                return self._value(inner)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return logic("not", self._condition(inner))
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _BINARY:
                return _BINARY[type(op)](self._value(left), self._value(right))
            case ast.BoolOp(op=op, values=values):
                return self._joined("and" if isinstance(op, ast.And) else "or", values)
            case ast.Compare(left=left, ops=ops, comparators=rest):
                return self._compared(left, ops, rest)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._called(name, args)
        raise FaltungError(f"{self.about}: {show_code(node)} is not allowed in a formula")

    def _number(self, value: float) -> Expr:
        if abs(value) > 1e300:
            raise FaltungError(f"{self.about}: {value!r:.20} is too large")
        return constant(value)

    def _name(self, name: str) -> Expr:
        if name in self.known:
            return self.known[name]
        if name in CONSTANTS:
            return constant(CONSTANTS[name])
        if name in FUNCTIONS:
            raise FaltungError(f"{self.about}: {name} is a function; write {name}(...)")
        said = f"{', '.join(self.names)} are known"
        raise FaltungError(f"{self.about}: {name!r} is not known; {said}, and functions by name")

    def _value(self, node: ast.expr) -> Expr:
        made = self.read(node)
        if made.op in CONDITIONS:
            raise FaltungError(
                f"{self.about}: {show_code(node)} is a condition, where a number is needed; write "
                "where(condition, 1, 0)"
            )
        return made

    def _condition(self, node: ast.expr) -> Expr:
        made = self.read(node)
        if made.op not in CONDITIONS:
            raise FaltungError(
                f"{self.about}: {show_code(node)} is a number, where a condition is needed, such "
                f"as {self.names[0]} > 0"
            )
        return made

    def _joined(self, op: str, values: Sequence[ast.expr]) -> Expr:
        made, *rest = map(self._condition, values)
        for each in rest:
            made = logic(op, made, each)
        return made

    def _compared(self, left: ast.expr, ops: Sequence[ast.cmpop], rest: Sequence[ast.expr]) -> Expr:
        values = list(map(self._value, (left, *rest)))
        made = None
        for op, a, b in zip(ops, values, values[1:], strict=False):
            if type(op) not in _COMPARE:
                raise FaltungError(f"{self.about}: compares by > >= < <= == != alone")
            each = _COMPARE[type(op)](a, b)
            made = each if made is None else logic("and", made, each)
        assert made is not None
        return made

    def _called(self, name: str, args: Sequence[ast.expr]) -> Expr:
        if name not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise FaltungError(f"{self.about}: {name}() is not known; these are: {known}")
        count, function = FUNCTIONS[name]
        if len(args) < count or (len(args) > count and name not in OF_MORE):
            raise FaltungError(
                f"{self.about}: {name}() takes {count} value{'s'[: count != 1]}, not {len(args)}"
            )
        if name == "where":
            condition, a, b = args
            return select(self._condition(condition), self._value(a), self._value(b))
        return function(*map(self._value, args))


def show_code(node: ast.expr) -> str:
    """A part of a text, shortened."""
    return repr(ast.unparse(node)[:60])


def written(expr: Expr, names: Sequence[str], what: str = "formula") -> str:
    """A formula as a text that ``parse`` reads back. ValueError: an operation that has no text, or
    an operand without a name.
    """
    if expr.value is not None:
        return repr(expr.value)
    if expr.op == "operand":
        number = int(expr.args[0])  # type: ignore[arg-type]
        if number >= len(names):
            raise FaltungError(
                f"{what}={show(expr)}: operand {number} has no meaning; there are "
                f"{', '.join(f'{n} ({i})' for i, n in enumerate(names))}"
            )
        return names[number]
    if expr.op not in _WRITTEN:
        raise FaltungError(f"{what}={show(expr)}: {expr.op} cannot be written as text")
    made = _WRITTEN[expr.op].format(*(written(term, names, what) for term in expr.terms))
    return made


def as_text(formula: object, names: Sequence[str], what: str = "formula") -> str:
    """A text or an ``Expr`` as the text of a formula, checked. TypeError, ValueError."""
    if isinstance(formula, Expr):
        made = written(formula, names, what)
        made = made[1:-1] if made.startswith("(") and _outer(made) else made
        parse(made, names, what)
        return made
    parse(formula, names, what)  # type: ignore[arg-type]
    assert isinstance(formula, str)
    return " ".join(formula.split())


def _outer(text: str) -> bool:
    """Whether the first parenthesis is closed by the last character."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if not depth:
            return i == len(text) - 1
    return False
