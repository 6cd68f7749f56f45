"""Small data, small networks, and commands in processes of their own, for the tests of training."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from limits import limit

import faltung
from faltung import nn
from faltung.data.source import ArraySource
from faltung.formats.tensors import load_tensors
from faltung.train.metrics import EpochMetrics, from_csv

Array = npt.NDArray[Any]
SOURCE = Path(faltung.__file__).parents[1]

# What a child runs: the command line, with checkpoints after every batch.
EAGER = """
import sys
from faltung.train import loop
loop.EPOCH_SAVE_SECONDS = loop.BATCH_SAVE_SECONDS = loop.SAVE_TIME_RATIO = 0
from faltung.cli.main import main
"""


def shapes(count: int, space: tuple[int, ...] = (8, 8), seed: int = 0) -> tuple[Array, Array]:
    """x (n, 1, *space): noise, and a bright stretch along the axis that is the class; y (n,)."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % max(len(space), 2)
    x = 0.3 * rng.standard_normal((count, 1, *space))
    for sample, label in zip(x, y, strict=True):
        line = [rng.integers(0, size) for size in space]
        place: list[Any] = [0, *line]
        if len(space) > 1:
            place[1 + label] = slice(None)
        else:
            place[1] = slice(line[0] // 2, line[0] // 2 + (2 if label else 5))
        sample[tuple(place)] += 2
    return x.astype(np.float32), y


def maps(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Pictures (n, 1, 8, 8) and a label for each position: whether it is bright."""
    x, _ = shapes(count, seed=seed)
    return x, (x[:, 0] > 1).astype(np.int64)


def source(count: int = 48, seed: int = 0) -> ArraySource:
    return ArraySource(*shapes(count, seed=seed), kind="picture")


def net(outputs: int = 2) -> nn.Layer:
    """A convolution, normalised; dropout; a linear layer."""
    return nn.Sequential(
        *(nn.Conv(8, 3, padding="same"), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2)),
        *(nn.Flatten(), nn.Dropout(0.25), nn.Linear(outputs)),
    )


def command(*words: object, code: str = EAGER) -> list[str]:
    """The command line in a fresh interpreter, after some ``code``."""
    return [sys.executable, "-c", f"{code}\nsys.exit(main(sys.argv[1:]))", *map(str, words)]


def environment(**changes: str) -> dict[str, str]:
    """For a child: this checkout."""
    return {**os.environ, "PYTHONPATH": str(SOURCE), **changes}


def run(*words: object, code: str = EAGER, **more: Any) -> subprocess.CompletedProcess[str]:
    """`faltung words` in a process of its own."""
    return subprocess.run(
        command(*words, code=code),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=limit(120),
        **more,
    )


def tensors(path: Path) -> dict[str, bytes]:
    """Each tensor of a file as bytes."""
    return {name: value.tobytes() for name, value in load_tensors(path)[0].items()}


def rows(path: Path) -> list[tuple[object, ...]]:
    """The rows of a run without what a clock has measured."""
    return [timeless(row) for row in from_csv((path / "metrics.csv").read_text(), "metrics")]


def timeless(row: EpochMetrics) -> tuple[object, ...]:
    found = vars(row) if hasattr(row, "__dict__") else {}
    return tuple(v for k, v in found.items() if k not in ("seconds", "samples_per_second"))
