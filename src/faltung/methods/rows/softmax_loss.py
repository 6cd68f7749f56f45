"""What both kinds of rows share: the target of cross-entropy, and the loss of a row."""

from faltung.codegen import math
from faltung.codegen.vectors import Vectors


class Targets:
    """The numbers of a call in every lane; ``channels`` is their number, as a vector.

    scale: of the gradient. keep and rest: what the target gives the label beyond the others, and
    what it gives each. minus_label, minus_rest: the whole targets, negative.
    """

    def __init__(self, v: Vectors, channels: str) -> None:
        f = v.function
        self.scale = v.broadcast(f.pointer("%words", 7))
        smoothing = v.broadcast(f.pointer("%words", 8))
        self.keep = v.sub(v.constant(1.0), smoothing)
        self.rest = v.div(smoothing, channels)
        self.minus_rest = v.neg(self.rest)
        self.minus_label = v.sub(self.minus_rest, self.keep)


def loss(v: Vectors, targets: Targets, total: str, chosen: str, away: str) -> str:
    """``- sum t log p``; ``chosen``: the logit of the label less the largest, ``away``: the sum of
    all, each less the largest.

    ``log p_c = away_c - log total``, and the targets add up to 1.
    """
    value = math.log(v, total)
    for weight, distance in ((targets.keep, chosen), (targets.rest, away)):
        # What has no weight does not count, be it infinite.
        share = v.select(v.compare("oeq", weight, v.zero), v.zero, v.mul(weight, distance))
        value = v.sub(value, share)
    return value
