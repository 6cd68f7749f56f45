"""``faltung compress RUN [DATA]``: a smaller network that answers as well, and what it costs."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from faltung.cli.ending import stopped, when_stopped
from faltung.cli.line import line
from faltung.cli.options import RUN, add_reading, check_reading
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.compress.end import End
    from faltung.compress.job import Job

# Arguments of functions that have another name here.
ARGUMENTS = {"n": "threads"}
NONE_FITS = 1  # exit status: nothing keeps the limits
SHOWN_LEFT = 20  # layers that were left as they are
HELP = """\
Walks from the trained network downwards: channels are pruned, with fine-tuning
in between, then numbers become fewer and shorter. Every step is measured on
the compressed network itself. RUN is only read; the folder OUT gets

  compress.html, compress.csv   all steps: bytes, MACs, milliseconds, accuracy
  config.toml, ...              the chosen one, a run for `faltung predict`,
                                evaluate, look, export and train --from
  steps/                        every step, each a run too

The samples are in three parts. RUN was trained on the first, which tunes. Of
what RUN has held out one half chooses, the other chooses nothing and reports.
If DATA are given they report, and all that RUN has held out chooses.

The limits hold together. With --drop the smallest of the networks within them
is chosen, without it the most accurate. Without any, --drop is 0.5.

Stopped or killed, the same command goes on where it was, and so does
--resume OUT; the result has the same bits.

Exit status: 0 chosen, 1 nothing keeps the limits (the nearest is named, and
the table stays).

examples:
  faltung compress runs/digits-lenet5-001
  faltung compress runs/digits-lenet5-001 --bytes 5k
  faltung compress runs/pictures-resnet18-001 test/ --drop 1 --speed 2
  faltung compress --resume runs/digits-lenet5-001-small
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``compress``."""
    from faltung.compress.budget import as_bytes

    parser.epilog = HELP
    parser.add_argument("run_folder", nargs="?", metavar="RUN", help=RUN)
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="data with targets that report, as for `faltung train` (default: a half of what RUN "
        "has held out)",
    )
    parser.add_argument(
        "--drop",
        type=float,
        metavar="POINTS",
        help="lose at most so many percentage points of accuracy, on the samples that choose",
    )
    parser.add_argument(
        "--bytes",
        type=as_bytes,
        metavar="N",
        help="at most so many bytes of weights on disk: 20000, 20k, 1.5M",
    )
    parser.add_argument(
        "--speed", type=float, metavar="X", help="at least X times as fast, by one thread"
    )
    parser.add_argument("--out", metavar="OUT", help="folder of the result (default: RUN-small)")
    parser.add_argument(
        "--resume", metavar="OUT", help="go on with this compression; needs no other argument"
    )
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="of each fine-tuning (default: a sixth of those of the training)",
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="number of threads (default: one per core)"
    )
    add_reading(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Compress; 1 if nothing keeps the limits, 130 after Ctrl-C."""
    _check(arguments)
    if arguments.threads is not None:
        from faltung.runtime.threads import set_threads

        set_threads(arguments.threads)
    job = _job(arguments)
    try:
        return _walked(job, arguments.json)
    finally:
        job.close()


def _check(arguments: argparse.Namespace) -> None:
    """ValueError: neither a run nor a compression, or both, or options for data that are none."""
    called = {"run_folder": "RUN", "data": "DATA"}
    given = [
        called.get(name, f"--{name}")
        for name, value in vars(arguments).items()
        if value not in (None, False) and name not in ("command", "resume", "threads", "json")
    ]
    if arguments.resume is None and arguments.run_folder is None:
        raise FaltungError("give RUN or --resume OUT")
    if arguments.resume is not None and given:
        raise FaltungError(
            f"--resume goes on with a compression as it was: leave out {', '.join(given)} (only "
            "--threads and --json may be given)"
        )
    check_reading(arguments)


def _job(arguments: argparse.Namespace) -> "Job":
    from faltung.compress.budget import Budget
    from faltung.compress.job import create, resume

    if arguments.resume is not None:
        return resume(arguments.resume, show=not arguments.json)
    reading = {name: getattr(arguments, name) for name in ("strict", "x", "y", "label")}
    return create(
        arguments.run_folder,
        arguments.data,
        budget=Budget(arguments.drop, arguments.bytes, arguments.speed),
        epochs=arguments.epochs,
        out=arguments.out,
        reading={name: value for name, value in reading.items() if value not in (None, False)},
        show=not arguments.json,
    )


def _walked(job: "Job", as_json: bool) -> int:
    """Walk, and print the result."""
    from faltung.compress.table import step_line
    from faltung.train.interrupts import Stopped

    walk = job.walk
    when_stopped(lambda: f"stopped. To resume: {_resume(job)}")
    if not as_json:
        print(f"{job.title}: {walk.origin.parts}")
        print(f"limits: {walk.budget}; fine-tuning: {walk.recipe.epochs} epochs each", flush=True)
    try:
        end = job.run(
            (lambda number: None)
            if as_json
            else (lambda number: print(step_line(walk.entries, number), flush=True))
        )
    except (Stopped, KeyboardInterrupt):
        return stopped()
    except (OSError, MemoryError) as error:
        error.add_note(f"To resume from the last finished step: {_resume(job)}")
        raise
    if as_json:
        print(json.dumps(_as_dict(job, end), indent=2))
    else:
        print("\n".join(_summary(job, end)))
    return NONE_FITS if end.chosen is None else 0


def _resume(job: "Job") -> str:
    """How to go on."""
    import shlex

    return line(f"faltung compress --resume {shlex.quote(str(job.folder.path))}")


def _summary(job: "Job", end: "End") -> list[str]:
    """What was chosen and why, or what comes nearest."""
    from faltung.compress.job import PAGE
    from faltung.compress.table import measure, milliseconds, points, share

    made = [f"{end.why}"]
    if end.chosen is not None:
        first, found = job.walk.entries[0], job.walk.entries[end.chosen]
        score, name = found.report, measure(job.walk.origin.settings.loss)
        times = [
            f"{milliseconds(found, int(n))} by {n} thread{'s' * (n != '1')}, "
            f"{before / own:.2f} times as fast"
            for n, (own, before) in found.ms.items()
        ]
        made += [
            f"{found.bytes:,} bytes, {first.bytes / found.bytes:.1f} times smaller; "
            + "; ".join(times),
            f"on {score.samples:,} samples that chose nothing: {name} "
            f"{share(score.value)} ({share(score.low)} to {share(score.high)}), "
            f"{points(score.lost)} points lost ({points(score.lost_low)} to "
            f"{points(score.lost_high)})",
        ]
    left = dict.fromkeys(each for entry in job.walk.entries for each in entry.left)
    made += [f"left as it is: {line(each)}" for each in list(left)[:SHOWN_LEFT]]
    return [*made, f"table and picture: {line(job.folder.path / PAGE)}"]


def _as_dict(job: "Job", end: "End") -> dict[str, Any]:
    """All that was measured, for JSON."""
    from faltung.compress.journal import label

    entries = job.walk.entries
    steps = [
        {
            "number": number,
            "label": label(entries, number),
            "folder": str(job.walk.folder(number)) if entry.changed else None,
            "within": job.walk.budget.within(entry),
            "speed": entry.speed,
            **entry.as_dict(),
        }
        for number, entry in enumerate(entries)
    ]
    parts = job.walk.origin.parts
    return {
        "out": str(job.folder.path),
        "limits": job.walk.budget.as_dict(),
        "samples": {name: len(part) for name, part in vars(parts).items()},
        **end.as_dict(),
        "steps": steps,
    }
