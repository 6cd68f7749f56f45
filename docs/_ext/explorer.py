"""A window of the explorer on a page: a fenced block ``{explorer}`` with one line of text in it.

The line is the address: on the site it becomes a frame, on the code host the block shows the line,
which ``faltung see`` takes as it is. A line that ``faltung.parse`` refuses is an error of the
build, so no page shows a window that opens on something else.
"""

from html import escape
from typing import ClassVar
from urllib.parse import quote

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from faltung.geometry.text import parse

PAGE = "explorer.html"  # at the root of the site


def address(line: str, home: str = "") -> str:
    """Where the explorer shows a line; ``home``: from the page to the root of the site."""
    return f"{home}{PAGE}#{quote(line)}"


def frame(line: str, home: str = "", height: int | None = None) -> str:
    """The window, and a link that opens it alone."""
    tall = f' style="height: {height}px"' if height else ""
    place, said = escape(address(line, home)), escape(line)
    return (
        f'<iframe class="explorer" src="{place}" title="Explorer: {said}" loading="lazy"{tall}>'
        "</iframe>\n"
        f'<p><a class="reference external" href="{place}">Open the explorer in a page of its own'
        f"</a>: <code>{said}</code></p>\n"
    )


class Explorer(SphinxDirective):
    """The directive. ``height``: of the frame in pixels, where the usual one does not suit."""

    has_content = True
    option_spec: ClassVar = {"height": directives.positive_int}

    def run(self) -> list[nodes.Node]:
        """One window, if its line is a convolution."""
        line = " ".join(" ".join(self.content).split())
        try:
            parse(line)
        except (TypeError, ValueError) as error:
            raise self.error(f"explorer: {error}") from error
        home = "../" * self.env.docname.count("/")
        return [nodes.raw("", frame(line, home, self.options.get("height")), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """As Sphinx calls it."""
    app.add_directive("explorer", Explorer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
