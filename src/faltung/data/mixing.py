"""Samples mixed with others of their batch, and their targets with them.

H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR
2018; S. Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable
features", ICCV 2019.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.erase import boxes

Floats = npt.NDArray[np.float32]
Random = np.random.Generator


def soft(labels: npt.NDArray[Any], classes: int) -> Floats:
    """Labels (n,) as probabilities (n, classes); those of -1 have none. Numbers as they are."""
    if labels.dtype.kind == "f":
        return np.asarray(labels, np.float32)
    made = np.zeros((len(labels), classes), np.float32)
    known = np.flatnonzero(labels >= 0)
    made[known, labels[known]] = 1
    return made


def mix(x: Floats, y: Floats, mixup: float, cutmix: float, random: Random) -> tuple[Floats, Floats]:
    """Each sample mixed with another one of the batch: by a share of Beta(mixup, mixup), or with a
    box of it, of a part drawn from Beta(cutmix, cutmix); where both are above 0, batches take turns
    at random. The targets are mixed by the share that is seen.
    """
    partner = random.permutation(len(x))
    boxed = cutmix > 0 and (mixup == 0 or random.random() < 0.5)
    alpha = cutmix if boxed else mixup
    share = random.beta(alpha, alpha, len(x))
    if boxed:
        inside = boxes(1 - share, np.ones((len(x), x.ndim - 2)), x.shape[2:], random)
        x = np.where(inside, x[partner], x)
        share = 1 - inside.reshape(len(x), -1).mean(1)
    else:
        wide = share.astype(np.float32).reshape(-1, *(1,) * (x.ndim - 1))
        x = np.asarray(wide * x + (1 - wide) * x[partner], np.float32)
    of = share.astype(np.float32).reshape(-1, *(1,) * (y.ndim - 1))
    return x, np.asarray(of * y + (1 - of) * y[partner], np.float32)
