"""``Units``: what stored numbers mean to a network, decided once and kept with it.

A picture can be written as bytes from 0 to 255, as whole numbers of 64 bits, as fractions from 0 to
1 or as a PNG file of 16 bits, and must be the same picture each time. So what stands for white is
found out when a network is trained, from the format of the files or from the values, never from a
dtype, and whatever is predicted from later is converted by it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass

Array = npt.NDArray[Any]
# What stands for white in pictures of fractions, of 8 bits and of 16 bits.
WHITES = (1.0, 255.0, 65535.0)
# What pictures are divided by when an array of them is first read.
SCALES = {np.dtype(np.uint8): WHITES[1], np.dtype(np.uint16): WHITES[2]}
# Values this many times larger or smaller than those of the training are worth a word.
MAX_RATIO = 20


@dataclass(frozen=True)
class Units:
    """What the stored numbers of samples mean.

    scale: the network sees stored numbers divided by it. white: the stored number that is seen as
    white in a picture; None where numbers have a unit of their own, as those of series and volumes.
    fixed: whether the format of the files says what white is, so that no value can contradict it.
    low, high: the least and the largest number stored; None where nobody has looked. whole: whether
    all are whole numbers. ValueError, TypeError: anything else.
    """

    scale: float = 1.0
    white: float | None = None
    fixed: bool = False
    low: float | None = None
    high: float | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        for name in ("scale", "white", "low", "high"):
            value = getattr(self, name)
            if value is None and name != "scale":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise FaltungTypeError(f"{name}={show(value)}: must be a number")
            if not isfinite(value) or (name in ("scale", "white") and value <= 0):
                least = " and above 0" if name in ("scale", "white") else ""
                raise FaltungError(f"{name}={show(value)}: must be finite{least}")
            object.__setattr__(self, name, float(value))
        for name in ("fixed", "whole"):
            if not isinstance(getattr(self, name), bool):
                raise FaltungTypeError(f"{name}={show(getattr(self, name))}: must be True or False")

    def as_dict(self) -> dict[str, Any]:
        """For a settings file; ``from_dict`` gives the same object back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @staticmethod
    def from_dict(found: Mapping[str, Any]) -> "Units":
        """ValueError, TypeError: an entry that is unknown or wrong."""
        unknown = set(found) - set(Units.__dataclass_fields__)
        if unknown:
            raise FaltungError(f"units.{min(unknown)}: is not known")
        return Units(**found)

    def divisor(self, other: "Units") -> float:
        """What numbers stored in other units are divided by for a network trained in these.

        Files whose format says what white is are converted by it. Of other numbers it is believed
        that they are what the network was trained on, unless they cannot be: fractions up to 1 for
        a network that was trained on whole numbers up to 255, or whole numbers that are brighter
        than white. Levels 0 and 1 alone are what they are in a brighter picture, a dark one.
        ValueError: levels of a picture for a network that was trained on numbers of another kind.
        """
        if other.fixed and other.white is not None:
            if self.white is None:
                raise FaltungError(
                    f"has levels from 0 to {other.white:g}, and the network was trained on numbers "
                    f"of their own unit{self._range()}; save it as an array in that unit"
                )
            return self.scale * other.white / self.white
        low, high = other.low, other.high
        if self.white is None or low is None or high is None or low < 0:
            return self.scale
        if other.whole and high > self.white:
            return self.scale * (white_of(low, high, True) or self.white) / self.white
        if self.white > 1 and self.whole and 0 < high <= 1 and not other.whole:
            return self.scale / self.white
        return self.scale

    def divisor_of(self, x: Array) -> float:
        """``divisor`` for an array of which nothing else is known, and which may not be finite."""
        other = self.seen(x)
        return self.scale if other is None else self.divisor(other)

    def seen(self, x: Array) -> "Units | None":
        """What an array says of its units, as far as they matter beside these; None: nothing."""
        if not self.looks(x.dtype) or not x.size:
            return None
        whole = partial(is_whole, x)
        return self.seen_between(x.dtype, float(x.min()), float(x.max()), whole)

    def looks(self, dtype: np.dtype[Any]) -> bool:
        """Whether it may matter to these units which values an array of a dtype has."""
        return self.white is not None and dtype.kind in "buif"

    def seen_between(
        self, dtype: np.dtype[Any], low: float, high: float, is_whole: Callable[[], bool]
    ) -> "Units | None":
        """``seen`` of an array with values from ``low`` to ``high``, of which ``is_whole`` says
        whether all are whole numbers; it is asked only where it matters.
        """
        assert self.white is not None
        if self._usual(low, high) or not (isfinite(low) and isfinite(high)):
            return None
        matters = low >= 0 and (high > self.white or high <= 1)
        whole = matters and dtype.kind != "b" and is_whole()
        return Units(low=low, high=high, whole=whole)

    def _usual(self, low: float, high: float) -> bool:
        """Whether a range says that numbers are in these units, as nearly always: neither brighter
        than white nor much darker than in the training, and above what a fraction can be.
        """
        if self.white is None or self.high is None or low < 0 or high > self.white:
            return False
        return high * MAX_RATIO >= self.high and (high > 1 or not self.whole or self.white <= 1)

    def note(self, other: "Units") -> str | None:
        """What is worth saying about numbers in other units, if anything: that they are converted,
        or that their range is far from that of the training.
        """
        seen, mine = other._range(), self._range()
        if not seen or not mine or (other.fixed and other.white is not None):
            return None
        by = self.divisor(other) / self.scale
        if by != 1:
            how = f"divided by {by:g}" if by > 1 else f"multiplied by {1 / by:g}"
            return f"values{seen} are {how}: the network was trained on{mine}"
        assert other.low is not None and other.high is not None
        assert self.low is not None and self.high is not None
        most = max(-other.low, other.high)
        usual = max(-self.low, self.high)
        if most and usual and not 1 / MAX_RATIO <= most / usual <= MAX_RATIO:
            return f"values{seen}, but the network was trained on{mine}: is their unit the same?"
        return None

    def _range(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f" {self.low:g}..{self.high:g}"

    def __str__(self) -> str:
        """For the first lines of a run: "values 0..16 -> /16"."""
        if self.fixed and self.white is not None:
            return f"values 0..{self.white:g} -> /{self.scale:g}"
        scaled = f" -> /{self.scale:g}" if self.scale != 1 else ""
        return f"values{self._range()}{scaled}" if self._range() else ""


def units_of(x: Array, *, picture: bool, scale: float | None = None) -> Units:
    """The units of an array that nothing else is known about. ``scale``: if it is given, what x is
    divided by, and white; by default pictures of 8 or 16 bits become 0 to 1, other numbers stay.
    """
    low, high = float(x.min()), float(x.max())
    whole = x.dtype != bool and is_whole(x)  # bool has a white of its own, and no levels
    if scale is not None:
        return Units(scale, scale if picture else None, low=low, high=high, whole=whole)
    white = white_of(low, high, whole) if picture else None
    divided = SCALES.get(x.dtype, 1.0) if picture else 1.0
    return Units(divided, white, low=low, high=high, whole=whole)


def is_whole(x: Array) -> bool:
    """Whether all values are whole numbers."""
    if x.dtype.kind in "bui":
        return True
    flat = x.reshape(-1)
    step = 1 << 20
    return all(
        bool((np.rint(part) == part).all())
        for part in (flat[i : i + step] for i in range(0, len(flat), step))
    )


def white_of(low: float, high: float, whole: bool) -> float | None:
    """What stands for white in a picture with values from ``low`` to ``high``: 1, 255, or 65535 if
    they are whole numbers; None if no picture is stored so.
    """
    if low < 0 or high > WHITES[2] or (high > WHITES[1] and not whole):
        return None
    return next(white for white in WHITES if high <= white)
