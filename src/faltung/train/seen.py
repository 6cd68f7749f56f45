"""Whether samples are those that a network was trained on, so that nobody takes memory for skill.

A network answers better on samples that it was trained on. Where it is evaluated on them it says
so, and what it reaches on the part of them that was held out.
"""

import hashlib
import warnings
from collections.abc import Sequence

import numpy as np

from faltung.data.source import Source, split
from faltung.geometry.record import dataclass
from faltung.train.evaluate import evaluate
from faltung.train.network import Network


@dataclass(frozen=True, slots=True)
class Seen:
    """Samples of which a network in memory was trained on all but a ``part``. ``mark``: by which
    they are known.
    """

    mark: str
    part: float
    seed: int


def mark_of(source: Source) -> str:
    """What tells these samples from others: shape, targets and a few of the samples themselves."""
    digest = hashlib.sha256(np.ascontiguousarray(source.targets).tobytes())
    digest.update(repr((len(source), source.shape, source.classes)).encode())
    for at in sorted({0, len(source) // 2, len(source) - 1}):
        digest.update(np.ascontiguousarray(source.read(np.array([at]))).tobytes())
    return digest.hexdigest()


def warn(
    model: Network, seen: Seen | None, source: Source, loss: str, names: Sequence[str]
) -> None:
    """A UserWarning where ``source`` is what ``fit`` was given, with what it held out."""
    if seen is None or mark_of(source) != seen.mark:
        return
    train, held = split(source, seen.part, seed=seen.seed)
    found = evaluate(model, held, loss, metrics=names).metrics()
    said = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    warnings.warn(
        f"x: the model was trained on {len(train):,} of these {len(source):,} samples; on the "
        f"{len(held):,} that fit held out: {said}",
        UserWarning,
        stacklevel=4,
    )
