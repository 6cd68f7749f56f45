"""Operations on levels: whole numbers of 8 bits (``geometry/levels.py``)."""

from faltung.geometry.conv import ConvSpec
from faltung.geometry.expr import Expr
from faltung.geometry.levels import Grid
from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class ConvolveInteger:
    """x, weight, [bias,] *aux -> y: a convolution of levels, exact in whole numbers.

    x: levels on the grid ``x``; the array of such a value has the whole numbers q. weight: whole
    numbers from -128 to 127; bias: whole numbers of 32 bits; both in the dtype of the network. The
    sum is sum((x - zero) * weight) + bias, modulo 2**32; padding with zeros counts as ``zero``.
    epilogue: a formula of the sum as a float32 (operand 0) and of ``aux``, each operation rounded
    on its own: vectors of a scale for each channel, maps to add. None: the sum. grids: for each of
    ``aux`` the grid on which it has levels, which the formula reads as (q - zero) * scale; None
    where it has numbers. result: the grid of the levels that y has, nearest to the formula; None: y
    has its numbers. narrow: weights are from -64 to 64, which is faster on some machines.
    """

    spec: ConvSpec
    x: Grid
    bias: bool = False
    epilogue: Expr | None = None
    grids: tuple[Grid | None, ...] = ()
    result: Grid | None = None
    narrow: bool = False
