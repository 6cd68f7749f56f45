"""``faltung compare RUN RUN``: two runs or more side by side, and what they disagree about."""

import argparse
from typing import TYPE_CHECKING, Any

from faltung.cli.line import line

if TYPE_CHECKING:
    from faltung.train.compared import Compared


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``compare``."""
    parser.epilog = """\
The table has the settings that differ, then what came of them. Where two runs
have held out the same samples, both answer these, and it is counted how many
only one of them gets right: by McNemar's exact test, how likely so large a
difference is by chance where both are equally good.

examples:
  faltung compare runs/pictures-convnet-001 runs/pictures-resnet18-001
  faltung compare runs/pictures-* --html compared.html
"""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs, two or more")
    parser.add_argument(
        "--html", metavar="PAGE", help="also write a page with the learning curves on each other"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the page if it is there already"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from faltung.train.compared import compared, page

    found = compared(arguments.runs)
    for row in _rows(found):
        print(row)
    for said in found.said:
        print(line(said))
    if arguments.html is not None:
        from faltung.formats.files import write_whole

        text = page(found).encode("utf-8", "replace")
        write_whole(arguments.html, text, new=not arguments.overwrite)
        print(line(arguments.html))
    return 0


def _rows(found: "Compared") -> list[str]:
    """The table, in columns as wide as their widest cell."""
    table: list[list[Any]] = [["", *found.names], *([name, *cells] for name, cells in found.rows)]
    cells = [[line(cell) if cell else "" for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
