"""Accuracy against what it costs, as SVG: a dot for each step, with its interval.

Colours and fonts come from the page, as those of ``train/curves.py`` do.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape

from faltung.geometry.record import dataclass
from faltung.train.curves import HEIGHT, WIDTH, Number, Scale, levels

_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 44, 34
# Of the page's style: the first kind in grey, those after it in colours.
_COLOURS = (4, 0, 1, 2, 3, 5)
MARGIN = 1.12  # around the dots, as a factor


@dataclass(frozen=True)
class Dot:
    """A step. ``x``: what it costs, above 0; ``y``: how good it is, from ``low`` to ``high``;
    ``kind``: which of the kinds it is of; ``says``: its tooltip; ``within``: whether it keeps the
    limits.
    """

    x: float
    y: float
    low: float
    high: float
    kind: int
    says: str
    within: bool


def scatter(
    title: str,
    x_title: str,
    kinds: Sequence[str],
    dots: Sequence[Dot],
    number: Number,
    chosen: int | None,
) -> str:
    """An ``<svg>`` with a logarithmic axis of costs; a ring around the one that is chosen."""
    xs = [dot.x for dot in dots]
    x = Scale(min(xs) / MARGIN, max(xs) * MARGIN, _LEFT + 4, WIDTH - _RIGHT, log=True)
    low, high = min(dot.low for dot in dots), max(dot.high for dot in dots)
    room = 0.04 * (high - low) or 0.05
    y = Scale(low - room, high + room, HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_axes(x, y, number, x_title),
    ]
    for dot in dots:
        parts += _drawn(dot, x(dot.x), y)
    if chosen is not None:
        dot = dots[chosen]
        parts.append(f'<circle class="mark" cx="{x(dot.x):.1f}" cy="{y(dot.y):.1f}" r="7"/>')
    return "\n".join([*parts, *_legend(title, kinds), "</svg>"])


def _drawn(dot: Dot, at: float, y: Scale) -> Iterator[str]:
    """Its interval as a thin line, and the dot; a small one if it is beyond the limits."""
    colour = _colour(dot.kind)
    ends = f"M{at:.1f} {y(dot.low):.1f}V{y(dot.high):.1f}"
    yield f'<path class="{colour}" stroke-opacity="0.3" stroke-width="1" d="{ends}"/>'
    place = f'cx="{at:.1f}" cy="{y(dot.y):.1f}" r="{4 if dot.within else 2.2}"'
    yield f'<circle class="{colour}" {place}><title>{escape(dot.says)}</title></circle>'


def _axes(x: Scale, y: Scale, number: Number, x_title: str) -> Iterator[str]:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    yield from levels(y, number, _LEFT, right)
    for tick in x.ticks(7):
        place = f'x="{x(tick):.1f}" y="{bottom + 15}" text-anchor="middle"'
        yield f'<text class="axis" {place}>{escape(short(tick))}</text>'
    place = f'x="{(_LEFT + right) / 2:.1f}" y="{HEIGHT - 3}" text-anchor="middle"'
    yield f'<text class="axis" {place}>{escape(x_title)}, logarithmic</text>'


def _colour(kind: int) -> str:
    return f"line{_COLOURS[kind % len(_COLOURS)]}"


def _legend(title: str, kinds: Sequence[str]) -> Iterator[str]:
    """The title, and below it the kinds."""
    yield f'<text class="title" x="{_LEFT}" y="13">{escape(title)}</text>'
    at = 16.0
    for i, kind in enumerate(kinds):
        yield f'<circle class="{_colour(i)}" cx="{at:.1f}" cy="28" r="3.5"/>'
        yield f'<text class="axis" x="{at + 7:.1f}" y="32">{escape(kind)}</text>'
        at += 5.7 * len(kind) + 18


def short(value: float) -> str:
    """1,500 as 1.5k; 0.02 as it is."""
    if value < 1000:
        return f"{value:.3g}"
    power = min(int(math.log10(value) // 3), 3)
    return f"{value / 1000**power:.3g}{('', 'k', 'M', 'G')[power]}"
