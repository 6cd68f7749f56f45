"""`faltung train DATA --net NAME`: train a network, show how it goes, leave a folder behind."""

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from faltung.cli.errors import MISTAKES, line, refuse
from faltung.cli.options import options
from faltung.train.presets import PRESETS, words

if TYPE_CHECKING:
    from faltung.train.session import Session

HELP = """\
DATA is one of
  digits              1,797 real handwritten digits, which come with faltung
  a folder            of pictures, or of NIfTI volumes, a class a folder
  a .npz file         with x, and y: labels, numbers, or maps of labels
  IDX files           as MNIST has them (a folder, or the file of images)
  a .csv, .tsv file   a series a line, its label first

Known data have settings of their own, over which options win:
{presets}

--resume goes on with a run exactly as it began: the same bits as without the
stop. So nothing may be changed then but --threads.

examples:
  faltung train digits
  faltung train digits --net inception --set width=0.25 --threads 2
  faltung train pictures/ --size 64 --net resnet18 --batch 64 --flip --crop 4
  faltung train fields.npz --loss mse --net resnet18 --patience 5
  faltung train --resume runs/digits-lenet5-001
"""
# Arguments that are fields of `Settings`, and of `Augment`: name -> type, help.
SETTINGS: dict[str, tuple[type, str]] = {
    "epochs": (int, "passes over the training part (20)"),
    "batch": (int, "samples a step (32)"),
    "optimizer": (str, "adamw (the default) or sgd"),
    "lr": (float, "the highest learning rate (adamw 0.003, sgd 0.05)"),
    "momentum": (float, "of sgd (0.9)"),
    "nesterov": (bool, "of sgd"),
    "decay": (float, "weight decay (0.0001)"),
    "clip": (float, "the largest norm of all gradients together"),
    "schedule": (str, "one_cycle (the default), cosine or constant"),
    "warmup": (float, "part of the run in which the rate grows (0)"),
    "loss": (str, "cross_entropy (the default) or mse"),
    "smoothing": (float, "of the labels, 0 to 1 (0)"),
    "patience": (int, "stop after so many epochs without a better validation"),
    "precision": (str, "fast (the default), or strict: convolutions are plain sums"),
    "seed": (int, "of weights, order, augmentation and split (0)"),
}
AUGMENT: dict[str, tuple[type, str]] = {
    "shift": (int, "pixels by which pictures are shifted"),
    "flip": (bool, "pictures are mirrored, left and right"),
    "crop": (int, "pixels of zeros around, then a window of the old size"),
    "cutout": (int, "side of a square that is blanked"),
    "jitter": (float, "noise, in standard deviations of the channel"),
    "series_shift": (int, "steps by which series are shifted"),
    "fill": (str, "what a shift brings in: zero (the default) or edge"),
}
HELD_OUT = 0.2
SKIPPED = 20  # lines of what was skipped


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `train`."""
    rows = [f"  {data}, {net}:\n    {words(data, net)}" for data, net in PRESETS]
    parser.epilog = HELP.format(presets="\n".join(rows))
    parser.add_argument("data", nargs="?", metavar="DATA", help="what to train on, see below")
    parser.add_argument("--net", metavar="NAME", help="the network; `faltung nets` lists them")
    parser.add_argument(
        "--set",
        action="append",
        metavar="OPTION=VALUE",
        help="an option of the network, e.g. width=0.5; may be given several times",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where the run goes (runs/DATA-NET-001)")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run; nothing else is needed")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (one a core)")
    _add(parser.add_argument_group("training"), SETTINGS)
    group = parser.add_argument_group("data")
    group.add_argument(
        "--held-out", type=float, metavar="PART", help=f"held out to judge by ({HELD_OUT})"
    )
    group.add_argument("--size", metavar="64x64", help="bring pictures or volumes to this size")
    group.add_argument("--channels", type=int, metavar="N", help="1 for grey, 3 for colour")
    group.add_argument(
        "--kind", metavar="NAME", help="what samples are: picture, series, volume, text, table"
    )
    group.add_argument(
        "--strict",
        action="store_true",
        default=None,
        help="a file that cannot be read is an error, and not skipped",
    )
    _add(parser.add_argument_group("augmentation"), AUGMENT)


def _add(group: Any, options: dict[str, tuple[type, str]]) -> None:
    for name, (kind, text) in options.items():
        option = "--" + name.replace("_", "-")
        if kind is bool:
            group.add_argument(option, action="store_true", default=None, help=text)
        else:
            metavar = {int: "N", float: "X", str: "NAME"}[kind]
            group.add_argument(option, type=kind, metavar=metavar, help=text)


def run(arguments: argparse.Namespace) -> int:
    """Train; 2, and one line on stderr, where something is wrong; 130 after Ctrl-C."""
    try:
        _check(arguments)
        if arguments.threads is not None:
            from faltung.runtime.threads import set_threads

            set_threads(arguments.threads)
        session = _session(arguments)
    except MISTAKES as error:
        return refuse("train", error)
    return _trained(session)


def _trained(session: "Session") -> int:
    """Train a run that is ready, and say what came of it."""
    from faltung.train.interrupts import Stopped

    again = f"faltung train --resume {_quoted(session.folder.path)}"
    try:
        _print_skipped(session.source.skipped)
        session.run()
        metrics = session.finish()
    except (Stopped, KeyboardInterrupt):
        print(f"\nstopped. To go on: {again}", file=sys.stderr)
        return 130
    except (OSError, MemoryError) as error:
        status = refuse("train", error)
        print(f"To go on from the last checkpoint: {again}", file=sys.stderr)
        return status
    except MISTAKES as error:
        return refuse("train", error)
    print(_summary(metrics, len(session.held)))
    print(f"report: {_quoted(session.folder.report)}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """ValueError: neither data nor a run, or a run with what may not be changed."""
    given = [
        name.replace("_", "-")
        for name, value in vars(arguments).items()
        if value is not None and name not in ("command", "resume", "threads")
    ]
    if arguments.resume is None and arguments.data is None:
        raise ValueError("give DATA, or --resume RUN")
    if arguments.resume is not None and given:
        raise ValueError(
            f"--resume goes on with a run as it began: leave out {', '.join(given)} (--threads may "
            "be given)"
        )


def _session(arguments: argparse.Namespace) -> "Session":
    from faltung.train import session

    if arguments.resume is not None:
        return session.resume(arguments.resume)
    reading = _given(arguments, ["channels", "kind", "strict"])
    if arguments.size is not None:
        reading["size"] = _size(arguments.size)
    return session.create(
        arguments.data,
        net=arguments.net,
        options=options(arguments.set or []),
        settings=_given(arguments, [*SETTINGS, *AUGMENT]),
        reading=reading,
        held_out=HELD_OUT if arguments.held_out is None else arguments.held_out,
        out=arguments.out,
    )


def _given(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _size(text: str) -> int | list[int]:
    parts = text.split("x")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ValueError(f"size={text!r}: must be a number or one for each axis, as 64x64")
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else numbers


def _print_skipped(lines: tuple[str, ...]) -> None:
    for each in lines[:SKIPPED]:
        print(f"skipped {each}")
    if len(lines) > SKIPPED:
        print(f"... and {len(lines) - SKIPPED} more")
    if lines:
        print(f"{len(lines)} skipped")


def _summary(metrics: dict[str, float], count: int) -> str:
    """The result on one line."""
    parts = [f"loss {metrics['loss']:.4f}"]
    if "accuracy" in metrics:
        parts.insert(0, f"accuracy {metrics['accuracy']:.2%}")
    return f"best weights on {count:,} held-out samples: {', '.join(parts)}"


def _quoted(path: object) -> str:
    """A path as a shell takes it, on one line that no terminal obeys."""
    import shlex

    return line(shlex.quote(str(path)))
