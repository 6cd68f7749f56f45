"""A compression as the command line runs it: a run opened, walked down from, and what is left.

RUN2/compress.html, compress.csv   the curve and the table, after every step
RUN2/steps/                        each step, a run of its own, and the journal
RUN2/config.toml, ...              the chosen step as a run, once the walk has ended well
"""

import os
import shlex
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from faltung.compress.budget import Budget
from faltung.compress.end import End, end_of
from faltung.compress.journal import STEPS, Journal, is_walk, read_journal
from faltung.compress.keep import copy_best
from faltung.compress.page import page
from faltung.compress.parts import Origin, open_run, said
from faltung.compress.table import as_csv
from faltung.compress.walk import Walk
from faltung.data.names import printable
from faltung.formats.extras import missing
from faltung.formats.files import write_whole
from faltung.geometry.check import show as shown
from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.train.evaluate import evaluate
from faltung.train.places import with_relative
from faltung.train.report import ReportData, write_report
from faltung.train.run_dataset import described
from faltung.train.run_folder import BEST, CONFIG, LAST, METRICS, RunFolder
from faltung.train.session_report import of_model
from faltung.train.transfer import digest

PAGE, TABLE = "compress.html", "compress.csv"
SHARE = 6  # the training had so many times the epochs of a fine-tuning
SUFFIX = "-small"  # of the folder, after the name of the run
# Packages that a walk needs after its first step; checked before it begins.
NEEDED = ("constriction", "jinja2", "safetensors", "tomli_w")
# The plan of a walk: entry -> its type.
_PLAN: dict[str, type] = {
    "from": str,
    "digest": str,
    "data": str,
    "reading": dict,
    "reported": str,
    "limits": dict,
    "epochs": int,
    "repeat": str,
}


class Job:
    """``walk``: what is done; ``folder``: where; ``title``: of the page."""

    def __init__(self, walk: Walk, folder: RunFolder) -> None:
        self.walk, self.folder = walk, folder
        config = walk.origin.config
        name = printable(Path(config["data"]["path"]).name)
        self.title = f"{printable(str(config['net'].get('name', 'network')))} on {name}"

    def run(self, noted: Callable[[int], object] = lambda number: None) -> End:
        """Walk to the end, and write the chosen step as a run. Stopped, KeyboardInterrupt: after
        Ctrl-C; the same job goes on from there.
        """
        walk = self.walk
        found = walk.journal.end
        if found is None:

            def each(number: int) -> None:
                self._show(None)
                noted(number)

            walk.run(each)
            end = end_of(walk.entries, walk.budget)
            walk.journal = walk.journal.write(end=end.as_dict())
        else:
            end = End.from_dict(found, len(walk.entries))
        if not (self.folder.path / CONFIG).is_file():
            self._show(end)
            if end.chosen is not None:
                self._publish(end.chosen)
        return end

    def close(self) -> None:
        """Let others write the folder."""
        self.folder.close()

    def _show(self, end: End | None) -> None:
        """Write the page and the table."""
        walk, place = self.walk, self.folder.path
        text = page(
            self.title,
            walk.entries,
            walk.budget,
            end,
            walk.origin.settings.loss,
            str(walk.origin.parts),
        )
        write_whole(place / PAGE, text.encode("utf-8", "replace"), own=True)
        chosen = None if end is None else end.chosen
        table = as_csv(walk.entries, walk.budget, chosen)
        write_whole(place / TABLE, table.encode("utf-8", "replace"), own=True)

    def _publish(self, number: int) -> None:
        """The folder becomes a run; its settings come last, so that it is none before."""
        walk, folder = self.walk, self.folder
        model, step = walk.model(number), RunFolder.open(walk.folder(number))
        copy_best(step.path / BEST, folder)
        rows = step.read_metrics()
        if rows and not folder.history:
            folder.append_metrics(*rows)
        report, loss = walk.origin.parts.report, walk.origin.settings.loss
        found = evaluate(model, report, loss, keep=True)
        data = ReportData(
            title=f"{self.title}, compressed",
            history=rows,
            note=f"on {len(report):,} samples that chose nothing; {PAGE} shows all steps",
            **of_model(model, step.config, found, report),
        )
        write_report(folder.report, data, own=True)
        about = with_relative(step.config["data"], folder.path)
        folder.rewrite({**step.config, "data": about})


# Opening ------------------------------------------------------------------------------------------


def create(
    run: str | os.PathLike[str],
    data: str | None = None,
    *,
    budget: Budget | None = None,
    epochs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    reading: Mapping[str, Any] | None = None,
    show: bool = True,
) -> Job:
    """A compression into a folder, or one that was begun there with the same arguments. ValueError,
    OSError: a run or data that do not fit, a folder that holds something else.
    """
    for module in NEEDED:
        if find_spec(module) is None:
            raise missing(module, "train")
    limits = budget or Budget()
    place = Path(out) if out is not None else Path(f"{os.fspath(run).rstrip('/' + os.sep)}{SUFFIX}")
    if os.path.realpath(place) == os.path.realpath(run):
        raise FaltungError(
            f"--out={printable(place)}: is the run itself, which is never changed: name another "
            "folder"
        )
    origin = open_run(run, data, reading)
    plan = _plan(origin, run, data, limits, epochs, reading or {})
    if not is_walk(place):
        _refuse_held(place)
    folder = RunFolder.begin(place)
    try:
        journal = Journal.opened(place, plan)
        return Job(Walk(origin, journal, limits, plan["epochs"], show=show), folder)
    except BaseException:
        folder.close()
        raise


def resume(place: str | os.PathLike[str], *, show: bool = True) -> Job:
    """A compression that was stopped or killed. ValueError, OSError: there is none, or what it was
    made from has changed.
    """
    where = Path(place)
    if not is_walk(where):
        raise FaltungError(
            f"{said(where)}: holds no compression to resume, no {STEPS}/journal.json"
        )
    plan = dict(read_journal(where).plan)
    for name, kind in _PLAN.items():
        if not isinstance(plan.get(name), kind):
            raise FaltungError(
                f"{said(where)}/{STEPS}/journal.json: plan.{name}={shown(plan.get(name))}: must be "
                f"{kind.__name__}"
            )
    try:
        limits = Budget(**plan["limits"])
    except TypeError as error:
        raise FaltungError(f"{said(where)}/{STEPS}/journal.json: plan.limits: {error}") from None
    return create(
        plan["from"],
        plan["data"] or None,
        budget=limits,
        epochs=plan["epochs"],
        out=where,
        reading=plan["reading"],
        show=show,
    )


def _plan(
    origin: Origin,
    run: str | os.PathLike[str],
    data: str | None,
    budget: Budget,
    epochs: int | None,
    reading: Mapping[str, Any],
) -> dict[str, Any]:
    """All that a walk depends on, and the command that repeats it."""
    tuned = max(1, round(origin.settings.epochs / SHARE)) if epochs is None else epochs
    given = {name: value for name, value in reading.items() if value}
    path = "" if data is None else os.path.abspath(data) if os.path.exists(data) else data
    words = ["faltung", "compress", os.path.abspath(run), *([path] if path else [])]
    for name, value in (*budget.as_dict().items(), ("epochs", whole("epochs", tuned, 1))):
        words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    for name, value in given.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return {
        "from": os.path.abspath(run),
        "digest": digest(origin.model),
        "data": path,
        "reading": given,
        "reported": described(origin.parts.report)["digest"],
        "limits": budget.as_dict(),
        "epochs": tuned,
        "repeat": shlex.join(words),
    }


def _refuse_held(place: Path) -> None:
    """FileExistsError: a folder that holds a run."""
    for name in (CONFIG, METRICS, BEST, LAST):
        if (place / name).exists():
            raise FileExistsError(
                f"{said(place)}: must not hold a run, has {name}: name another folder with --out"
            )
