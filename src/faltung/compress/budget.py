"""What a compressed model may cost, and which of several is chosen.

The limits hold together: at most ``drop`` points lost on the samples that choose, as accuracy tells
it and as loss does (few samples, many models: one is lucky, but seldom in both), at most ``bytes``
on disk, at least ``speed`` times as fast. Of the models within all of them the smallest is chosen
if ``drop`` is one of them, since then what may be lost is said. Else the most accurate is; but few
samples cannot tell accuracies apart, and the best of many has been lucky: all within one standard
error of the best count as equal (Breiman, Friedman, Olshen and Stone, 1984), and of these the one
with the least loss is chosen, which says more.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, Protocol

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass

DROP = 0.5  # points that may be lost if no limit is given
# What a number of bytes may end in.
UNITS = {"k": 1000, "M": 1000**2, "G": 1000**3, "": 1}


class Measured(Protocol):
    """What the choice depends on; ``lost``, its standard ``error`` in points, and ``loss`` on the
    samples that choose.
    """

    @property
    def bytes(self) -> int: ...
    @property
    def lost(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def error(self) -> float: ...
    @property
    def speed(self) -> float: ...


@dataclass(frozen=True)
class Budget:
    """``drop``: in points; ``bytes``: of the file with the weights; ``speed``: times as fast, by
    one thread. None: no limit. ValueError, TypeError: a limit that cannot be one.
    """

    drop: float | None = None
    bytes: int | None = None
    speed: float | None = None

    def __post_init__(self) -> None:
        for name in ("drop", "bytes", "speed"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise FaltungTypeError(f"{name}={show(value)}: must be a number")
            if not (0 < value < inf or (name == "drop" and value == 0)):
                words = "at least 0" if name == "drop" else "above 0"
                raise FaltungError(f"{name}={show(value)}: must be {words} and finite")
        if self.drop is not None and self.drop > 100:
            raise FaltungError(f"drop={show(self.drop)}: must be at most 100 points")
        if not self.as_dict():
            object.__setattr__(self, "drop", DROP)

    def __str__(self) -> str:
        words = [
            *([] if self.drop is None else [f"at most {self.drop:g} points lost"]),
            *([] if self.bytes is None else [f"at most {self.bytes:,} bytes"]),
            *([] if self.speed is None else [f"at least {self.speed:g} times as fast"]),
        ]
        return ", ".join(words)

    def as_dict(self) -> dict[str, Any]:
        """The limits that there are."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def excess(self, found: Measured) -> dict[str, float]:
        """By how much each limit is missed, 0 where it is kept: points, and parts of the limit."""
        made = {}
        if self.drop is not None:
            made["drop"] = max(found.lost - self.drop, 0.0)
        if self.bytes is not None:
            made["bytes"] = max(found.bytes / self.bytes - 1, 0.0)
        if self.speed is not None:
            made["speed"] = max(self.speed / max(found.speed, 1e-12) - 1, 0.0)
        return {name: 0.0 if value < 1e-9 else value for name, value in made.items()}

    def within(self, found: Measured) -> bool:
        """Whether all limits are kept."""
        return not any(self.excess(found).values())

    def choose(self, found: Sequence[Measured]) -> int | None:
        """The number of the best within all limits; None: there is none."""
        within = [i for i, each in enumerate(found) if self.within(each)]
        if self.drop is not None:
            return min(within, key=lambda i: (found[i].bytes, found[i].lost, i), default=None)
        if not within:
            return None
        best = min((found[i] for i in within), key=lambda each: each.lost)
        equal = [i for i in within if found[i].lost <= best.lost + best.error + 1e-9]
        return min(equal, key=lambda i: (found[i].loss, found[i].bytes, i))

    def nearest(self, found: Sequence[Measured]) -> int:
        """The number of the one that misses the limits by the least part: a point lost too much
        counts as a tenth of the bytes.
        """

        def missed(i: int) -> tuple[float, ...]:
            parts = self.excess(found[i])
            scaled = [value / 10 if name == "drop" else value for name, value in parts.items()]
            return max(scaled), found[i].lost, found[i].bytes

        return min(range(len(found)), key=missed)


def as_bytes(text: str) -> int:
    """20k as 20,000, 1M as 1,000,000. ValueError: anything else."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in ("k", "M", "G") else (text, "")
    try:
        found = float(number)
    except ValueError:
        found = 0.0
    made = found * UNITS[unit]
    if not 1 <= made < 1 << 62:
        raise ValueError("must be a number of bytes, as 20000, 20k (20,000) or 1.5M")
    return int(made)
