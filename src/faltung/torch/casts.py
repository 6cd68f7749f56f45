"""Casts, copies, detached tensors, and constants of the shape of a tensor, from ATen."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from faltung.geometry.expr import equal, operand, select, unary
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_terms import SHORTER
from faltung.graph.ops import Elementwise, View
from faltung.torch.arguments import Arguments
from faltung.torch.formulas import REALS, Handler
from faltung.torch.part import Leaf

# Bits of the whole numbers of a dtype, and whether they have a sign.
WHOLE = {"uint8": (8, 0), "int8": (8, 1), "int16": (16, 1), "int32": (32, 1), "int64": (64, 1)}


# Casts --------------------------------------------------------------------------------------------


def cast(a: Arguments) -> Tensor:
    """To the dtype of the result; nothing is done where it is that already."""
    device = a.call.given.get("device")
    if device is not None and getattr(device, "type", str(device)) != "cpu":
        raise Unsaid(f"a tensor on {device}")
    return converted(a, a.tensor("self"), a.dtype())


def converted(a: Arguments, x: Tensor, target: str) -> Tensor:
    """A tensor in another dtype. Unsaid: whole numbers of real ones, or in fewer bits."""
    if x.dtype == target:
        return x
    for number, convert in _CASTS:
        if number(x, target):
            return convert(a, x, target)
    raise Unsaid(f"{x.dtype} to {target} (needs whole numbers)")


def _rounded(a: Arguments, x: Tensor, target: str) -> Tensor:
    return formula(a.f, partial(unary, f"as_{target}"), x, dtype=target)


def _renamed(a: Arguments, x: Tensor, target: str) -> Tensor:
    return replace(x, dtype=target)


def _real(a: Arguments, x: Tensor, target: str) -> Tensor:
    made = a.f.real(x) if x.value.kind == "int" else x
    return _rounded(a, made, target) if target in SHORTER["float32"] else _renamed(a, made, target)


def _nonzero(a: Arguments, x: Tensor, target: str) -> Tensor:
    made = a.f.real(x) if x.value.kind == "int" else x
    return formula(a.f, lambda x: select(equal(x, 0), 0, 1), made, dtype="bool")


def _holds(source: str, target: str) -> bool:
    """Whether a type of whole numbers has all those of another."""
    if source not in WHOLE or target not in WHOLE:
        return False
    (bits, sign), (more, also) = WHOLE[source], WHOLE[target]
    return more >= bits if sign == also else also > sign and more > bits


_Cast = Callable[[Arguments, Tensor, str], Tensor]
# What comes first holds.
_CASTS: list[tuple[Callable[[Tensor, str], bool], _Cast]] = [
    (lambda x, to: to == "bool", _nonzero),
    (lambda x, to: x.dtype == "bool", _renamed),
    (lambda x, to: to in SHORTER.get(x.dtype, ()), _rounded),
    (lambda x, to: to in REALS and x.dtype in REALS, _renamed),
    (lambda x, to: to in REALS, _real),
    (lambda x, to: _holds(x.dtype, to), _renamed),
    # What a program computed is small enough for its dtype, and so for these.
    (lambda x, to: x.value.kind == "float" and x.dtype in WHOLE and to in ("int32", "int64"),
     _renamed),
]  # fmt: skip


def same(a: Arguments) -> Any:
    """The tensor itself; a leaf stays one."""
    found = a["self"]
    return found if isinstance(found, Leaf) else a.tensor("self")


def detached(a: Arguments) -> Tensor:
    """The same numbers, through which no gradient passes."""
    x = a.tensor("self")
    if not a.f.training or x.value.kind != "float":
        return x
    value = x.value
    made = a.f.node(View(stops=True), (value,), value.shape, value.samples)
    return replace(x, value=made)


# Constants ----------------------------------------------------------------------------------------


def filled(a: Arguments, number: float) -> Tensor:
    """The same number everywhere; formulas know it as a constant."""
    f, shape, dtype = a.f, a.shape(), a.dtype()
    if dtype not in REALS and dtype != "bool" and abs(number) >= 2 ** np.finfo(f.dtype).nmant:
        raise Unsaid(f"{number:g} as a whole number")
    if not all(shape):
        raise Unsaid("a tensor without elements")
    number = float(bool(number)) if dtype == "bool" else number
    size = prod(shape)
    f.require(size)
    constant = f.parameter("constant", np.asarray(number, f.dtype))
    value = f.node(Elementwise((size,), (operand(0),)), (constant,), (size,))
    f.filled[value.name] = number
    return f.result(value, shape, dtype)


def full(number: float) -> Handler:
    return lambda a: filled(a, number)


def _full(a: Arguments) -> Tensor:
    return filled(a, a.number("fill_value"))


TABLE: dict[str, Handler] = {
    "to": cast,
    "_to_copy": cast,
    "type_as": cast,
    **{
        op: same
        for op in (
            "clone contiguous alias lift_fresh lift_fresh_copy positive conj _conj resolve_conj"
            " resolve_neg conj_physical"
        ).split()
    },
    "detach": detached,
    "detach_copy": detached,
    "zeros_like": full(0),
    "ones_like": full(1),
    "empty_like": full(0),
    "new_zeros": full(0),
    "new_ones": full(1),
    "new_empty": full(0),
    "full_like": _full,
    "new_full": _full,
}
