"""The contents of the site are the lists on its pages.

After ``<!-- contents -->``, every link that opens an item of a list or a row of a table puts its
page below this page. So a list for readers on the code host is also the menu of the site, and no
page says anything twice. On the home page each section is a part of the menu, under its heading.
``<!-- contents: course/* -->`` adds the pages of a pattern that the lists do not name.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from html import escape
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

MARK = re.compile(r"<!-- contents(?:: *(\S+))? -->\s*")


def opening(parent: nodes.Node) -> Iterator[tuple[str, str]]:
    """Text and page of each link that opens an item of a list or a row of a table."""
    for link in parent.findall(addnodes.pending_xref):
        line = link.parent
        first = isinstance(line, nodes.paragraph) and line.children[0] is link
        item = line.parent
        if not first or item.index(line) != 0 or link.get("reftargetid"):
            continue
        if isinstance(item, (nodes.list_item, nodes.entry)):
            yield link.astext().replace("\n", " "), link["reftarget"]


def cards(document: nodes.document) -> None:
    """What follows a link and a colon begins as a sentence does: it stands below the link."""
    for link in document.findall(addnodes.pending_xref):
        after = link.next_node(descend=False, siblings=True)
        if isinstance(after, nodes.Text) and after.astext().startswith(": "):
            said = after.astext().removeprefix(": ")
            link.parent.replace(after, nodes.Text(said[:1].upper() + said[1:]))


class Contents(SphinxTransform):
    """The menu out of the lists."""

    default_priority = 210

    def apply(self, **_: Any) -> None:
        """Add a hidden table of contents to each section that has links to pages."""
        marks = []
        for raw in list(self.document.findall(nodes.raw)):
            if found := MARK.fullmatch(raw.astext()):
                marks.append(found[1])
                raw.parent.remove(raw)
        if not marks:
            return
        home = self.env.docname == self.config.root_doc
        if home:
            cards(self.document)
        taken: set[str] = {self.env.docname}
        whole = next(self.document.findall(nodes.section))
        sections = [whole]
        if home:
            sections = [each for each in whole if isinstance(each, nodes.section)]
        for section in sections:
            pages = {page: text for text, page in opening(section) if page not in taken}
            taken |= set(pages)
            if pages:
                self.add(section, pages, section[0].astext() if home else None)
        for mark in marks:
            if mark and sections:
                found = sorted(self.env.found_docs)
                rest = [page for page in found if fnmatch(page, mark) and page not in taken]
                self.add(sections[0], dict.fromkeys(rest), None)

    def add(self, section: nodes.Element, pages: dict[str, Any], caption: str | None) -> None:
        """A hidden ``toctree`` with these pages, each under its text or, without one, its title."""
        made = addnodes.toctree(
            parent=self.env.docname,
            entries=[(text, page) for page, text in pages.items()],
            includefiles=list(pages),
            maxdepth=-1,
            caption=caption,
            rawcaption=caption,
            glob=False,
            hidden=True,
            includehidden=False,
            numbered=0,
            titlesonly=True,
        )
        section += nodes.compound("", made, classes=["toctree-wrapper"])


def note(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the contents of each page at hand."""
    kept = app.env.__dict__.setdefault("contents", {})
    found = [(each["caption"], each["entries"]) for each in doctree.findall(addnodes.toctree)]
    kept[app.env.docname] = found


def menu(app: Sphinx, page: str, given: str, context: dict[str, Any], doctree: Any) -> None:
    """The menu as the theme asks for it.

    What Sphinx makes has every heading of every page in it before it leaves them out, for each
    page anew: a quarter of the time of a build.
    """
    if "toctree" not in context:
        return
    env, link = app.env, app.builder.get_relative_uri
    kept: dict[str, list[Any]] = env.contents  # type: ignore[attr-defined]

    def below(name: str) -> list[tuple[str | None, str]]:
        return [entry for _, entries in kept.get(name, ()) for entry in entries]

    def leads(name: str) -> bool:
        return name == page or any(leads(each) for _, each in below(name))

    def items(entries: list[tuple[str | None, str]], level: int) -> str:
        parts = []
        for text, name in entries:
            here = "current " if leads(name) else ""
            target = "#" if name == page else link(page, name)
            title = escape(text or env.titles[name].astext())
            parts.append(f'<li class="{here}toctree-l{level}">')
            parts.append(f'<a class="{here}reference internal" href="{target}">{title}</a>')
            parts.append(items(below(name), level + 1) + "</li>")
        return f"<ul>{''.join(parts)}</ul>" if parts else ""

    def toctree(**_: Any) -> str:
        return "".join(
            f'<p class="caption" role="heading" aria-level="2"><span class="caption-text">'
            f"{escape(caption or '')}</span></p>{items(entries, 1)}"
            for caption, entries in kept[app.config.root_doc]
            if entries
        )

    context["toctree"] = toctree


def setup(app: Sphinx) -> dict[str, bool]:
    """As Sphinx calls it."""
    app.add_transform(Contents)
    app.connect("doctree-read", note)
    app.connect("html-page-context", menu, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
