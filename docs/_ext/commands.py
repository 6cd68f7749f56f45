"""``{command} train``: the reference of a command, as its own parser knows it.

Nothing is said twice: arguments, options and texts come from the parser that ``faltung`` itself
uses. Each option has an address of its own (``#cmdoption-faltung-train-epochs``).
"""

import argparse

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from faltung.cli.commands import parsers
from faltung.cli.main import COMMANDS

FENCE = "`" * 5


def fenced(directive: str, argument: str = "", text: str = "") -> str:
    """A directive of MyST."""
    return f"{FENCE}{{{directive}}} {argument}\n{text}\n{FENCE}\n"


def written(action: argparse.Action) -> str:
    """An argument as it is typed, without the name of an option."""
    if action.nargs == 0:
        return ""
    name = action.metavar or action.dest.upper()
    several = " ..." if action.nargs in ("+", "*") else ""
    return (name if isinstance(name, str) else " ".join(name)) + several


def said(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help of an argument, with its default in it."""
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith(".") else ".")


def usage(name: str, parser: argparse.ArgumentParser) -> str:
    """How a command is typed, in one line."""
    words = [f"faltung {name}"]
    for action in parser._actions:
        if not action.option_strings:
            optional = action.nargs in ("?", "*")
            words.append(f"[{written(action)}]" if optional else written(action))
    return " ".join([*words, "[OPTIONS]"])


def reference(name: str) -> str:
    """Usage, arguments, options, and what the help says below them, as a text of MyST."""
    _, parser = parsers(COMMANDS, name)
    parts = [parser.description or "", fenced("program", f"faltung {name}")]
    parts.append(fenced("code-block", "none", usage(name, parser)))
    for group in parser._action_groups:
        mine = [
            action
            for action in group._group_actions
            if action.help != argparse.SUPPRESS and action.dest != "help"
        ]
        if mine and group.title not in ("options", "positional arguments"):
            parts.append(f"**{str(group.title).capitalize()}**\n")
        for action in sorted(mine, key=lambda action: bool(action.option_strings)):
            value = written(action)
            heads = [f"{option} {value}".strip() for option in action.option_strings] or [value]
            parts.append(fenced("option", ", ".join(heads), said(parser, action)))
    if parser.epilog:
        parts.append(fenced("code-block", "none", parser.epilog))
    return "\n".join(parts)


class Command(SphinxDirective):
    """The reference of a command."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """What ``reference`` says."""
        return self.parse_text_to_nodes(reference(self.arguments[0]))


class Commands(SphinxDirective):
    """The reference of all commands, each under its heading."""

    def run(self) -> list[nodes.Node]:
        """A section for each row of the table of commands."""
        text = "".join(f"## faltung {name}\n\n{reference(name)}\n" for name in COMMANDS)
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """As Sphinx calls it."""
    app.add_directive("command", Command)
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
