"""``faltung nets``: the networks that come with Faltung, their papers, their parameters."""

import argparse
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faltung.nets.table import Row

HELP = """\
examples:
  faltung nets
  faltung nets googlenet
  faltung summary googlenet --input 1x8x8 --classes 10
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``nets``."""
    parser.epilog = HELP
    parser.add_argument(
        "net", nargs="?", metavar="NET", help="describe one network and its options"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or one row of it."""
    from faltung.nets.table import NETS, row

    chosen = NETS if arguments.net is None else {arguments.net: row(arguments.net)}
    if arguments.json:
        print(json.dumps({name: _facts(row) for name, row in chosen.items()}, indent=2))
    elif arguments.net is None:
        print("\n".join(_table(NETS)))
    else:
        print("\n".join(_page(arguments.net, chosen[arguments.net])))
    return 0


def _facts(row: "Row") -> dict[str, Any]:
    """A row for JSON. options: what a network takes, and the defaults."""
    return {
        "title": row.title,
        "authors": row.authors,
        "year": row.year,
        "kind": row.kind,
        "input_shape": list(row.input_shape),
        "classes": row.classes,
        "parameters": row.parameters,
        "parameters_with": dict(row.options),
        "options": row.arguments(),
    }


def _table(rows: dict[str, "Row"]) -> Iterator[str]:
    """A line for each network, and one for each paper, of at most 80 columns."""
    yield f"{'net':<16} {'kind':<8} {'input':<12} {'classes':>7} {'parameters':>12}"
    for _, group in groupby(rows.items(), lambda item: item[1].title):
        papers = list(group)
        for name, row in papers:
            size = "x".join(map(str, row.input_shape))
            yield f"{name:<16} {row.kind:<8} {size:<12} {row.classes:>7} {row.parameters:>12,}"
        row = papers[0][1]
        authors = row.authors.split(", ")
        by = " and ".join(authors) if len(authors) <= 2 else f"{authors[0]} et al."
        said = f"{by} {row.year}: {row.title}"
        yield textwrap.indent(textwrap.shorten(said, 76, placeholder="..."), "    ")
    yield ""
    yield "Inputs and classes are those of the papers; every network takes others too."


def _page(name: str, row: "Row") -> Iterator[str]:
    """What is known of one network, and its own documentation."""
    yield from textwrap.wrap(f"{name}: {row.title}", 80)
    yield from textwrap.wrap(f"{row.authors}, {row.year}", 80)
    yield ""
    size = "x".join(map(str, row.input_shape))
    yield f"  {row.kind}, input {size}, {row.classes} classes: {row.parameters:,} parameters"
    if row.options:
        said = ", ".join(f"{key}={value}" for key, value in row.options.items())
        yield f"  with {said}"
    yield ""
    text, described = _documentation(row)
    for part in text.split("\n\n"):
        yield from textwrap.wrap(" ".join(part.split()), 80)
        yield ""
    yield "options (--set OPTION=VALUE), their defaults, and what they mean"
    arguments = {key: str(value) for key, value in row.arguments().items()}
    names, values = max(map(len, arguments)), max(map(len, arguments.values()))
    for key, value in arguments.items():
        first, *others = textwrap.wrap(described[key], 80 - names - values - 6)
        yield f"  {key:<{names}}  {value:<{values}}  {first}"
        yield from (" " * (names + values + 6) + line for line in others)


def _documentation(row: "Row") -> tuple[str, dict[str, str]]:
    """The prose of a function's docstring, and what it says of each parameter."""
    from faltung.nets import small_inputs

    text = inspect.cleandoc(row.function.__doc__ or "").replace("``", "")
    prose, _, rest = text.partition("\n\nParameters\n----------\n")
    if "halvings" in row.arguments():
        prose += "\n\n" + (small_inputs.__doc__ or "").partition("\n\n")[2].replace("**", "")
    described = {}
    for entry in re.split(r"\n(?=\S)", rest.partition("\n\n")[0]):
        name, _, said = entry.partition("\n")
        words = " ".join(said.split())
        described[name.partition(" : ")[0]] = words.replace(" (nets/small_inputs.py)", "")
    return prose, described
