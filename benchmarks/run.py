"""``python -m benchmarks [SUBJECT]``: measures a table against all peers and writes its page."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import results, sessions
from benchmarks.costs import Answers, Costs, Memory
from benchmarks.filters import scaled
from benchmarks.machine import Others, describe
from benchmarks.network_problem import FOLDER as ARRAYS
from benchmarks.page import page
from benchmarks.peers import OURS, TABLES
from benchmarks.processes import WorkerProcess, cores
from benchmarks.protocol import (
    CONVOLUTIONS,
    DEPTHWISE,
    DIRECTIONS,
    FILTERS,
    FORWARD,
    INPUT_GRAD,
    LAYERS,
    POINTWISE,
    SUBJECTS,
    TRAINING,
    WEIGHT_GRAD,
    WINDOWS,
)
from benchmarks.subjects import SUBJECTS as ABOUT
from benchmarks.subjects import select
from benchmarks.turns import Entry, Settings, measure
from benchmarks.window_problem import answer as window_answer
from benchmarks.words import duration, unit

FOLDER = Path(__file__).parent / "results"
CHOICES: dict[str, tuple[str, ...]] = {
    "forward": (FORWARD,),
    "input_grad": (INPUT_GRAD,),
    "weight_grad": (WEIGHT_GRAD,),
    "gradients": (INPUT_GRAD, WEIGHT_GRAD),
    "all": DIRECTIONS,
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = made.add_argument
    add("subject", nargs="?", choices=ABOUT, default=LAYERS, help="(default: %(default)s)")
    add("--only", metavar="SUBSTRING", help="rows whose name or text contains this")
    add("--core", action="store_true", help="the rows by which the project judges itself alone")
    add("--direction", choices=CHOICES, default="forward", help="of layers (%(default)s)")
    add("--threads", type=int, default=len(cores()), help="for every peer (default: %(default)s)")
    add("--rounds", type=int, default=3, help="turns of every peer on a row (%(default)s)")
    add("--seconds", type=float, help="length of a round")
    add("--peers", default="all", help="names with commas between; * at the end: all that begin so")
    slow = argparse.BooleanOptionalAction
    add("--slow-peers", action=slow, help="those that compile for minutes (networks: yes)")
    add("--costs", action=slow, default=True, help="of networks: compile times, memory, commands")
    add("--scale", type=float, default=1.0, help="filters: a factor on the sizes, to try them")
    add("--no-check", action="store_true", help="leave out the comparison with float64")
    add("--peak", type=float, metavar="GFLOPS", help="the FMA peak, if it is known already")
    add("--out", type=Path, help="the page (.md); its JSON goes next to it; '-' writes none")
    add("--page", type=Path, metavar="JSON", help="measure nothing: write the page of this file")
    add("--list", action="store_true", help="print the rows and the peers, and end")
    add("--verbose", action="store_true", help="let the peers' own messages through")
    return made


def chosen_peers(text: str, subject: str = LAYERS) -> list[str]:
    """The names in ``text``. ValueError: one is unknown."""
    known = TABLES[subject]
    if text == "all":
        return list(known)
    names: list[str] = []
    for word in text.split(","):
        stem = word.removesuffix("*")
        found = [n for n in known if n == word or (stem != word and n.startswith(stem))]
        if not found:
            raise ValueError(f"peers={word!r}: must be some of {', '.join(known)}")
        names += [name for name in found if name not in names]
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    options = made.parse_args(arguments)
    subject = ABOUT[options.subject]
    if options.list:
        _list(options.subject)
        return 0
    if options.page:
        _write(results.read(options.page), options.page.with_suffix(".md"))
        return 0
    rows = select(options.subject, options.only, options.core)
    if options.scale != 1:
        rows = scaled(rows, options.scale)
    if not rows:
        made.error(f"only={options.only!r}: no row has this in its name or text")
    if options.threads < 1 or options.rounds < 1:
        made.error("threads and rounds must be at least 1")
    if options.seconds is None:
        options.seconds = subject.seconds
    if options.slow_peers is None:
        options.slow_peers = subject.slow_peers
    try:
        names = chosen_peers(options.peers, options.subject)
    except ValueError as error:
        made.error(str(error))
    run = _measure(options, names, rows)
    if str(options.out) == "-":
        print(page(run))
    else:
        what = options.subject
        if what == LAYERS:
            what = options.direction
        elif what in CONVOLUTIONS and options.direction != "forward":
            what = f"{what}-{options.direction.replace('_', '-')}"
        _write(run, options.out or FOLDER / f"{what}-{options.threads}-threads.md")
    return 0


def _list(subject: str) -> None:
    rows = ABOUT[subject].rows
    wide = max(len(row.name) for row in rows)
    print("\n".join(f"{'*' if one.core else ' '} {one.name:{wide}} {one.text}" for one in rows))
    print("\n".join(f"  {name:{wide}} {peer.about}" for name, peer in TABLES[subject].items()))


def _measure(
    options: argparse.Namespace, names: Sequence[str], rows: Sequence[Entry]
) -> results.Run:
    """Start the workers, measure, and end the workers whatever happens."""
    machine, others, began = describe(), Others(), time.monotonic()
    with TemporaryDirectory(prefix="faltung-bench-") as room:
        # Weights are drawn once, and inductor compiles as if for the first time.
        environment = {ARRAYS: room, "TORCHINDUCTOR_CACHE_DIR": f"{room}/inductor"}
        workers, left_out = _workers(options, names, environment)
        try:
            versions, missing = _hello(workers)
            here = {name: workers[name] for name in versions}
            peak = options.peak or _peak(here)
            copies = _copies(options.subject, here)
            found = _rows(options, here, rows, environment)
            if not options.peak:  # clocks vary: the better of the start and the end of the run
                peak = max(peak or 0.0, _peak(here) or 0.0) or None
        finally:
            for worker in workers.values():
                worker.close()
    whole: list[results.Session] = []
    if options.subject == TRAINING and options.costs and not options.only and OURS[0] in names:
        whole = sessions.measure(options.threads, _report_session)
    share = others.share()
    if share is not None:
        machine["taken by other programs"] = f"{100 * share:.1f}% of all processors"
    minutes = round((time.monotonic() - began) / 60, 1)
    date = datetime.now().isoformat(" ", "minutes")
    scale = (options.threads, options.rounds, options.seconds)
    missing |= left_out
    run = results.Run(date, machine, *scale, versions, missing, peak, minutes, found)
    return replace(run, subject=options.subject, sessions=whole, copies=copies)


def _workers(
    options: argparse.Namespace, names: Sequence[str], environment: Mapping[str, str]
) -> tuple[dict[str, WorkerProcess], dict[str, str]]:
    """The peers that take part, not yet started, and why others do not."""
    peers = TABLES[options.subject]
    slow = {name for name in names if peers[name].slow and not options.slow_peers}
    made = {
        name: WorkerProcess(
            name,
            options.threads,
            subject=options.subject,
            environment=environment,
            verbose=options.verbose,
        )
        for name in names
        if name not in slow
    }
    return made, dict.fromkeys(sorted(slow), "left out: it compiles for minutes (`--slow-peers`)")


def _rows(
    options: argparse.Namespace,
    workers: dict[str, WorkerProcess],
    rows: Sequence[Entry],
    environment: Mapping[str, str],
) -> list[results.Row]:
    about = ABOUT[options.subject]
    settings = Settings(
        options.rounds, options.seconds, about.row_cap, not options.no_check, about.build_limit
    )
    if options.subject in CONVOLUTIONS:
        return measure(rows, CHOICES[options.direction], workers, settings, _report)
    if options.subject == WINDOWS:
        directions = SUBJECTS[WINDOWS]
        return measure(rows, directions, workers, settings, _report, window_answer)
    shared = (options.subject, options.threads, environment)
    answers = Answers(*shared)
    costs: Callable[[results.Row], results.Row]
    if options.subject == FILTERS:
        costs = Memory(options.threads, ask=options.costs)
    else:
        costs = Costs(*shared, ask=options.costs)
    try:
        return measure(rows, SUBJECTS[options.subject], workers, settings, _report, answers, costs)
    finally:
        answers.close()


def _hello(workers: dict[str, WorkerProcess]) -> tuple[dict[str, str], dict[str, str]]:
    """The versions of the peers that answer, and why others do not."""
    versions, missing = {}, {}
    for name, worker in workers.items():
        answer = worker.start()
        if "version" in answer:
            versions[name] = str(answer["version"])
        else:
            missing[name] = str(answer.get("missing") or answer.get("failed"))
            worker.close()
            print(f"missing: {name}: {missing[name]}", flush=True)
    return versions, missing


def _peak(workers: dict[str, WorkerProcess]) -> float | None:
    """GFLOP/s of plain FMAs, from the loop of Faltung; None where it has none."""
    for name in OURS:
        if name in workers:
            answer = workers[name].ask({"op": "peak"}, 60)
            return float(answer["gflops"]) if "gflops" in answer else None
    return None


def _copies(subject: str, workers: dict[str, WorkerProcess]) -> dict[str, list[float]]:
    """Sizes and seconds of copies, where the page compares with them."""
    ours = [workers[name] for name in OURS if name in workers]
    if subject not in (POINTWISE, DEPTHWISE) or not ours:
        return {}
    answer = ours[0].ask({"op": "bandwidth"}, 60)
    return {key: answer[key] for key in ("sizes", "seconds") if key in answer}


def _report(row: results.Row) -> None:
    """One line of progress."""
    words = []
    for peer, outcome in row.outcomes.items():
        if outcome.kind == results.TIMED:
            words.append(f"{peer} {duration(outcome.min_ns, row.direction)}")
        elif outcome.kind != results.UNABLE:
            words.append(f"{peer} {outcome.kind.upper()}: {outcome.reason}")
    for peer, cost in row.costs.items():
        if cost.cold_s is not None and cost.warm_s is not None:
            words.append(f"{peer} ready in {cost.cold_s:.2f} s cold, {cost.warm_s:.2f} s warm")
        if cost.peak_bytes is not None:
            words.append(f"{peer} {cost.peak_bytes / 2**20:.0f} MiB")
    print(f"{row.direction:11} {row.name:28} {unit(row.direction)}: {', '.join(words)}", flush=True)


def _report_session(session: results.Session) -> None:
    words = [
        f"{seconds:.1f} s {state}"
        for state, seconds in (("cold", session.cold_s), ("warm", session.warm_s))
        if seconds is not None
    ]
    words += [] if session.accuracy is None else [f"accuracy {session.accuracy:.2%}"]
    words += [f"FAILED: {session.reason}"] if session.reason else []
    print(f"{session.command}: {', '.join(words)}", flush=True)


def _write(run: results.Run, path: Path) -> None:
    results.write(run, path.with_suffix(".json"))
    path.with_suffix(".md").write_text(page(run))
    print(f"wrote {path.with_suffix('.md')} and {path.with_suffix('.json').name}")
