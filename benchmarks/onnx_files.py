"""``python -m benchmarks onnx``: networks as ONNX files beside other runtimes.

    python -m benchmarks onnx --export models                   # 40 files, in about ten minutes
    python -m benchmarks onnx models --batch 1 8                # those, in about 20 minutes
    python -m benchmarks onnx models --batch 1 "*resnet*" --out resnets.jsonl
    python -m benchmarks onnx --page benchmarks/results/onnx-2-threads.jsonl

Each runtime has a process of its own and takes turns with the others; one whose turn it is not is
stopped. A line of JSON for each file and batch is added to the results, where those that are there
already are left out, so a run can be ended and taken up again; the page is written next to them.
The exports need torch, torchvision and timm; weights are random. With ``pnnx`` on the path they are
converted for ncnn too.
"""

import argparse
import fnmatch
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import page_files, results
from benchmarks.file_problem import shapes_of, text_of
from benchmarks.machine import Others, describe
from benchmarks.page import page
from benchmarks.peers import FILE_PEERS, OURS
from benchmarks.processes import WorkerProcess, cores
from benchmarks.protocol import FILE, ONNX
from benchmarks.turns import Settings, one_row
from benchmarks.words import duration

FOLDER = Path(__file__).parent / "results"
# The page that shows the results kept in that folder, between marks.
DOCUMENT = Path(__file__).parent.parent / "docs" / "onnx.md"
OPEN, CLOSE = "<!-- onnx files -->\n", "<!-- /onnx files -->"
ANSWERS = "onnxruntime"  # whose outputs the others are compared with
ROUNDS, SECONDS = 5, 0.3
# For a file, with loading it; begun rounds are ended. At batch 1, and at larger ones.
BUDGET_SECONDS = 12.0, 20.0
SLOW_ROUNDS = 3  # of a call that takes longer than a second and a half
BUILD_SECONDS = 300.0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks onnx",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("folder", nargs="?", type=Path, help="of files *.onnx")
    add("names", nargs="*", default=["*"], help="of files, without .onnx, as in a shell")
    add("--batch", type=int, nargs="+", default=[1], help="where it is free (default: 1)")
    add("--threads", type=int, default=len(cores()), help="for every peer (default: %(default)s)")
    add("--peers", nargs="+", choices=FILE_PEERS, default=list(FILE_PEERS))
    add("--rounds", type=int, default=ROUNDS, help="turns of every peer (%(default)s)")
    add("--seconds", type=float, default=SECONDS, help="length of a round (%(default)s)")
    add("--budget", type=float, help="no new round of a file after so many seconds (12, batch 1)")
    add("--out", type=Path, help="JSON lines to add to (default: results/onnx-N-threads.jsonl)")
    add("--to", type=Path, help="page with marks (docs/onnx.md, if the results are those kept)")
    add("--page", type=Path, metavar="JSONL", help="measure nothing: write the page of this file")
    add("--export", type=Path, metavar="DIR", help="make the files that are not there yet, and end")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    given = made.parse_args(arguments)
    if given.export is not None:
        names = [given.folder.name, *given.names] if given.folder else given.names
        return export(given.export, names)
    out = given.page or given.out or FOLDER / f"onnx-{given.threads}-threads.jsonl"
    if given.page is None:
        if given.folder is None:
            made.error("folder: of files *.onnx, or --export, or --page")
        if min(given.threads, given.rounds, *given.batch) < 1:
            made.error("threads, rounds and batch must be at least 1")
        files = _files(given.folder, given.names)
        if not files:
            made.error(f"folder={str(given.folder)!r}: has no file *.onnx of these names")
        measure(given, files, out)
    path = out.with_suffix(".md")
    run = read(out)
    path.write_text(page(run))
    print(f"wrote {path}")
    if given.to is not None or out.parent.resolve() == FOLDER.resolve():
        _insert(given.to or DOCUMENT, page_files.short(run, path.name))
    return 0


def _insert(document: Path, text: str) -> None:
    """Put a text between the marks of a page."""
    before, _, rest = document.read_text("utf-8").partition(OPEN)
    document.write_text(before + OPEN + text + CLOSE + rest.partition(CLOSE)[2], "utf-8")
    print(f"wrote {document}")


def _files(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of a folder with these names, small ones first."""
    found = sorted(folder.glob("*.onnx"), key=lambda path: (path.stat().st_size, path.name))
    return [path for path in found if any(fnmatch.fnmatch(path.stem, name) for name in names)]


# Measuring ----------------------------------------------------------------------------------------


def measure(given: argparse.Namespace, files: Sequence[Path], out: Path) -> None:
    """Add a line for each file and batch that is not there yet."""
    done = {(row.name, row.text) for row in read(out).rows} if out.exists() else set()
    left = [
        (path, batch)
        for batch in given.batch
        for path in files
        if (path.stem, f"n{batch}") not in done
    ]
    if not left:
        return
    began, others, machine = time.monotonic(), Others(), describe()
    workers = {name: WorkerProcess(name, given.threads, subject=ONNX) for name in given.peers}
    try:
        versions, missing = _hello(workers)
        if OURS[0] not in versions:
            raise SystemExit(f"{OURS[0]}: {missing[OURS[0]]}")
        here = {name: workers[name] for name in versions}
        peak = here[OURS[0]].ask({"op": "peak"}, 60).get("gflops")
        scale = (given.threads, given.rounds, given.seconds, versions, missing, peak)
        run = results.Run(datetime.now().isoformat(" ", "minutes"), machine, *scale, subject=ONNX)
        settings = Settings(given.rounds, given.seconds, 0.0, True, BUILD_SECONDS, SLOW_ROUNDS)
        for path, batch in left:
            budget = given.budget or BUDGET_SECONDS[batch > 1]
            settings = replace(settings, row_cap=budget)
            row = _row(path.resolve(), batch, here, settings)
            run = replace(run, minutes=round((time.monotonic() - began) / 60, 1), rows=[row])
            add(out, run)
            _report(row)
    finally:
        for worker in workers.values():
            worker.close()
    share = others.share()  # known once our processes have ended
    if share is not None:
        machine = machine | {"taken by other programs": f"{100 * share:.1f}% of all processors"}
        add(out, replace(run, machine=machine, rows=[]))


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
    return versions, missing


def _row(
    path: Path, batch: int, workers: dict[str, WorkerProcess], settings: Settings
) -> results.Row:
    """One file with one batch by all peers, in turns."""
    text = text_of(path, shapes_of(path, batch))
    with TemporaryDirectory(prefix="faltung-bench-") as folder:
        answer = f"{folder}/answer.npy"
        request: dict[str, Any] = {"op": "answer", "text": text, "direction": FILE, "path": answer}
        known = ANSWERS in workers and "failed" not in workers[ANSWERS].ask(request, BUILD_SECONDS)
        request |= {"op": "build", "reference": answer if known else ""}
        outcomes = one_row(request, workers, settings)
    return results.Row(path.stem, f"n{batch}", FILE, True, outcomes)


def _report(row: results.Row) -> None:
    """One line of progress."""
    words = []
    for peer, outcome in row.outcomes.items():
        if outcome.kind == results.TIMED:
            words.append(f"{peer} {duration(outcome.min_ns, FILE)}")
        elif outcome.kind != results.UNABLE:
            words.append(f"{peer} {outcome.kind.upper()}: {outcome.reason}")
    print(f"{row.name:32} {row.text:4} ms: {', '.join(words)}", flush=True)


# Results ------------------------------------------------------------------------------------------


def add(out: Path, run: results.Run) -> None:
    """Add a line: the run so far, with its last row."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a") as file:
        file.write(json.dumps({"schema": results.SCHEMA, **asdict(run)}) + "\n")


def read(path: Path) -> results.Run:
    """All lines as one run: about the machine what the last says, minutes of all that were begun.

    Of a row that is there twice the last counts. ValueError: no line, or another schema.
    """
    lines = [results.from_data(json.loads(line)) for line in path.read_text().splitlines() if line]
    if not lines:
        raise ValueError(f"{path}: must have at least one line")
    rows = {(row.name, row.text): row for run in lines for row in run.rows}
    minutes = {run.date: run.minutes for run in lines}  # of each sitting the last counts
    missing = {name: why for run in lines for name, why in run.missing.items()}
    versions = {name: version for run in lines for name, version in run.versions.items()}
    return replace(
        lines[-1],
        rows=list(rows.values()),
        minutes=sum(minutes.values()),
        versions=versions,
        missing={name: why for name, why in missing.items() if name not in versions},
    )


# Making the files ---------------------------------------------------------------------------------


def export(folder: Path, names: Sequence[str] = ("*",)) -> int:
    """Export the networks of ``pytorch.py`` of these names that are not in the folder yet."""
    from benchmarks.pytorch import TIMM, VISION

    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for kind, table in (("tv", VISION), ("timm", TIMM)):
        for name in table:
            path = folder / f"{kind}_{name}.onnx"
            if not any(fnmatch.fnmatch(one, word) for one in (name, path.stem) for word in names):
                continue
            try:
                if not path.exists():
                    _exported(name, path)
                    print(f"{path.stem}: {path.stat().st_size >> 20} MiB", flush=True)
                if shutil.which("pnnx") and not path.with_suffix(".ncnn.param").exists():
                    _for_ncnn(path)
            except Exception as error:  # whatever an exporter raises: the others go on
                failed += 1
                print(f"{path.stem}: FAILED: {' '.join(str(error).split())[:200]}", flush=True)
    return int(failed > 0)


def _exported(name: str, path: Path) -> None:
    """One network with random weights and statistics, the batch free."""
    import warnings

    import torch

    from benchmarks.pytorch import INFERENCE

    torch.manual_seed(0)
    net, x = INFERENCE[name](2)
    _settle(net)
    part = path.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            (x,),
            str(part),
            opset_version=17,
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
        )
    part.rename(path)


def _for_ncnn(path: Path) -> None:
    """The two files that ncnn reads, beside a file, where its converter can make them."""
    (shape,) = shapes_of(path, 1).values()
    with TemporaryDirectory(prefix="faltung-bench-") as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        command = ["pnnx", path.name, f"inputshape=[{','.join(map(str, shape))}]", "fp16=0"]
        subprocess.run(command, cwd=folder, capture_output=True, check=False)
        stem = path.stem.replace(".", "_")
        for ending in (".ncnn.bin", ".ncnn.param"):
            made = Path(folder) / f"{stem}{ending}"
            if made.exists():
                shutil.copyfile(made, path.with_suffix(ending))


def _settle(net: Any) -> None:
    """Scales, shifts and statistics as if the network were trained: else normalisation does
    nothing, and gates of layers that begin at zero hide what they multiply.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, numbers in [*net.named_parameters(), *net.named_buffers()]:
            if not numbers.is_floating_point() or numbers.numel() < 2:
                continue
            first = numbers.flatten()[0]
            if bool((numbers != first).any()) or bool(torch.isinf(first)):
                continue
            if name.endswith("running_var") or (numbers.ndim == 1 and float(first) > 0):
                numbers.uniform_(0.5, 1.5, generator=generator)
            else:
                numbers.normal_(0, 0.1, generator=generator)
