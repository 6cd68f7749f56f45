"""``faltung bench``: an ONNX model beside other runtimes, or a run by size of batch."""

import argparse
from pathlib import Path

ARGUMENTS = {"n": "threads"}

HELP = """\
Each runtime that is installed runs in a process of its own, in turns with the
others, on the same random inputs. "first" is the time to load the model and to
run it once; "apart" the largest difference from our outputs, relative to their
largest number.

Of a run or a saved model, the time of a batch, the samples a second and the
most memory that the process has had, for several sizes of batch. "first" is the
first call, which compiles.

examples:
  faltung bench runs/pictures-resnet18-001
  faltung bench resnet18.onnx
  faltung bench detector.onnx --shape 1x3x480x640 --peers onnxruntime
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bench``."""
    parser.epilog = HELP
    parser.add_argument("model", metavar="MODEL", help="a file model.onnx, a run or a saved model")
    parser.add_argument(
        "--batch", type=int, metavar="N", help="samples (default: 1; of a run several sizes)"
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="1x3x224x224",
        help="of an input whose sizes the file leaves free, or NAME=1x3x224x224",
    )
    parser.add_argument(
        "--peers", metavar="NAMES", help="onnxruntime,openvino (default: those installed)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="number of threads (default: one per core)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Time the model, and print a line for each runtime, or of a run for each size of batch."""
    if not arguments.model.lower().endswith(".onnx"):
        from faltung.cli import bench_run

        return bench_run.run(arguments)
    from dataclasses import asdict

    from faltung.cli.run import random_inputs
    from faltung.geometry.check import whole
    from faltung.onnx.model import load
    from faltung.onnx.peers import chosen, compare
    from faltung.runtime.threads import get_threads, set_threads

    batch = 1 if arguments.batch is None else whole("batch", arguments.batch, 1)
    peers = chosen(None if arguments.peers is None else arguments.peers.split(","))
    if arguments.threads is not None:
        set_threads(arguments.threads)
    threads = get_threads()
    inputs = random_inputs(load(arguments.model), arguments.shape, batch)
    results = compare(Path(arguments.model), inputs, threads, peers)
    if arguments.json:
        import json

        print(json.dumps({"threads": threads, "results": list(map(asdict, results))}, indent=2))
        return 0
    print(f"{threads} thread{'s' * (threads > 1)}; milliseconds")
    print(f"{'':12}  {'least':>9}  {'median':>9}  {'first':>9}  {'times':>6}  {'apart':>8}")
    ours = results[0].least
    for row in results:
        if row.error:
            print(f"{row.peer:12}  {row.error}")
            continue
        times = f"{row.least / ours:6.2f}" if ours else ""
        print(
            f"{row.peer:12}  {1e3 * row.least:9.3f}  {1e3 * row.median:9.3f}  "
            f"{1e3 * row.first:9.1f}  {times:>6}  {row.difference:8.1e}"
        )
    return 0
