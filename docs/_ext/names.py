"""The reference of public names, and links to it wherever a page has such a name in backticks.

``{names} faltung.nn`` with names below it writes a table of them and, below that, the docstring of
each. In a text, ``nn.Conv`` or ``faltung.conv2d`` between backticks is then a link to it.
"""

import importlib
import inspect
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

NAME = re.compile(r"(?:faltung\.)?((?:\w+\.)*\w+)(?:\(\))?")


def kind(found: Any) -> str:
    """The directive of autodoc that documents this."""
    if inspect.ismodule(found):
        return "automodule"
    if isinstance(found, type):
        return "autoexception" if issubclass(found, BaseException) else "autoclass"
    return "autofunction" if inspect.isroutine(found) or callable(found) else "autodata"


# What data is, which has no docstring.
SAID = {"faltung.nets.NETS": "All of them: a dict from the name of a network to its ``Row``."}


def summary(name: str, found: Any) -> str:
    """The first sentence of a docstring, as a cell of a table."""
    text = SAID.get(name) or (inspect.getdoc(found) or "").partition("\n\n")[0].replace("\n", " ")
    return escaped(text).replace("``", "`").replace("|", r"\|")


def entries(place: str, module: Any, names: list[str]) -> str:
    """A table of the names, and below it what autodoc is to write, as a text of MyST."""
    table = ["| name | what it is |", "|---|---|"] if len(names) > 1 else []
    lines = [f".. currentmodule:: {place}"]
    for name in names:
        found = getattr(module, name)
        if len(names) > 1:
            table.append(
                f"| {{py:obj}}`{name} <{place}.{name}>` | {summary(f'{place}.{name}', found)} |"
            )
        lines += ["", f".. {kind(found)}:: {place}.{name}"]
        if isinstance(found, type) and not issubclass(found, BaseException):
            lines += ["   :members:"]
        if kind(found) == "autodata":
            lines += ["   :no-value:", "", f"   {SAID[f'{place}.{name}']}"]
    fence = "`" * 5
    return "\n".join([*table, "", fence + "{eval-rst}", *lines, fence])


class Names(SphinxDirective):
    """Names of one module: a table, and the docstring of each."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """A table of Markdown, and the entries by autodoc."""
        place = self.arguments[0]
        names = " ".join(self.content).split()
        try:
            text = entries(place, importlib.import_module(place), names)
        except ModuleNotFoundError as error:
            text = f"*Left out here, because {error.name} is missing where the site was built.*"
        return self.parse_text_to_nodes(text)


# Our docstrings have code between double backticks and no other markup within a line.
CODE = re.compile(r"(``.*?``)")
MARKUP = re.compile(r"(?<![\\*])(\*{1,2})(?=\w)|(?<=\w)(_)(?![\w.])")


def escaped(line: str) -> str:
    """A line of a docstring with its stars and underscores as they are."""
    parts = CODE.split(line)
    return "".join(p if p.startswith("``") else MARKUP.sub(escape, p) for p in parts)


def escape(found: re.Match[str]) -> str:
    return "".join("\\" + each for each in found[0])


def docstring(
    app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]
) -> None:
    """Before numpydoc reads it: no character is markup by accident."""
    example = False
    for i, line in enumerate(lines):
        example = line.lstrip().startswith((">>>", "...")) or (example and bool(line.strip()))
        if example or line.lstrip().startswith(".. ") or "]_" in line:
            continue
        heading = not line.startswith(" ") and " : " in line  # numpydoc reads the names before it
        head, between, rest = line.partition(" : ") if heading else ("", "", line)
        lines[i] = head + between + escaped(rest)


def signature(
    app: Sphinx,
    what: str,
    name: str,
    found: Any,
    options: Any,
    text: str | None,
    returned: str | None,
) -> tuple[str | None, str | None] | None:
    """Defaults in few words: the name of a class, ``...`` for what is made anew."""
    if text is None:
        return None
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    return text.replace("<factory>", "..."), returned


# Classes all of whose methods are for their users, however short their docstrings are.
WHOLE = {"InferenceSession", "OnnxModel", "Source", "Stream"}


def ours(app: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a class has from elsewhere, and methods for the rest of the package: their
    docstrings have no sections (CONTRIBUTING.md).
    """
    if (getattr(found, "__module__", None) or "faltung").split(".")[0] != "faltung":
        return True
    found = getattr(found, "__func__", found)  # of a class method
    if not inspect.isfunction(found) or found.__qualname__.split(".")[0] in WHOLE:
        return None
    return None if re.search(r"^ *---", found.__doc__ or "", re.MULTILINE) else True


class Linked(SphinxPostTransform):
    """Code spans that are public names lead to their documentation."""

    default_priority = 5

    def run(self, **_: Any) -> None:
        """Wrap them in links."""
        domain = self.env.domains["py"]
        known = domain.objects  # type: ignore[attr-defined]
        builder, here = self.app.builder, self.env.docname
        for found in list(self.document.findall(nodes.literal)):
            parent = found.parent
            match = NAME.fullmatch(found.astext())
            inside = (nodes.reference, nodes.title, addnodes.desc_signature)
            if match is None or isinstance(parent, inside):
                continue
            full = f"faltung.{match[1]}"
            if full not in known or known[full].docname == here or len(match[1]) < 4:
                continue
            if "." not in found.astext() and not plain(found.astext()):
                continue
            entry = known[full]
            link = builder.get_relative_uri(here, entry.docname) + f"#{entry.node_id}"
            wrapped = nodes.reference("", "", refuri=link, internal=True, classes=["name"])
            found.replace_self(wrapped)
            wrapped += found


def plain(text: str) -> bool:
    """Whether a name without a dot can only be ours: ``conv2d`` and ``Conv``, not ``data``."""
    return bool(re.search(r"[A-Z_0-9]|\(\)", text))


def setup(app: Sphinx) -> dict[str, bool]:
    """As Sphinx calls it."""
    app.add_directive("names", Names)
    app.add_post_transform(Linked)
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", ours)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
