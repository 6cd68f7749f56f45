"""`faltung train DATA --net NAME`: train a network, show how it goes, leave a folder behind."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from faltung.cli.errors import MISTAKES, refuse

if TYPE_CHECKING:
    from faltung.train.session import Session

HELP = """\
DATA is one of
  digits              1,797 real handwritten digits, which come with faltung
  a folder            of pictures, or of NIfTI volumes, a class a folder
  a .npz file         with x and y
  IDX files           as MNIST has them (a folder, or the file of images)
  a .csv, .tsv file   a series a line, its label first

examples:
  faltung train digits
  faltung train digits --net inception --epochs 40 --set width=0.5
  faltung train pictures/ --size 64 --net resnet18 --batch 64 --flip --crop 4
  faltung train --resume runs/digits-lenet5-001
"""
# Arguments that are fields of `Settings`, and of `Augment`: name -> type, help.
SETTINGS: dict[str, tuple[type, str]] = {
    "epochs": (int, "passes over the training part (20)"),
    "batch": (int, "samples a step (32)"),
    "optimizer": (str, "adamw (the default) or sgd"),
    "lr": (float, "the highest learning rate (adamw 0.003, sgd 0.05)"),
    "momentum": (float, "of sgd (0.9)"),
    "decay": (float, "weight decay (0.0001)"),
    "clip": (float, "the largest norm of all gradients together"),
    "schedule": (str, "one_cycle (the default), cosine or constant"),
    "warmup": (float, "part of the run in which the rate grows (0)"),
    "loss": (str, "cross_entropy (the default) or mse"),
    "smoothing": (float, "of the labels, 0 to 1 (0)"),
    "patience": (int, "stop after so many epochs without a better validation"),
    "seed": (int, "of weights, order, augmentation and split (0)"),
}
AUGMENT: dict[str, tuple[type, str]] = {
    "shift": (int, "pixels by which pictures are shifted"),
    "flip": (bool, "pictures are mirrored, left and right"),
    "crop": (int, "pixels of zeros around, then a window of the old size"),
    "cutout": (int, "side of a square that is blanked"),
    "jitter": (float, "noise on series, in standard deviations"),
    "series_shift": (int, "steps by which series are shifted"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `train`."""
    parser.epilog = HELP
    parser.add_argument("data", nargs="?", metavar="DATA", help="what to train on, see below")
    parser.add_argument("--net", metavar="NAME", help="the network; `faltung nets` lists them")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of the network, e.g. width=0.5; may be given several times",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where the run goes (runs/DATA-NET-001)")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run; nothing else is needed")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (one a core)")
    group = parser.add_argument_group("training")
    for name, (kind, text) in SETTINGS.items():
        group.add_argument(f"--{name}", type=kind, metavar=_metavar(kind), help=text)
    group.add_argument("--nesterov", action="store_true", default=None, help="of sgd")
    group = parser.add_argument_group("data")
    group.add_argument(
        "--held-out", type=float, default=0.2, metavar="PART", help="held out to judge by (0.2)"
    )
    group.add_argument("--size", metavar="64x64", help="bring pictures or volumes to this size")
    group.add_argument("--channels", type=int, metavar="N", help="1 for grey, 3 for colour")
    group.add_argument("--kind", help="what the samples are: picture, series, volume, text, table")
    group.add_argument(
        "--strict", action="store_true", help="a file that cannot be read is an error"
    )
    group = parser.add_argument_group("augmentation")
    for name, (kind, text) in AUGMENT.items():
        option = "--" + name.replace("_", "-")
        if kind is bool:
            group.add_argument(option, action="store_true", default=None, help=text)
        else:
            group.add_argument(option, type=kind, metavar=_metavar(kind), help=text)


def run(arguments: argparse.Namespace) -> int:
    """Train; 2, and one line on stderr, where something is wrong; 130 after Ctrl-C."""
    from faltung.train.loop import Stopped

    if (arguments.data is None) == (arguments.resume is None):
        print("faltung train: give DATA, or --resume RUN", file=sys.stderr)
        return 2
    try:
        if arguments.threads is not None:
            from faltung.runtime.threads import set_threads

            set_threads(arguments.threads)
        session = _session(arguments)
        path = session.folder.path
        for line in session.source.skipped:
            print(f"skipped {line}")
        if session.source.skipped:
            print(f"{len(session.source.skipped)} skipped")
        try:
            session.run()
        except (Stopped, KeyboardInterrupt):
            print(f"\nstopped. To go on: faltung train --resume {_quoted(path)}", file=sys.stderr)
            return 130
        metrics = session.finish()
    except MISTAKES as error:
        return refuse("train", error)
    print(_summary(metrics, len(session.held)))
    print(f"report: {session.folder.report}")
    return 0


def _session(arguments: argparse.Namespace) -> "Session":
    from faltung.data.augment import Augment
    from faltung.train import session
    from faltung.train.settings import Settings

    if arguments.resume is not None:
        return session.resume(arguments.resume)
    given = _given(arguments, [*SETTINGS, "nesterov"])
    settings = Settings(**given, augment=Augment(**_given(arguments, AUGMENT)))
    reading = _given(arguments, ["channels", "kind"]) | {"strict": arguments.strict}
    if arguments.size is not None:
        reading["size"] = _size(arguments.size)
    return session.create(
        arguments.data,
        net=arguments.net,
        options=dict(map(_option, arguments.set)),
        settings=settings,
        reading=reading,
        held_out=arguments.held_out,
        out=arguments.out,
    )


def _given(arguments: argparse.Namespace, names: Any) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _size(text: str) -> int | list[int]:
    parts = text.split("x")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"size={text!r}: must be a number or one for each axis, as 64x64")
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else numbers


def _option(text: str) -> tuple[str, Any]:
    """OPTION=VALUE, the value as Python reads it, or as text."""
    import ast

    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise ValueError(f"set={text!r}: must be OPTION=VALUE")
    try:
        return name, ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
    except (ValueError, SyntaxError):
        return name, value


def _metavar(kind: type) -> str:
    return {int: "N", float: "X", str: "NAME"}[kind]


def _summary(metrics: dict[str, float], count: int) -> str:
    """The result on one line."""
    parts = [f"loss {metrics['loss']:.4f}"]
    if "accuracy" in metrics:
        parts.insert(0, f"accuracy {metrics['accuracy']:.2%}")
    return f"best weights on {count:,} held-out samples: {', '.join(parts)}"


def _quoted(path: object) -> str:
    import shlex

    return shlex.quote(str(path))
