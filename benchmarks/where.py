"""``python -m benchmarks where``: where the time of some networks goes, as a page of the docs.

    python -m benchmarks where models              # files of `python -m benchmarks onnx --export`
    python -m benchmarks where models tv_resnet50  # of this name
    python -m benchmarks where                     # the page again, without measuring

A line of JSON for each network is added to the results; of a network that is there twice the last
line counts. ``docs/where-the-time-goes.md`` is made from all of them, between its marks.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.file_problem import FileProblem, shapes_of, text_of
from benchmarks.machine import describe
from benchmarks.processes import cores
from faltung.plan.bandwidth import Bandwidth
from faltung.program.profile import Profile, Timed
from faltung.program.profile_page import Measured, Yardsticks, largest, summary, yardsticks

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "where-the-time-goes.md"
FOLDER = Path(__file__).parent / "results"
OPEN, CLOSE = "<!-- profiles -->\n", "<!-- /profiles -->"
NETWORKS = (
    "tv_efficientnet_b0",
    "tv_mobilenet_v3_large",
    "tv_resnext50_32x4d",
    "tv_resnet50",
    "tv_convnext_tiny",
    "tv_vit_b_16",
)
SECONDS = 8.0  # about as long as a network is run
REPEATS = 5, 60  # at the least and at the most


@dataclass(frozen=True, slots=True)
class Line:
    """The profile of a network, with the yardsticks of the same minute."""

    name: str
    day: str
    machine: dict[str, str]
    measured: Yardsticks
    profile: Profile

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


def line_of(text: str) -> Line:
    """A line from its JSON."""
    data: dict[str, Any] = json.loads(text)
    scale = data["measured"]
    copies = Bandwidth(tuple(scale["copies"]["sizes"]), tuple(scale["copies"]["seconds"]))
    found = data["profile"]
    rows = tuple(Timed(**row | {"output": tuple(row["output"])}) for row in found["rows"])
    profile = Profile(rows, found["seconds"], found["threads"], tuple(found["chains"]))
    measured = Yardsticks(scale["threads"], scale["peak"], copies)
    return Line(data["name"], data["day"], data["machine"], measured, profile)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks where",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, help="of files *.onnx")
    parser.add_argument("names", nargs="*", default=list(NETWORKS), help="without .onnx")
    parser.add_argument("--threads", type=int, default=len(cores()))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON lines (results/where-N-threads.jsonl)")
    parser.add_argument("--to", type=Path, default=PAGE, help="the page (%(default)s)")
    given = parser.parse_args(arguments)
    out = given.out or FOLDER / f"where-{given.threads}-threads.jsonl"
    if given.folder is not None:
        for name in given.names:
            line = measure(given.folder / f"{name}.onnx", given.threads, given.seconds)
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("a") as file:
                file.write(line.text + "\n")
            print(f"{name}: {1e3 * line.profile.seconds:.2f} ms", flush=True)
    before, _, rest = given.to.read_text("utf-8").partition(OPEN)
    after = rest.partition(CLOSE)[2]
    given.to.write_text(before + OPEN + page(read(out)) + CLOSE + after, "utf-8")
    print(f"wrote {given.to}")
    return 0


def measure(path: Path, threads: int, seconds: float = SECONDS) -> Line:
    """The profile of a file at batch 1."""
    from faltung import set_threads
    from faltung.onnx import load

    set_threads(threads)
    inputs = FileProblem(text_of(path, shapes_of(path, 1))).inputs
    model = load(path)
    model.run(inputs)
    start = time.perf_counter()
    model.run(inputs)
    once = time.perf_counter() - start
    few, many = REPEATS
    # In a profile everything runs four times: by itself, and one after another.
    repeats = max(few, min(many, round(seconds / 4 / once)))
    measured = yardsticks(threads)
    found = model.profile(inputs, repeats=repeats)
    return Line(path.stem, date.today().isoformat(), describe(), measured, found)


def read(path: Path) -> list[Line]:
    """The last line of each network, in the order in which they came first."""
    lines = [line_of(text) for text in path.read_text("utf-8").splitlines() if text]
    return list({line.name: line for line in lines}.values())


def page(lines: Sequence[Line]) -> str:
    """What stands between the marks."""
    if not lines:
        return ""
    last = lines[-1]
    machine = last.machine
    many = "1 thread" if last.measured.threads == 1 else f"{last.measured.threads} threads"
    days = sorted(line.day for line in lines)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    about = (
        f"Measured on {machine.get('processor', 'an unknown processor')}, "
        f"{machine.get('features', '')}, {many}, float32, batch 1, {when}. "
        f"{last.measured.text} Times are milliseconds."
    )
    table = summary([Measured(line.name, line.profile, line.measured) for line in lines])
    parts = [about, "## By kind of work", table]
    for line in lines:
        parts += [f"## {line.name}", largest(line.profile, line.measured)]
        if line.profile.chains:
            parts.append("\n".join(f"- {chain}" for chain in line.profile.chains))
    return "\n\n".join(parts) + "\n"
