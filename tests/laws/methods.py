"""Every row of both tables of methods, forced by name: what it makes of a problem, and how far from
float64 that may be.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from laws.layouts import back, options, to

import faltung
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.plan.choose import FORWARD, WEIGHT_GRAD

Array = np.ndarray[Any, Any]

DIRECTIONS = ("forward", "input_grad", "weight_grad")
# Half the distance of the numbers around one.
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}
# Relative errors, root of mean squares, in these units. A sum of 800 products is within 8.4, which
# is 5e-7 in float32. It errs as the root of their number: 0.3 of it, here 0.4.
SUM, PRODUCTS, GROWTH = 8.4, 800, 0.4
# Transforms, as maps and as gradients for the weight: 5e-6 and 1e-5 in float32. Long transforms are
# much better than that, if nothing is wrong with them.
TRANSFORM, BETTER = (83.0, 167.0), {"fft": (12.0, 24.0)}

# Strassen's algorithm: so many times what a sum is allowed.
STRASSEN_TIMES = 3

# A problem for each method, larger than its tiles and blocks, that it can do on every machine and
# in every dtype; and whether channels are last in it.
ROWS = {
    "direct": ("n2 c5>20 13x14 k3 p1", True),
    "spatial": ("n2 c3>4 9x40 k3 p1", False),
    "signal": ("n2 c1>1 900 k31 p15", False),
    "depthwise": ("n2 c20>20 13x14 k3 p1 g20", True),
    "grouped": ("n2 c16>16 13x14 k3 p1 g8", True),
    "winograd": ("n2 c10>12 24x24 k3 p1 g2", True),
    "fft": ("n2 c4>6 6000 k101 p50 g2", False),
    "strassen": ("n2 c90>148 7x9 k1 g2", True),
}


class Pair(NamedTuple):
    """A row of the tables."""

    direction: str
    method: str


def pairs(*, transforms: bool | None = None) -> list[Pair]:
    """All rows of the tables; or only the transforms, or the sums."""
    return [
        Pair(direction, name)
        for direction in DIRECTIONS
        for name, entry in table(direction).items()
        if transforms in (None, entry.transform)
    ]


def table(direction: str) -> Any:
    return WEIGHT_GRAD if direction == "weight_grad" else FORWARD


def made(
    direction: str, method: str, spec: ConvSpec, arrays: Sequence[Array], last: bool
) -> Array | None:
    """What ``method`` makes of ``arrays``, in the order (N, C, *space); None: it does not apply."""
    x, w, bias, g = arrays
    x, g = to(x, last), to(g, last)
    given = {**options(spec), "channels_last": last, "method": method}
    try:
        if direction == "forward":
            return back(faltung.conv(x, w, bias, **given), last)
        if direction == "input_grad":
            return back(faltung.conv_input_grad(g, w, x.shape, **given), last)
        return faltung.conv_weight_grad(x, g, w.shape, **given)
    except ValueError as refusal:
        if "must be one of" not in str(refusal):
            raise
        return None


def wanted(direction: str, spec: ConvSpec, arrays: Sequence[Array]) -> Array:
    """The same in float64, as a loop over taps."""
    x, w, bias, g = arrays
    if direction == "forward":
        return reference.conv(x, w, bias, spec)
    if direction == "input_grad":
        return reference.conv_input_grad(g, w, spec)
    return reference.conv_weight_grad(x, g, spec)


def products(direction: str, spec: ConvSpec) -> int:
    """The most that are added up in an element."""
    if direction == "forward":
        return spec.channels_in // spec.groups * spec.taps
    if direction == "input_grad":
        # A border that is folded back brings its taps along.
        borders = sum(mode != "zeros" for mode in spec.padding_mode)
        return spec.channels_out // spec.groups * spec.taps * 3**borders
    return spec.batch * int(np.prod(spec.output))


def bound(direction: str, method: str, spec: ConvSpec) -> float:
    """The largest relative error allowed."""
    if table(direction)[method].transform:
        if method == "strassen":
            return STRASSEN_TIMES * sums_bound(products(direction, spec), spec.dtype)
        return BETTER.get(method, TRANSFORM)[direction == "weight_grad"] * UNIT[spec.dtype]
    return sums_bound(products(direction, spec), spec.dtype)


def sums_bound(count: int, dtype: str) -> float:
    return (SUM if count <= PRODUCTS else max(SUM, GROWTH * count**0.5)) * UNIT[dtype]


def error(got: Array, want: Array) -> float:
    """Relative, root of mean squares; zeros must be zeros."""
    size = float(np.linalg.norm(want))
    return float(np.linalg.norm(got - want)) / (size or np.finfo(want.dtype).tiny)


def row(method: str, dtype: str = "f32") -> tuple[ConvSpec, bool]:
    """The problem of a method, and whether channels are last."""
    text, last = ROWS[method]
    return parse(f"{text} {dtype}"), last
