"""Small pieces of HTML for notebooks: boxes and tables that follow the page, light or dark.

There is no script and no colour but that of the text, at several strengths; styles are attributes,
which viewers of notebooks keep. What is given as text is escaped.
"""

from collections.abc import Collection, Iterable, Sequence
from html import escape

_BOX = (
    "border:1px solid color-mix(in srgb,currentColor 22%,transparent);border-radius:8px;"
    "padding:10px 14px;margin:2px 0;display:inline-block;max-width:100%;box-sizing:border-box;"
    "font-size:13px;line-height:1.45;overflow-x:auto;text-align:left;vertical-align:top"
)
_TITLE = "font-weight:600;font-size:14px;overflow-wrap:anywhere"
_SOFT = "opacity:.68;font-size:12px;overflow-wrap:anywhere"
_TABLE = "border-collapse:collapse;margin:8px 0 2px;font-size:12.5px;border:0"
_CELL = "padding:3px 14px 3px 0;border:0;white-space:nowrap;background:none;"
_LINE = "border-top:1px solid color-mix(in srgb,currentColor 14%,transparent);background:none"


def box(title: str, *parts: str, note: str = "") -> str:
    """A frame with a title; ``parts`` are HTML, in order; ``note``: text below the title."""
    said = f'<div style="{_SOFT}">{escape(note)}</div>' if note else ""
    inside = "".join(part for part in parts if part)
    return f'<div style="{_BOX}"><div style="{_TITLE}">{escape(title)}</div>{said}{inside}</div>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[int] = (),
    strong: Collection[int] = (),
) -> str:
    """A table of texts. right: columns of numbers; strong: numbers of rows that stand out."""

    def cell(word: str, text: str, column: int, more: str = "") -> str:
        side = "text-align:right" if column in right else "text-align:left"
        # Blanks at the start are levels of a tree.
        shown = "\N{NO-BREAK SPACE}" * (len(text) - len(text.lstrip(" "))) + text.lstrip(" ")
        return f'<{word} style="{_CELL}{side}{more}">{escape(shown)}</{word}>'

    first = ";opacity:.68;font-weight:600"
    lines = ["".join(cell("th", text, i, first) for i, text in enumerate(head))] if head else []
    for number, row in enumerate(rows):
        more = ";font-weight:650" if number in strong else ""
        lines.append("".join(cell("td", text, i, more) for i, text in enumerate(row)))
    made = "".join(f'<tr style="{_LINE}">{line}</tr>' for line in lines)
    return f'<table style="{_TABLE}"><tbody>{made}</tbody></table>'


def folded(title: str, inside: str, *, opened: bool = False) -> str:
    """HTML that is shown when its title is clicked."""
    mark = " open" if opened else ""
    style = "cursor:pointer;opacity:.8;margin-top:6px"
    return f'<details{mark}><summary style="{style}">{escape(title)}</summary>{inside}</details>'


def shape(sizes: Sequence[int]) -> str:
    """Sizes with crosses between them."""
    return "\N{MULTIPLICATION SIGN}".join(map(str, sizes))
