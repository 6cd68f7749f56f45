"""``faltung ladder DATA``: the same mapping as matrix, local layer, convolution, and smaller."""

import argparse
import json
from typing import TYPE_CHECKING

from faltung.cli.ending import stopped, when_stopped
from faltung.cli.line import line
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.compress.ladder import Rung

ARGUMENTS = {"n": "threads"}
HELP = """\
One mapping is learned as a dense matrix, as a locally connected layer and as a
convolution; the convolution is then pruned, quantised and coded. The table and
the picture show what each step takes: parameters, bytes on disk, the bits of
the labels that it was trained on (weights and all), and how many samples that
chose nothing it gets right, with a 95% interval.

examples:
  faltung ladder digits
  faltung ladder digits --out ladder.svg --quick
  faltung ladder ECG200_TRAIN.ts
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``ladder``."""
    parser.epilog = HELP
    parser.add_argument(
        "data", metavar="DATA", help="pictures, series or volumes, as for `faltung train`"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="the picture, a file .svg (default: ladder-DATA.svg)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument(
        "--quick", action="store_true", help="leave out the code that sends no weights"
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="of each training (default: by size)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--threads", type=int, metavar="N", help="number of threads (default: all)")
    parser.add_argument("--strict", action="store_true", help="fail on a file that cannot be read")
    parser.add_argument("--size", type=int, metavar="N", help="resize to N along each axis")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Climb down, and write the picture; 130 after Ctrl-C."""
    from pathlib import Path

    from faltung.compress.ladder import climb_down
    from faltung.compress.ladder_picture import picture
    from faltung.data.names import printable
    from faltung.data.open import open_source
    from faltung.formats.files import write_whole
    from faltung.geometry.check import whole
    from faltung.train.defaults import HELD_OUT
    from faltung.train.run_dataset import OWN, parts

    seed = whole("seed", arguments.seed, 0)
    epochs = None if arguments.epochs is None else whole("epochs", arguments.epochs, 1)
    if arguments.threads is not None:
        from faltung.runtime.threads import set_threads

        set_threads(arguments.threads)
    name = Path(arguments.data).stem or "data"
    path = Path(f"ladder-{name}.svg" if arguments.out is None else arguments.out)
    if path.suffix.lower() != ".svg":
        raise FaltungError(f"out={arguments.out!r}: must end in .svg")
    if path.exists() and not arguments.force:
        raise FileExistsError(f"{path}: already exists; --force overwrites it")
    source = open_source(arguments.data, strict=arguments.strict, size=arguments.size)
    own = getattr(source, "held", None) is not None
    train, held = parts(source, OWN if own else HELD_OUT, seed)
    assert held is not None
    if not arguments.json:
        print(_HEAD, flush=True)
    when_stopped(lambda: "stopped; nothing was written")
    try:
        found = climb_down(
            train,
            held,
            seed=seed,
            epochs=epochs,
            quick=arguments.quick,
            noted=(lambda rung: None) if arguments.json else _show,
        )
    except KeyboardInterrupt:
        return stopped()
    title = f"How small can it be? {printable(name)}"
    write_whole(path, picture(found, title).encode())
    if arguments.json:
        print(json.dumps(found.as_dict() | {"picture": str(path)}, indent=2))
        return 0
    print(f"\nwithout a network the labels take {found.plain:,.0f} bits")
    print(f"{line(path)}: the picture")
    return 0


_HEAD = (
    f"{'':<14}{'parameters':>12}{'bytes':>12}{'bits, with labels':>20}{'one by one':>12}"
    f"{'accuracy':>10}  95%"
)


def _show(rung: "Rung") -> None:
    """Two lines: what it takes, and its formula."""
    if rung.bytes is None or rung.accuracy is None:
        print(f"{rung.name:<14}{rung.parameters:>12,}  {rung.says}")
    else:
        told = "" if rung.one_by_one is None else f"{rung.one_by_one:,.0f}"
        print(
            f"{rung.name:<14}{rung.parameters:>12,}{rung.bytes:>12,}{rung.two_parts:>20,.0f}"
            f"{told:>12}{rung.accuracy:>10.2%}  {rung.low:.2%} to {rung.high:.2%}"
        )
    print(line(f"  {rung.formula} = {rung.sum}: {rung.says}"), flush=True)
