"""The ladder as one picture: a row for each step, bars for what it takes, a dot for how good it is.

An SVG that loads nothing and follows the colours of the reader, light or dark.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape

from faltung.compress.ladder import Ladder, Rung
from faltung.train.curves import Scale

WIDTH, ROW, TOP = 1120, 74, 84
_NAMES, _BAR = 24, 178  # where names begin, and how wide a column of bars is
_COLUMNS = (352, 560, 768)
_DOTS = (990, 1090)
_NOTE = (
    "Bars are logarithmic. Bits are those of the weights and, given these, of the labels that the "
    "network was trained on; a diamond is the code that sends no weights."
)
_STYLE = """\
svg{--card:#fff;--ink:#17202a;--soft:#5a6673;--rule:#e3e6ea;--one:#2563eb;--two:#d9730d;\
--three:#0f8a6a;--four:#b0409a;font-family:system-ui,-apple-system,"Segoe UI",Roboto,\
"Helvetica Neue","DejaVu Sans",sans-serif}
@media (prefers-color-scheme:dark){svg{--card:#181e25;--ink:#e7ebef;--soft:#98a4b0;--rule:#2a323b;\
--one:#6aa5ff;--two:#f2a057;--three:#4cc9a0;--four:#e08ad0}}
.card{fill:var(--card)}text{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
.t{fill:var(--ink);font-size:19px;font-weight:650}.h{font-weight:600}\
.n{fill:var(--ink);font-size:15px;font-weight:650}.v{fill:var(--ink);font-weight:600}
.f{font-family:ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;fill:var(--ink)}
.r{stroke:var(--rule)}.p{stroke:var(--soft);stroke-dasharray:3 3}
.b0{fill:var(--one)}.b1{fill:var(--two)}.b2{fill:var(--three)}\
.d{fill:var(--four)}.i{stroke:var(--four);stroke-width:2}.m{fill:var(--ink)}"""


def picture(ladder: Ladder, title: str) -> str:
    """The SVG as text."""
    rungs = ladder.rungs
    height = TOP + ROW * len(rungs) + 46
    scales = _scales(ladder)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="card" width="{WIDTH}" height="{height}" rx="12"/>',
        _text(_NAMES, 34, title, "t"),
        _text(_NAMES, 56, _subtitle(ladder)),
        *_heads(),
    ]
    plain = scales[2](ladder.plain)
    bottom = TOP + ROW * len(rungs)
    parts.append(f'<path class="p" d="M{plain:.1f} {TOP}V{bottom}"/>')
    for number, rung in enumerate(rungs):
        parts += _row(rung, TOP + ROW * number, scales)
    parts += [
        _text(plain, bottom + 14, f"labels alone: {short(ladder.plain)}", anchor="middle"),
        _text(_NAMES, bottom + 34, _NOTE),
    ]
    return "\n".join([*parts, "</svg>\n"])


def _subtitle(ladder: Ladder) -> str:
    shape = "\N{MULTIPLICATION SIGN}".join(map(str, ladder.shape))
    return (
        f"the same mapping in fewer and fewer numbers; {ladder.labels:,} samples of {shape} train, "
        f"{ladder.rungs[-1].samples:,} that chose nothing answer"
    )


def _scales(ladder: Ladder) -> tuple[Scale, Scale, Scale, Scale]:
    """Of parameters, bytes, bits, and accuracy."""
    rungs = ladder.rungs
    bits = [b for r in rungs for b in (r.two_parts, r.one_by_one) if b] + [ladder.plain]
    columns = ([r.parameters for r in rungs], [r.bytes for r in rungs if r.bytes], bits)
    bars = []
    for start, values in zip(_COLUMNS, columns, strict=True):
        low = 10 ** math.floor(math.log10(min(values) * 0.8))
        bars.append(Scale(low, max(values) * 1.001, start, start + _BAR, log=True))
    lows = [r.low for r in rungs if r.low is not None]
    room = max(0.01, (1 - min(lows)) * 0.1)
    dots = Scale(min(lows) - room, 1.0, *_DOTS)
    return bars[0], bars[1], bars[2], dots


def _heads() -> Iterator[str]:
    words = ("parameters", "bytes on disk", "bits: weights and labels")
    for x, word in zip(_COLUMNS, words, strict=True):
        yield _text(x, TOP - 8, word, "h")
    yield _text(_DOTS[0], TOP - 8, "accuracy, 95%", "h")


def _row(rung: Rung, y: float, scales: tuple[Scale, Scale, Scale, Scale]) -> Iterator[str]:
    yield f'<path class="r" d="M{_NAMES} {y}H{WIDTH - _NAMES}"/>'
    yield _text(_NAMES, y + 22, rung.name, "n")
    yield _text(_NAMES, y + 40, rung.formula, "f")
    yield _text(_NAMES, y + 58, f"{cut(rung.sum, 38)} = {rung.numbers:,}")
    values: Sequence[float | None] = (rung.parameters, rung.bytes, rung.two_parts)
    for number, (value, scale, start) in enumerate(zip(values, scales[:3], _COLUMNS, strict=True)):
        if value is None:
            yield _text(start, y + 44, rung.says if number == 1 else "")
            continue
        width = max(1.5, scale(value) - start)
        place = f'x="{start}" y="{y + 34}" width="{width:.1f}" height="12" rx="3"'
        yield f'<rect class="b{number}" {place}/>'
        yield _text(start, y + 27, f"{value:,.0f}" if value < 1e6 else short(value), "v")
    if rung.one_by_one is not None:
        x = scales[2](rung.one_by_one)
        yield (
            f'<path class="m" d="M{x - 5:.1f} {y + 56}L{x:.1f} {y + 51}L{x + 5:.1f} {y + 56}'
            f'L{x:.1f} {y + 61}Z"/>'
        )
        words = f"{short(rung.one_by_one)} one by one"
        # Behind the words the line of the plain code would be hard to tell from them.
        place = f'x="{x + 8:.1f}" y="{y + 49}" width="{6.6 * len(words):.0f}" height="14"'
        yield f'<rect class="card" {place}/>'
        yield _text(x + 9, y + 60, words)
    if rung.accuracy is not None and rung.low is not None and rung.high is not None:
        low, at, high = (scales[3](v) for v in (rung.low, rung.accuracy, rung.high))
        yield f'<path class="i" d="M{low:.1f} {y + 40}H{high:.1f}"/>'
        yield f'<circle class="d" cx="{at:.1f}" cy="{y + 40}" r="5"/>'
        yield _text(_DOTS[0], y + 27, f"{rung.accuracy:.1%}", "v")
        yield _text(_DOTS[0], y + 60, f"{rung.low:.1%} to {rung.high:.1%}")


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "") -> str:
    more = f' class="{kind}"' if kind else ""
    more += f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>'


def cut(text: str, longest: int) -> str:
    """A text that is not too long."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def short(value: float) -> str:
    """Three significant digits: 12.3k, 1.5M."""
    power = min(max(0, int(math.log10(max(value, 1)) // 3)), 4)
    return f"{value / 1000**power:.3g}{('', 'k', 'M', 'G', 'T')[power]}"
