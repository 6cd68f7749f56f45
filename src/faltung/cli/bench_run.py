"""``faltung bench RUN``: how fast a trained network answers, by size of batch, and its memory."""

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.train.model import Model

BATCHES = (1, 8, 32, 128)
# Seconds of each size of batch, and the fewest calls.
SECONDS, CALLS = 0.5, 5


def run(arguments: argparse.Namespace) -> int:
    """Time the network, and print a line for each size of batch."""
    from faltung.geometry.check import whole
    from faltung.runtime.threads import get_threads, set_threads
    from faltung.train.opened import open_model

    for name in ("shape", "peers"):
        if getattr(arguments, name):
            raise FaltungError(f"{name}: applies to ONNX models, not to runs")
    if arguments.threads is not None:
        set_threads(arguments.threads)
    sizes = BATCHES if arguments.batch is None else (whole("batch", arguments.batch, 1),)
    model = open_model(arguments.model)
    rows = [_row(model, size) for size in sizes]
    if arguments.json:
        print(json.dumps({"threads": get_threads(), "results": rows}, indent=2))
        return 0
    threads = get_threads()
    print(f"{threads} thread{'s' * (threads > 1)}; milliseconds a batch")
    print(f"{'batch':>6}  {'least':>9}  {'median':>9}  {'samples/s':>10}  {'first':>9}  {'MB':>7}")
    for row in rows:
        memory = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:7,.0f}"
        print(
            f"{row['batch']:6}  {1e3 * row['least']:9.3f}  {1e3 * row['median']:9.3f}  "
            f"{row['samples_per_second']:10,.1f}  {1e3 * row['first']:9.1f}  {memory:>7}"
        )
    return 0


def _row(model: "Model", batch: int) -> dict[str, Any]:
    """The times of one size of batch, in seconds; and the most memory the process has had."""
    from statistics import median

    x = _samples(model, batch)
    begun = time.perf_counter()
    model.predict(x)
    first = time.perf_counter() - begun
    times: list[float] = []
    while len(times) < CALLS or sum(times) < SECONDS:
        begun = time.perf_counter()
        model.predict(x)
        times.append(time.perf_counter() - begun)
    middle = median(times)
    return {
        "batch": batch,
        "least": min(times),
        "median": middle,
        "samples_per_second": batch / middle,
        "first": first,
        "bytes": _memory(),
    }


def _samples(model: "Model", batch: int) -> Any:
    """Samples that are the same at every call: noise, or the first words of a vocabulary."""
    from math import prod

    import numpy as np

    from faltung.runtime.memory import require

    shape = (batch, *model.input_shape)
    require(8 * prod(shape), f"batch={batch}: the samples")
    if model.tokens:
        return np.zeros(shape, np.int64)
    return np.random.default_rng(0).random(shape, np.float32)


def _memory() -> int | None:
    """The most bytes that the process has had in memory so far; None where that is not known."""
    import sys

    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
