"""``faltung train DATA --net NAME``: train a network, and keep the run in a folder."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from faltung.cli.ending import stopped, when_stopped
from faltung.cli.line import line
from faltung.cli.options import options
from faltung.cli.train_options import AUGMENT, SETTINGS, TAUGHT, WATCHED, configure
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.train.session import Session

__all__ = ["ARGUMENTS", "configure", "run"]

# Arguments of functions that have another name here.
ARGUMENTS = {"fraction": "held_out", "n": "threads"}
# What may be given with --resume: nothing that the weights depend on but the length of the run.
_UNCHANGED = ("command", "resume", "threads", "epochs", *WATCHED)
SHOWN_SKIPPED = 20  # skipped files that are listed


def run(arguments: argparse.Namespace) -> int:
    """Train; 130 after Ctrl-C."""
    _check(arguments)
    if arguments.threads is not None:
        from faltung.runtime.threads import set_threads

        set_threads(arguments.threads)
    return _trained(_session(arguments))


def _trained(session: "Session") -> int:
    """Train a run that is ready, and print the result."""
    from faltung.data.words import in_words
    from faltung.train.interrupts import Stopped

    when_stopped(lambda: _stopped(session))
    try:
        _print_skipped(session.source.skipped)
        print(in_words(session.source, own=session.own))
        session.run()
        metrics = session.finish()
    except (Stopped, KeyboardInterrupt):
        return stopped()
    except (OSError, MemoryError) as error:
        if again := _resume(session):
            error.add_note(f"To resume from the last checkpoint: {again}")
        raise
    print(_summary(session, metrics))
    print(f"report: {_quoted(session.folder.report)}")
    return 0


def _stopped(session: "Session") -> str:
    """What Ctrl-C says."""
    again = _resume(session)
    return f"stopped. To resume: {again}" if again else "stopped before the first checkpoint"


def _resume(session: "Session") -> str | None:
    """How to go on from the last checkpoint; None before there is one."""
    folder = session.folder
    return f"faltung train --resume {_quoted(folder.path)}" if folder.has_checkpoint() else None


def _check(arguments: argparse.Namespace) -> None:
    """ValueError: neither data nor a run, or a run with options that may not be changed."""
    called = {"data": "DATA", "start": "--from"}
    given = [
        called.get(name, f"--{name.replace('_', '-')}")
        for name, value in vars(arguments).items()
        if value is not None and name not in _UNCHANGED
    ]
    if arguments.resume is None and arguments.data is None:
        raise FaltungError("give DATA or --resume RUN")
    if arguments.resume is not None and given:
        raise FaltungError(
            f"--resume continues a run unchanged: leave out {', '.join(given)} (only --epochs, "
            f"--threads and {', '.join('--' + name for name in WATCHED)} may be given)"
        )


def _session(arguments: argparse.Namespace) -> "Session":
    from faltung.train import session

    if arguments.resume is not None:
        return session.resume(arguments.resume, arguments.epochs, _given(arguments, WATCHED))
    reading = _given(arguments, ["channels", "frames", "kind", "label", "strict", "x", "y"])
    if arguments.size is not None:
        reading["size"] = _size(arguments.size)
    settings = _given(arguments, [*SETTINGS, *AUGMENT, "freeze"])
    if arguments.class_weight is not None:
        settings["class_weight"] = _class_weight(arguments.class_weight)
    return session.create(
        arguments.data,
        net=arguments.net,
        options=options(arguments.set or []),
        settings=settings,
        reading=reading,
        held_out=arguments.held_out,
        val=arguments.val,
        start=arguments.start,
        out=arguments.out,
        watch=_given(arguments, WATCHED),
        **_given(arguments, ["teacher", *TAUGHT]),
    )


def _given(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _size(text: str) -> int | list[int]:
    parts = text.split("x")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise FaltungError(f"size={text!r}: must be a number or one for each axis, as 64x64")
    numbers = [int(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else numbers


def _class_weight(text: str) -> str | list[float] | dict[str, float]:
    """ "balanced", numbers, or some by label. ValueError: none of these."""
    if text == "balanced":
        return text
    try:
        if "=" in text:
            pairs = [part.rpartition("=") for part in text.split(",")]
            return {label: float(weight) for label, _, weight in pairs}
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise FaltungError(
            f"--class-weight={text}: must be balanced, a number for each class, as 1,2.5,1, or "
            "for some, as cat=2,dog=1.5"
        ) from None


def _print_skipped(lines: tuple[str, ...]) -> None:
    for each in lines[:SHOWN_SKIPPED]:
        print(f"skipped {each}")
    if len(lines) > SHOWN_SKIPPED:
        print(f"... and {len(lines) - SHOWN_SKIPPED} more")
    if lines:
        print(f"{len(lines)} skipped")


def _summary(session: "Session", metrics: dict[str, float]) -> str:
    """The result on one line."""
    shown = dict(metrics)
    loss = shown.pop("loss")
    parts = [f"{shown.pop('accuracy'):.2%}"] if "accuracy" in shown else []
    parts = [f"accuracy {part}" for part in parts] + [f"loss {loss:.4f}"]
    parts = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in shown.items()] + parts
    if session.held is None:
        epoch = session.loop.history[-1].epoch
        what = f"weights of epoch {epoch}, the last (nothing held out)"
        return f"{what}; in training: {', '.join(parts)}"
    return f"best weights on {len(session.held):,} held-out samples: {', '.join(parts)}"


def _quoted(path: object) -> str:
    """A path quoted for a shell, on one line of printable characters."""
    import shlex

    return line(shlex.quote(str(path)))
