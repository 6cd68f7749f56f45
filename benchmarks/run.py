"""``python -m benchmarks``: measure the table of layers against every peer and write the page."""

import argparse
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from benchmarks import results
from benchmarks.layers import LAYERS, Layer, select
from benchmarks.machine import Others, describe
from benchmarks.page import microseconds, page
from benchmarks.peers import OURS, PEERS
from benchmarks.processes import WorkerProcess, cores
from benchmarks.protocol import DIRECTIONS, FORWARD, INPUT_GRAD, WEIGHT_GRAD
from benchmarks.turns import Settings, measure

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
    add("--only", metavar="SUBSTRING", help="rows whose name or text contains this")
    add("--core", action="store_true", help="the rows by which the project judges itself alone")
    add("--direction", choices=CHOICES, default="forward")
    add("--threads", type=int, default=len(cores()), help="for every peer (default: %(default)s)")
    add("--rounds", type=int, default=3, help="turns of every peer on a row (%(default)s)")
    add("--seconds", type=float, default=0.15, help="length of a round (%(default)s)")
    add("--peers", default="all", help="names with commas between; * at the end: all that begin so")
    add("--no-check", action="store_true", help="leave out the comparison with float64")
    add("--peak", type=float, metavar="GFLOPS", help="the FMA peak, if it is known already")
    add("--out", type=Path, help="the page (.md); its JSON goes next to it; '-' writes none")
    add("--page", type=Path, metavar="JSON", help="measure nothing: write the page of this file")
    add("--list", action="store_true", help="print the rows and the peers, and end")
    add("--verbose", action="store_true", help="let the peers' own messages through")
    return made


def chosen_peers(text: str) -> list[str]:
    """The names in ``text``; ValueError names one that is unknown."""
    if text == "all":
        return list(PEERS)
    names: list[str] = []
    for word in text.split(","):
        stem = word.removesuffix("*")
        found = [n for n in PEERS if n == word or (stem != word and n.startswith(stem))]
        if not found:
            raise ValueError(f"peers={word!r}: must be some of {', '.join(PEERS)}")
        names += [name for name in found if name not in names]
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    options = made.parse_args(arguments)
    if options.list:
        print("\n".join(f"{'*' if one.core else ' '} {one.name:28} {one.text}" for one in LAYERS))
        print("\n".join(f"  {name:28} {peer.about}" for name, peer in PEERS.items()))
        return 0
    if options.page:
        _write(results.read(options.page), options.page.with_suffix(".md"))
        return 0
    layers = select(options.only, options.core)
    if not layers:
        made.error(f"only={options.only!r}: no row has this in its name or text")
    if options.threads < 1 or options.rounds < 1:
        made.error("threads and rounds must be at least 1")
    try:
        names = chosen_peers(options.peers)
    except ValueError as error:
        made.error(str(error))
    run = _measure(options, names, layers)
    if str(options.out) == "-":
        print(page(run))
    else:
        out = options.out or FOLDER / f"{options.direction}-{options.threads}-threads.md"
        _write(run, out)
    return 0


def _measure(
    options: argparse.Namespace, names: Sequence[str], layers: Sequence[Layer]
) -> results.Run:
    """Start the workers, measure, end them: whatever happens."""
    machine, others, began = describe(), Others(), time.monotonic()
    workers = {
        name: WorkerProcess(name, options.threads, verbose=options.verbose) for name in names
    }
    settings = Settings(options.rounds, options.seconds, check=not options.no_check)
    directions = CHOICES[options.direction]
    try:
        versions, missing = _hello(workers)
        here = {name: workers[name] for name in versions}
        peak = options.peak or _peak(here)
        rows = measure(layers, directions, here, settings, _report)
        if not options.peak:  # clocks move: the better of both ends of the run
            peak = max(peak or 0.0, _peak(here) or 0.0) or None
    finally:
        for worker in workers.values():
            worker.close()
    share = others.share()
    if share is not None:
        machine["taken by other programs"] = f"{100 * share:.1f}% of all processors"
    minutes = round((time.monotonic() - began) / 60, 1)
    date = datetime.now().isoformat(" ", "minutes")
    scale = (options.threads, options.rounds, options.seconds)
    return results.Run(date, machine, *scale, versions, missing, peak, minutes, rows)


def _hello(workers: dict[str, WorkerProcess]) -> tuple[dict[str, str], dict[str, str]]:
    """Versions of the peers that answer, and the reason for each that does not."""
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
    """GFLOP/s of plain FMAs, from faltung's own loop; None where it has none."""
    for name in OURS:
        if name in workers:
            answer = workers[name].ask({"op": "peak"}, 60)
            return float(answer["gflops"]) if "gflops" in answer else None
    return None


def _report(row: results.Row) -> None:
    """One line of progress."""
    words = []
    for peer, outcome in row.outcomes.items():
        if outcome.kind == results.TIMED:
            words.append(f"{peer} {microseconds(outcome.min_ns)}")
        elif outcome.kind != results.UNABLE:
            words.append(f"{peer} {outcome.kind.upper()}: {outcome.reason}")
    print(f"{row.direction:11} {row.name:28} us: {', '.join(words)}", flush=True)


def _write(run: results.Run, path: Path) -> None:
    results.write(run, path.with_suffix(".json"))
    path.with_suffix(".md").write_text(page(run))
    print(f"wrote {path.with_suffix('.md')} and {path.with_suffix('.json').name}")
