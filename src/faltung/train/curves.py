"""Curves as SVG, which is part of a page and follows its colours, light or dark.

Written by hand: a chart is a few lines of text, and importing a plotting library takes longer than
all the rest of a report. Colours and fonts come from the page by class: ``line0``, ``line1``, ...
for curves, ``grid``, ``axis``, ``mark``.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass

WIDTH, HEIGHT = 420, 240  # of a chart, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 26, 32
_DOTS = 40  # with at most this many points, each gets a dot
_LARGEST = 1e30  # larger values are not drawn, like nan and inf
_DECADES = 1.3  # positive values that span more than this get a logarithmic axis

Number = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    """One curve; ``y`` may have gaps: None, nan, inf."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]

    def points(self) -> list[tuple[float, float] | None]:
        """(x, y), or None for a gap."""
        return [
            (x, y) if y is not None and abs(y) <= _LARGEST else None
            for x, y in zip(self.x, self.y, strict=True)
        ]


# Axes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """From values to coordinates: ``low`` at ``start``, ``high`` at ``end``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, here = self.low, self.high, value
        if self.log:
            low, high, here = math.log(low), math.log(high), math.log(here)
        return self.start + (self.end - self.start) * (here - low) / (high - low)

    def ticks(self, most: int) -> list[float]:
        """At most ``most`` round numbers inside."""
        return (
            _log_ticks(self.low, self.high, most) if self.log else ticks(self.low, self.high, most)
        )


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most ``most`` multiples of 1, 2 or 5 times a power of ten inside [low, high]."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20, 50, 100):
        step = power * factor
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """1, 2 and 5 in every decade, or 1 alone, or every second power of ten, ..."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    made: list[float] = []
    for factors, apart in (((1, 2, 5), 1), *(((1,), n) for n in range(1, 61))):
        every = [f * 10.0**d for d in decades if d % apart == 0 for f in factors]
        made = [tick for tick in every if low * 0.999 <= tick <= high * 1.001]
        if len(made) <= most:
            break
    return made


def _y_scale(values: list[float], top: float | None) -> Scale:
    """The axis for these values, with a margin; ``top``: a limit that it need not exceed."""
    low, high = min(values), max(values)
    start, end = HEIGHT - _BOTTOM, _TOP
    if low > 0 and top is None and math.log10(high / low) > _DECADES:
        return Scale(low / 1.15, high * 1.15, start, end, log=True)
    room = 0.06 * (high - low)
    if room <= 1e-9 * abs(high):  # all the same
        room = 0.1 * abs(high) or 1.0
    low, high = low - room if low - room > 0 or low < 0 else 0.0, high + room
    return Scale(low, high if top is None else max(min(high, top), low + 1e-9), start, end)


# A chart ------------------------------------------------------------------------------------------


def chart(
    title: str,
    lines: Sequence[Line],
    number: Number,
    *,
    x_title: str = "epoch",
    top: float | None = None,
    mark: float | None = None,
) -> str:
    """An ``<svg>`` of some curves over whole numbers x; "" if there is nothing to draw.

    ``number``: formats a value; ``top``: the largest possible value; ``mark``: an x where the last
    curve gets a ring.
    """
    found = [point for line in lines for point in line.points() if point is not None]
    if not found:
        return ""
    xs = [x for x, _ in found]
    room = 0.5 if min(xs) == max(xs) else 0.0
    x = Scale(min(xs) - room, max(xs) + room, _LEFT + 4, WIDTH - _RIGHT - 4)
    y = _y_scale([value for _, value in found], top)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_axes(x, y, number, x_title),
    ]
    for i, line in enumerate(lines):
        parts += _curve(line, f"line{i}", x, y, number)
    if mark is not None and lines:
        at = dict(point for point in lines[-1].points() if point is not None).get(mark)
        if at is not None:
            parts.append(f'<circle class="mark" cx="{x(mark):.1f}" cy="{y(at):.1f}" r="6"/>')
    title += ", logarithmic" if y.log else ""
    return "\n".join([*parts, *_legend(title, lines), "</svg>"])


def levels(y: Scale, number: Number, left: float, right: float) -> Iterator[str]:
    """Lines across at round numbers, which stand on the left."""
    for tick in y.ticks(5):
        at = f"{y(tick):.1f}"
        yield f'<path class="grid" d="M{left} {at}H{right}"/>'
        text = f'x="{left - 6}" y="{at}" dy="0.35em" text-anchor="end"'
        yield f'<text class="axis" {text}>{escape(number(tick))}</text>'
    yield f'<path class="base" d="M{left} {y.start}H{right}"/>'


def _axes(x: Scale, y: Scale, number: Number, x_title: str) -> Iterator[str]:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    yield from levels(y, number, _LEFT, right)
    for tick in x.ticks(7):
        if tick == int(tick):
            place = f'x="{x(tick):.1f}" y="{bottom + 15}" text-anchor="middle"'
            yield f'<text class="axis" {place}>{int(tick)}</text>'
    place = f'x="{(_LEFT + right) / 2:.1f}" y="{HEIGHT - 3}" text-anchor="middle"'
    yield f'<text class="axis" {place}>{escape(x_title)}</text>'


def _curve(line: Line, name: str, x: Scale, y: Scale, number: Number) -> Iterator[str]:
    """The path with its gaps, and dots with their value as a tooltip."""
    path, pen = [], "M"
    points = line.points()
    for point in points:
        if point is None:
            pen = "M"
            continue
        path.append(f"{pen}{x(point[0]):.1f} {y(point[1]):.1f}")
        pen = "L"
    yield f'<path class="{name}" d="{"".join(path)}"/>'
    if len(points) <= _DOTS:
        for point in points:
            if point is not None:
                says = escape(f"{line.name}, {point[0]:g}: {number(point[1])}")
                place = f'cx="{x(point[0]):.1f}" cy="{y(point[1]):.1f}" r="2.4"'
                yield f'<circle class="{name}" {place}><title>{says}</title></circle>'


def _legend(title: str, lines: Sequence[Line]) -> Iterator[str]:
    """The title on the left, the names of the curves on the right."""
    yield f'<text class="title" x="{_LEFT}" y="13">{escape(title)}</text>'
    at = float(WIDTH - _RIGHT)
    for i, line in reversed(list(enumerate(lines))):
        yield f'<text class="axis" x="{at:.1f}" y="13" text-anchor="end">{escape(line.name)}</text>'
        at -= 5.9 * len(line.name) + 6
        yield f'<path class="line{i}" d="M{at - 16:.1f} 9H{at:.1f}"/>'
        at -= 30


# Sparklines ---------------------------------------------------------------------------------------


def thin(values: npt.ArrayLike, most: int) -> npt.NDArray[np.float64]:
    """A series of at most ``2 * most`` values that looks the same when drawn ``most`` wide: the
    least and the largest of each segment. What is not finite becomes the mean of the rest.
    """
    series = np.asarray(values, np.float64).ravel()
    good = np.isfinite(series) & (np.abs(series) <= _LARGEST)
    series = np.where(good, series, series[good].mean() if good.any() else 0.0)
    if series.size <= 2 * most:
        return series
    edges = np.linspace(0, series.size, most + 1).astype(np.int64)[:-1]
    low, high = np.minimum.reduceat(series, edges), np.maximum.reduceat(series, edges)
    return np.stack([low, high], 1).ravel()


def unit(channels: npt.ArrayLike, most: int) -> npt.NDArray[np.float64]:
    """Series (channels, length), thinned and scaled to 0 to 1 together."""
    made = np.stack([thin(channel, most) for channel in np.atleast_2d(np.asarray(channels))])
    low, high = made.min(), made.max()
    return (made - low) / (high - low) if high > low else np.full_like(made, 0.5)


def sparkline(
    channels: npt.ArrayLike,
    width: int = 150,
    height: int = 56,
    heat: npt.NDArray[np.floating[Any]] | None = None,
) -> str:
    """An ``<svg>`` of a series (channels, length), without axes. heat: from 0 to 1, any length, as
    bands behind it, of classes ``h1`` to ``h10``.
    """
    parts = [f'<svg class="spark" viewBox="0 0 {width} {height}" role="img">']
    if heat is not None and len(heat):
        parts += _bands(np.rint(10 * heat).astype(int).tolist(), width, height)
    places = unit(channels, width)
    xs = np.linspace(2, width - 2, places.shape[1]) if places.shape[1] > 1 else [width / 2]
    for i, series in enumerate(places):
        ys = height - 4 - series * (height - 8)
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
        parts.append(f'<path class="line{i % 6}" d="M{path}"/>')
    return "".join([*parts, "</svg>"])


def _bands(shades: Sequence[int], width: int, height: int) -> Iterator[str]:
    """A rectangle for each run of one shade above 0."""
    begin = 0
    for end in range(1, len(shades) + 1):
        if end < len(shades) and shades[end] == shades[begin]:
            continue
        if shades[begin]:
            left, right = (2 + (width - 4) * at / len(shades) for at in (begin, end))
            place = f'x="{left:.1f}" width="{right - left:.1f}" height="{height}"'
            yield f'<rect class="h{shades[begin]}" {place}/>'
        begin = end
