"""``python -m benchmarks beside``: networks of ours by turns with convolutions of PyTorch.

A network is run alone; by turns with a convolution of PyTorch, each on threads of its own, which
spin on each other's cores; by turns on PyTorch's threads, as in a process that imports
``faltung.torch``; and by turns with a PyTorch of one thread, which has nobody to spin: what is left
there beyond the first is what caches have lost. Each time is the median of a few calls, and of
these, from rounds that alternate, the least.
"""

import argparse
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, sleep

import numpy as np

import faltung
from benchmarks.accuracy import head, line
from faltung import Model, nets
from faltung.runtime import team

# Name, shape of a sample, batch, and calls in a round.
ROWS = (
    ("lenet5", (1, 28, 28), 8, 30),
    ("lenet5", (1, 28, 28), 32, 30),
    ("resnet18", (3, 32, 32), 8, 15),
    ("googlenet", (3, 224, 224), 1, 6),
)
# Whether PyTorch takes turns, on how many of its threads (0: all), and whether we join them.
WAYS = {
    "alone": (False, 0, False),
    "own threads": (True, 0, False),
    "joined": (True, 0, True),
    "PyTorch has one": (True, 1, False),
}
PAUSE_SECONDS = 0.03  # after which nobody spins any more

Times = dict[str, tuple[float, float]]


def least(
    ours: Callable[[], object], theirs: Callable[[], object], calls: int, rounds: int, threads: int
) -> Times:
    """Seconds of our call and of theirs, in each way."""
    import torch

    from faltung.torch.threads import found

    openmp, times = found(), {way: (float("inf"), float("inf")) for way in WAYS}
    for _ in range(rounds):
        for way, (turns, number, joined) in WAYS.items():
            torch.set_num_threads(number or threads)
            team.join(openmp if joined else None)
            sleep(PAUSE_SECONDS)
            seen = _timed(ours, theirs if turns else None, calls)
            times[way] = (min(times[way][0], seen[0]), min(times[way][1], seen[1]))
    return times


def _timed(
    ours: Callable[[], object], theirs: Callable[[], object] | None, calls: int
) -> tuple[float, float]:
    mine, other = [], []
    for _ in range(calls + 2):
        begin = perf_counter()
        if theirs is not None:
            theirs()
        middle = perf_counter()
        ours()
        mine.append(perf_counter() - middle)
        other.append(middle - begin)
    return median(mine[2:]), median(other[2:])


def _call(name: str, shape: tuple[int, ...], batch: int) -> Callable[[], object]:
    model = Model(nets.get(name), shape)
    x = np.random.default_rng(0).standard_normal((batch, *shape), dtype=np.float32)
    model.predict(x)
    return lambda: model.predict(x)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks beside", description=__doc__)
    add = parser.add_argument
    add("--only", metavar="NETWORK", default="", help="(all)")
    add("--threads", type=int, default=2, help="(%(default)s)")
    add("--rounds", type=int, default=10, help="(%(default)s)")
    options = parser.parse_args(arguments)
    import torch

    filters, x = torch.ones(64, 64, 3, 3), torch.ones(1, 64, 28, 28)
    before, joined, of_pytorch = faltung.get_threads(), team.joined(), torch.get_num_threads()
    faltung.set_threads(options.threads)
    try:
        print(*head("network, us", *WAYS, "their convolution", "theirs, joined"), sep="\n")
        for name, shape, batch, calls in ROWS:
            if options.only and options.only != name:
                continue
            ours = _call(name, shape, batch)
            times = least(
                ours,
                lambda: torch.conv2d(x, filters, padding=1),
                calls,
                options.rounds,
                options.threads,
            )
            shown = [own for own, _ in times.values()]
            shown += [times[way][1] for way in ("own threads", "joined")]
            print(line(f"{name} n{batch}", *(f"{1e6 * each:,.0f}" for each in shown)), flush=True)
    finally:
        faltung.set_threads(before)
        torch.set_num_threads(of_pytorch)
        team.join(joined)
    return 0
