"""``faltung bits RUN [DATA]``: what a trained network is worth in bits."""

import argparse
import json
from typing import TYPE_CHECKING

from faltung.cli.ending import stopped, when_stopped
from faltung.cli.line import line
from faltung.cli.options import RUN, add_reading, check_reading
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.compress.bits import Code, Worth
    from faltung.compress.prequential import Block, Prequential
    from faltung.data.source import Source
    from faltung.train.opened import Opened

ARGUMENTS = {"n": "threads"}
HELP = """\
How many bits it takes to tell the labels of samples to somebody who has the
samples:

  plain             log2 of the number of classes, each
  frequencies       by how often each class has occurred so far
  two parts         the network's weights, as a coded file has them, then the
                    labels as the network expects them
  one by one        no weights: sender and receiver train the same network on
                    the labels told so far, and pay for the next, in blocks
                    that double (the prequential code)

What is shorter than the plain code was learned, not learned by heart.

The samples are those that RUN was trained on, or DATA. The last row trains,
about as long as two trainings; stopped or killed, the same command goes on.
What is finished is kept in RUN/bits; --out names another folder.

examples:
  faltung bits runs/digits-lenet5-001
  faltung bits runs/digits-lenet5-001 --quick --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bits``."""
    parser.epilog = HELP
    parser.add_argument("run_folder", metavar="RUN", help=RUN)
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="data with labels, as for `faltung train` (default: what the run was trained on)",
    )
    parser.add_argument("--quick", action="store_true", help="train nothing: leave out one by one")
    parser.add_argument(
        "--out", metavar="FOLDER", help="where finished blocks are kept (default: RUN/bits)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="number of threads (default: all)")
    add_reading(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the code lengths; 130 after Ctrl-C."""
    from pathlib import Path

    from faltung.compress.bits import check_labels, worth
    from faltung.compress.prequential import FOLDER, prequential
    from faltung.train.interrupts import Stopped
    from faltung.train.opened import opened

    if arguments.threads is not None:
        from faltung.runtime.threads import set_threads

        set_threads(arguments.threads)
    if arguments.quick and arguments.out is not None:
        raise FaltungError(f"out={arguments.out!r}: is for blocks, which --quick leaves out")
    of = opened(arguments.run_folder)
    model, place = of.model, of.file.parent
    check_labels(model)
    source, held = _samples(arguments, of)
    found = worth(model, source, of.file, held)
    if not arguments.json:
        print("\n".join(_table(found)), flush=True)
    told = None
    if not arguments.quick:
        place = place / FOLDER if arguments.out is None else Path(arguments.out)
        settings = of.settings()
        when_stopped(lambda: "stopped; the same command goes on")
        try:
            told = prequential(
                model,
                settings,
                source,
                place,
                noted=(lambda block: None) if arguments.json else _show_block,
            )
        except (Stopped, KeyboardInterrupt):
            return stopped()
    if arguments.json:
        more = {} if told is None else {"prequential": told.as_dict()}
        print(json.dumps(found.as_dict() | more, indent=2))
    elif told is not None:
        print("\n".join(_end(found, told)))
    return 0


def _samples(arguments: argparse.Namespace, of: "Opened") -> tuple["Source", "Source | None"]:
    """The samples whose labels are told, and those that the run has held out of its own."""
    from faltung.data.names import printable
    from faltung.data.source import in_units
    from faltung.train.run_dataset import described, like, open_like, parts, reopened
    from faltung.train.vocabulary import check_tokens_known

    model = of.model
    if arguments.data is not None:
        source = open_like(
            arguments.data,
            like(model, of.folder),
            model.classes,
            strict=arguments.strict,
            x=arguments.x,
            y=arguments.y,
            label=arguments.label,
            targets="labels",
        )
        if model.tokens:
            check_tokens_known(source, model.graph, printable(arguments.data))
        return in_units(source, model.units), None
    check_reading(arguments)
    folder = of.run("holds the samples whose labels are told")
    about, source = reopened(folder)
    if described(source)["digest"] != about["digest"]:
        raise FaltungError(f"{folder.path}: its data have changed; give the data to tell")
    train, held = parts(source, about["held_out"], of.settings().seed)
    return in_units(train, model.units), None if held is None else in_units(held, model.units)


def _row(name: str, code: "Code") -> str:
    return f"{name:<26}{code.bits:>14,.0f}{code.each:>10.3f}"


def _table(found: "Worth") -> list[str]:
    from faltung.compress.bits import Code

    many = found.plain.labels
    made = [
        line(f"{many:,} labels of {found.classes} classes"),
        "",
        f"{'':<26}{'bits':>14}{'a label':>10}",
        _row("plain", found.plain),
        _row("frequencies", found.frequencies),
        _row("two parts", found.two_parts),
        _row("  weights, coded", Code(found.weights, many)),
        _row("  labels given the network", found.given),
    ]
    if found.kept > found.weights:
        made.append(f"(the weights take {found.kept:,.0f} bits in the file of the run)")
    if found.held is not None:
        held = found.held
        made.append(f"(held-out labels, {held.labels:,}, given the network: {held.each:.3f} each)")
    return made


def _show_block(block: "Block") -> None:
    each = block.bits / block.labels
    which = "network" if block.network is not None and block.network < block.frequencies else ""
    print(
        f"  samples {block.start + 1:,} to {block.end:,}: {block.bits:,.0f} bits, {each:.3f} a "
        f"label, by {which or 'frequencies'}",
        flush=True,
    )


def _end(found: "Worth", told: "Prequential") -> list[str]:
    share = told.code.bits / found.plain.bits
    if share < 1:
        said = f"One by one the labels take {share:.1%} of their plain code: something was learned."
    else:
        said = "One by one the labels take no less than plain: nothing was learned that holds."
    return [_row("one by one", told.code), "", said]
