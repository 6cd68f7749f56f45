"""Windows of the explorer in a page: a block ``{explorer}`` that holds one problem on one line.

On the code host it reads as a block with that line; on the site the explorer runs in its place,
with the sections that the block names (``:only: window formula``; by default the window alone).
"""

from typing import Any, ClassVar
from urllib.parse import quote

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from faltung.geometry.errors import FaltungError
from faltung.geometry.text import parse

EXPLORER = "explorer.html"  # where conf.py puts the page


class window(nodes.General, nodes.Element):
    """A frame with the explorer."""


class Window(SphinxDirective):
    """The block. A line that means no problem is a warning, and so an error of the build."""

    has_content = True
    option_spec: ClassVar = {"only": directives.unchanged, "height": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        """Check the line, and leave a frame."""
        text = " ".join(self.content).strip()
        line, _, way = text.partition("&")
        try:
            parse(line.strip())
        except FaltungError as error:
            raise self.error(f"explorer: {error}") from error
        only = self.options.get("only", "window")
        return [
            window(
                "",
                line=text,
                address=address(line.strip(), way.strip(), only.split()),
                height=self.options.get("height", 560),
            )
        ]


def address(line: str, way: str, only: list[str]) -> str:
    """What follows the # of the explorer's address (explorer/src/store.ts)."""
    words = quote(line, safe=":,()>").replace("%20", "+").replace(">", "%3E")
    return "&".join([words, *filter(None, [way]), *(["only=" + ",".join(only)] if only else [])])


def visit(writer: HTML5Translator, node: window) -> None:
    """Write the frame, and a link for whoever wants it whole."""
    up = "../" * writer.builder.current_docname.count("/")
    whole = f"{up}{EXPLORER}#{node['address'].partition('&only=')[0]}"
    line = writer.encode(node["line"])
    writer.body.append(
        f'<figure class="window"><iframe class="explorer" loading="lazy" '
        f'src="{up}{EXPLORER}#{node["address"]}" style="height:{node["height"]}px" '
        f'title="Explorer: {writer.attval(node["line"])}"></iframe><figcaption>'
        f'<code>{line}</code> <a href="{whole}">Open it whole</a></figcaption></figure>\n'
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the block."""
    app.add_node(window, html=(visit, None))
    app.add_directive("explorer", Window)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
