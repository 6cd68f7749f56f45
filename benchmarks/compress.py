"""``python -m benchmarks compress``: what `faltung compress` makes of networks for the digits.

The 1,797 digits are cut into five parts of equal size, by one seed. For each part a network is
trained on the other four, of which a fifth is held out, with a seed of its own, and compressed;
what is held out chooses, and the part itself, which neither trained nor chose anything, reports. So
every digit reports once, and what is lost is counted over all of them.

``--write`` updates ``docs/compress/measured.md``. Each case takes minutes.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import numpy as np

from faltung.compress.budget import Budget
from faltung.compress.job import Job, create
from faltung.compress.journal import label
from faltung.compress.quality import paired, wilson
from faltung.compress.table import points, share
from faltung.data.open import open_source
from faltung.data.seeds import permutation
from faltung.jit.target import current
from faltung.runtime.threads import set_threads
from faltung.train import session
from faltung.train.defaults import PRESETS
from faltung.train.run_model import load_model

PAGE = Path(__file__).parent.parent / "docs" / "compress" / "measured.md"
OPEN, CLOSE = "<!-- digits -->\n", "<!-- /digits -->"
FOLDS, SEED = 5, 7


@dataclass(frozen=True)
class Case:
    """A network and the limits that its compression gets."""

    title: str
    net: str
    limits: dict[str, Any]

    @property
    def command(self) -> str:
        """The limits as options."""
        return " ".join(f"--{name} {value:g}" for name, value in self.limits.items())


CASES = {
    "lenet5": Case("LeNet-5", "lenet5", {"bytes": 5000}),
    "lenet5-drop": Case("LeNet-5", "lenet5", {"drop": 0.3}),
    "inception": Case("Inception (small)", "googlenet", {"bytes": 380_000, "speed": 2.0}),
}


@dataclass(frozen=True)
class Result:
    """Of one part: bytes, MACs and milliseconds before and after, and for each sample of the part
    whether the network was right, before and after. ``lost``: on the samples that chose.
    ``steps``: all of them, with points lost and losses on both kinds of samples.
    """

    bytes: tuple[int, int]
    macs: tuple[int, int]
    ms: dict[str, tuple[float, float]]
    right: tuple[list[bool], list[bool]]
    lost: float
    within: bool
    said: str
    seconds: float
    steps: list[dict[str, Any]]


def parts() -> list[tuple[Any, Any, Any, Any]]:
    """(x, y, x of the part, y of the part) for each part."""
    digits = open_source("digits")
    x, y = digits.stored(range(len(digits))), digits.targets  # type: ignore[attr-defined]
    order = permutation(len(x), SEED, 0)
    made = []
    for fold in range(FOLDS):
        one = np.sort(order[fold::FOLDS])
        rest = np.setdiff1d(np.arange(len(x)), one)
        made.append((x[rest], y[rest], x[one], y[one]))
    return made


def measured(case: Case, fold: int, place: Path) -> Result:
    """Train, compress, and ask both networks about the part that they have not seen."""
    x, y, x_part, y_part = parts()[fold]
    run, small = place / "run", place / "small"
    if not run.exists():
        place.mkdir(parents=True, exist_ok=True)
        np.savez(place / "rest.npz", x=x, y=y)
        np.savez(place / "part.npz", x=x_part, y=y_part)
        settings = {**PRESETS["digits", case.net], "seed": fold}
        trained = session.create(str(place / "rest.npz"), net=case.net, settings=settings, out=run)
    else:
        trained = session.resume(run)
    trained.run()
    trained.finish()
    trained.folder.close()
    start = perf_counter()
    budget = Budget(**case.limits)
    job = create(run, str(place / "part.npz"), budget=budget, out=small, show=False)
    end = job.run()
    job.close()
    seconds = perf_counter() - start
    number = end.nearest
    first, found = job.walk.entries[0], job.walk.entries[number]
    models = load_model(run)[0], load_model(job.walk.folder(number))[0]
    right = [(model.predict(x_part).argmax(1) == y_part).tolist() for model in models]
    return Result(
        (first.bytes, found.bytes),
        (first.macs, found.macs),
        {threads: (before, own) for threads, (own, before) in found.ms.items()},
        (right[0], right[1]),
        found.lost,
        end.chosen is not None,
        " -> ".join(job.walk.path(number)),
        seconds,
        [_step(job, number) for number, each in enumerate(job.walk.entries) if each.changed],
    )


def _step(job: Job, number: int) -> dict[str, Any]:
    """What was measured of a step."""
    entry = job.walk.entries[number]
    return {
        "label": label(job.walk.entries, number),
        "bytes": entry.bytes,
        "speed": entry.speed,
        "choose": (entry.choose.lost, entry.choose.loss),
        "report": (entry.report.lost, entry.report.loss),
    }


def row(case: Case, results: Sequence[Result]) -> str:
    """A case as a row of the table."""
    before, after = (
        np.concatenate([np.array(r.right[i], float) for r in results]) for i in range(2)
    )
    low, high = paired(before - after)
    size = mean(r.bytes[1] for r in results)
    most = max(r.bytes[1] for r in results)
    faster = mean(r.ms["1"][0] / r.ms["1"][1] for r in results)
    two = [r.ms["2"][0] / r.ms["2"][1] for r in results if "2" in r.ms]
    spread = wilson(float(after.mean()), len(after))
    cells = [
        case.title,
        f"`{case.command}`",
        f"{round(mean(r.bytes[0] for r in results)):,}",
        f"{round(size):,} (most {most:,})",
        f"{mean(r.bytes[0] / r.bytes[1] for r in results):.1f}",
        f"{mean(r.macs[0] / r.macs[1] for r in results):.1f}",
        f"{faster:.2f}" + (f" / {mean(two):.2f}" if two else ""),
        share(float(before.mean())),
        f"{share(float(after.mean()))} ({share(spread[0])} to {share(spread[1])})",
        f"{points(100 * float((before - after).mean()))} ({100 * low:.2f} to {100 * high:.2f})",
        f"{mean(r.seconds for r in results):.0f} s",
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| network | limits | bytes | compressed | times smaller | times fewer MACs | times as fast, "
    "1 / 2 threads | right before | right after | points lost | a walk takes |\n"
    f"|{'---|' * 11}"
)


def _row_of(name: str, folds: int, place: Path) -> str:
    """All parts of a case; those that have a result are not measured again."""
    results = []
    for fold in range(folds):
        file = place / f"{name}-{fold}.json"
        if not file.exists():
            found = measured(CASES[name], fold, place / f"{name}-{fold}")
            file.write_text(json.dumps(vars(found)))
        results.append(Result(**json.loads(file.read_text())))
        print(
            f"{name}, part {fold}: {results[-1].bytes[1]:,} bytes, {results[-1].said}", flush=True
        )
    return row(CASES[name], results)


def main(words: Sequence[str]) -> int:
    """Measure, print the table, and perhaps write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks compress", description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for all runs; what is there goes on")
    parser.add_argument("--write", action="store_true", help="update the page")
    asked = parser.parse_args(words)
    set_threads(asked.threads)
    with tempfile.TemporaryDirectory() as temporary:
        place = asked.keep or Path(temporary)
        table = "\n".join([HEAD, *(_row_of(name, asked.folds, place) for name in asked.cases)])
    print(table)
    if asked.write:
        text = PAGE.read_text("utf-8")
        before, rest = text.split(OPEN)
        after = rest.split(CLOSE)[1]
        said = f"Measured on {current()}, {asked.threads} thread{'s' * (asked.threads > 1)}."
        PAGE.write_text(f"{before}{OPEN}{table}\n\n{said}\n{CLOSE}{after}", "utf-8")
    return 0
