"""``python -m benchmarks quantised``: networks in 8 bits beside ONNX Runtime, and beside float32.

    python -m benchmarks quantised models --export        # three networks, in float32 and as QDQ
    python -m benchmarks quantised models --threads 1     # those, in about a minute
    python -m benchmarks quantised --page benchmarks/results/quantised-1-threads.jsonl

The networks are quantised by ONNX Runtime's own tool: activations uint8, weights int8 for each
channel, calibrated with random numbers, which is enough for times. Weights take 7 bits, as that
tool advises for processors without VNNI, whose products of pairs saturate there; ours are exact
with all 8 (times are the same). How it is measured: as ``python -m benchmarks onnx``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import onnx_files
from benchmarks.page import page
from benchmarks.processes import cores
from benchmarks.results import Row, Run
from benchmarks.stats import geometric_mean
from benchmarks.words import NOTHING, number, table

NETWORKS = ("resnet50", "mobilenet_v2", "googlenet")
PEERS = ("faltung", "onnxruntime")
WHOLE = ".int8"  # how the names of quantised files end
SAMPLES = 4  # of the calibration
# The least speed that is asked for, against ONNX Runtime in 8 bits and ours in float32.
WANTED = 1.2, 1.0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks quantised",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("folder", nargs="?", type=Path, help="of the files")
    add("names", nargs="*", default=[*NETWORKS], help=f"some of {', '.join(NETWORKS)}")
    add("--export", action="store_true", help="make the files that are not there yet, and end")
    add("--threads", type=int, default=len(cores()), help="for every peer (default: %(default)s)")
    add("--rounds", type=int, default=onnx_files.ROUNDS, help="turns of every peer (%(default)s)")
    add("--seconds", type=float, default=onnx_files.SECONDS, help="of a round (%(default)s)")
    add("--out", type=Path, help="JSON lines to add to (results/quantised-N-threads.jsonl)")
    add("--page", type=Path, metavar="JSONL", help="measure nothing: write the page of this file")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser()
    given = made.parse_args(arguments)
    out = given.page or given.out
    out = out or onnx_files.FOLDER / f"quantised-{given.threads}-threads.jsonl"
    if given.page is None:
        if given.folder is None:
            made.error("folder: of the files, or --page")
        if given.export:
            return export(given.folder, given.names)
        files = [
            given.folder / f"tv_{name}{end}.onnx" for name in given.names for end in ("", WHOLE)
        ]
        missing = [path.name for path in files if not path.exists()]
        if missing:
            made.error(f"folder={str(given.folder)!r}: lacks {', '.join(missing)}; --export")
        given.batch, given.peers, given.budget = [1], list(PEERS), None
        onnx_files.measure(given, files, out)
    path = out.with_suffix(".md")
    path.write_text(page_of(onnx_files.read(out)))
    print(f"wrote {path}")
    return 0


# The page -----------------------------------------------------------------------------------------


def page_of(run: Run) -> str:
    """The page of files, with a table of the networks in front of the rows."""
    head, rest = page(run).split("## Peers", 1)
    head = head.replace("# Benchmark results: networks as ONNX files", TITLE)
    return f"{head}{compared(run)}\n\n## Peers{rest}"


TITLE = "# Benchmark results: quantised networks"


def compared(run: Run) -> str:
    """Each network in both forms by both peers, at batch 1."""
    rows = {row.name: row for row in run.rows}
    lines, means = [], ([], [])  # type: tuple[list[list[str]], tuple[list[float], list[float]]]
    for name in rows:
        if name.endswith(WHOLE) or f"{name}{WHOLE}" not in rows:
            continue
        real, whole = rows[name], rows[f"{name}{WHOLE}"]
        times = [_ms(row, peer) for peer in PEERS for row in (whole, real)]
        speeds = [_times(whole.ns(PEERS[1]), whole), _times(real.ns(PEERS[0]), whole)]
        for found, speed in zip(means, speeds, strict=True):
            found += [speed] if speed else []
        lines.append([name, *times, *map(number, speeds)])
    lines.append(["geometric mean", *[""] * 4, *(number(geometric_mean(each)) for each in means)])
    heads = [
        "milliseconds",
        *("ours, 8 bits", "ours, float32", "ONNX Runtime, 8 bits", "ONNX Runtime, float32"),
        *("ONNX Runtime / ours, 8 bits", "ours, float32 / 8 bits"),
    ]
    asked = f"Asked for: at least {WANTED[0]:g} and {WANTED[1]:g} times."
    return f"## Networks\n\n{table(heads, lines)}\n\n{asked}"


def _ms(row: Row, peer: str) -> str:
    ns = row.ns(peer)
    return NOTHING if ns is None else f"{ns / 1e6:.2f}"


def _times(ns: int | None, whole: Row) -> float | None:
    ours = whole.ns(PEERS[0])
    return None if ns is None or ours is None else ns / ours


# Making the files ---------------------------------------------------------------------------------


def export(folder: Path, names: Sequence[str]) -> int:
    """The networks with random weights, and what ONNX Runtime's quantiser makes of them."""
    failed = onnx_files.export(folder, [f"tv_{name}" for name in names])
    for name in names:
        path = folder / f"tv_{name}.onnx"
        made = path.with_suffix(f"{WHOLE}.onnx")
        if path.exists() and not made.exists():
            quantise(path, made)
            print(f"{made.stem}: {made.stat().st_size >> 20} MiB", flush=True)
    return failed


def quantise(path: Path, made: Path) -> None:
    """A file as QDQ, for one sample."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from benchmarks.file_problem import FileProblem, shapes_of, text_of

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            inputs = FileProblem(text_of(path, shapes_of(path, 1))).inputs
            self.left = [
                {n: x * (0.8 + 0.1 * i) for n, x in inputs.items()} for i in range(SAMPLES)
            ]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    ready = made.with_suffix(".ready")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, ready)
    quant_pre_process(str(ready), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready),
        str(made),
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,  # int8 takes ONNX Runtime half as long again on AVX2
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
    )
    ready.unlink()
