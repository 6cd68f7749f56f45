"""How far probabilities can be trusted: the share of right answers by how sure they were.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Answers in bins of equal width of their probability, without those that are empty.

    sure: the mean probability of each; right: its share of right answers; share: of all answers
    that are in it. error: the expected calibration error, the mean over answers of the distance of
    the two.
    """

    sure: tuple[float, ...]
    right: tuple[float, ...]
    share: tuple[float, ...]
    error: float


def calibration(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Calibration | None:
    """Of logits (n, classes) and labels (n,); those of -1 do not count. None: there are none."""
    known = labels >= 0
    made = logits[known].astype(np.float64)
    if not len(made):
        return None
    made -= made.max(1, keepdims=True)
    sure = 1 / np.exp(made).sum(1)  # of the largest one
    right = made.argmax(1) == labels[known]
    place = np.minimum(np.floor(sure * BINS), BINS - 1)
    found = [(sure[place == i], right[place == i]) for i in range(BINS) if (place == i).any()]
    rows = [(float(p.mean()), float(r.mean()), len(p) / len(sure)) for p, r in found]
    error = sum(part * abs(p - r) for p, r, part in rows)
    confidence, correct, share = (tuple(column) for column in zip(*rows, strict=True))
    return Calibration(confidence, correct, share, error)
