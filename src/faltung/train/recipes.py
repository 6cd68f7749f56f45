"""How long and how to train a network where nobody says so: by the network and the data's size.

Chosen by measurement on small sets that other packages ship: benchmarks/results/recipes.md. No
NumPy here: the help of the command line prints it.
"""

from dataclasses import replace
from typing import Any, Final

from faltung.geometry.record import dataclass
from faltung.train import defaults

# Fewer samples are trained on in smaller batches, so that an epoch has several.
FEW: Final = 512
SMALL_BATCH: Final = 16
AT_LEAST: Final = 64  # steps in an epoch before batches grow
CAREFUL: Final = 0.25  # of the rate that an estimator takes, for other networks than its own


@dataclass(frozen=True)
class Recipe:
    """What suits a network: steps in all, the fewest and the most epochs, the learning rate of
    adamw and its weight decay, smoothing of labels, and noise in standard deviations. In epochs of
    many batches, the fewest epochs have more steps.

    ``batches``: the fewest and the most samples in a step, where more samples are trained on in
    larger ones. ``decays``: the least and the most weight decay, where ``decay`` is that of one
    sample, and shrinks with their number as if the loss were a sum.
    """

    steps: int
    epochs: tuple[int, int]
    lr: float | None = None
    decay: float = defaults.DECAY
    smoothing: float = defaults.SMOOTHING
    jitter: float = 0.0
    batches: tuple[int, int] | None = None
    decays: tuple[float, float] | None = None

    def words(self) -> str:
        """As options of the command line."""
        given = {"lr": self.lr, "decay": self.decay, "smoothing": self.smoothing}
        usual = {"lr": None, "decay": defaults.DECAY, "smoothing": defaults.SMOOTHING}
        said = [f"--{name} {value:g}" for name, value in given.items() if value != usual[name]]
        least, most = self.epochs
        return " ".join([f"--epochs {least} to {most}", *said])

    def length(self, batches: int) -> int:
        """How many epochs of so many batches."""
        least, most = self.epochs
        return min(max(round(self.steps / max(batches, 1)), least), most)

    def batch(self, samples: int) -> int:
        """Samples in a step, of so many in an epoch."""
        if self.batches is None:
            return SMALL_BATCH if samples < FEW else defaults.BATCH
        least, most = self.batches
        return min(max(least, 1 << (max(samples // AT_LEAST, 1).bit_length() - 1)), most)

    def shrink(self, samples: int) -> float:
        """The weight decay for so many samples."""
        if self.decays is None:
            return self.decay
        least, most = self.decays
        return min(max(self.decay / samples, least), most)


USUAL: Final = Recipe(600, (defaults.EPOCHS, 100))
RECIPES: Final = {
    "convnet": Recipe(1000, (defaults.EPOCHS, 100), 0.01, 0.05, 0.05),
    "tcn": Recipe(1000, (defaults.EPOCHS, 100)),
    "mlp": Recipe(2000, (defaults.EPOCHS, 200), 0.01, 0.1),
}


# Of scikit-learn's estimators, whose samples are tables or have positions: by cross-validation on
# the small sets that scikit-learn ships and generates.
ESTIMATORS: Final = {
    "table": Recipe(1000, (40, 100), 0.04, 150, batches=(32, 256), decays=(0.05, 0.5)),
    "grid": Recipe(1000, (8, 100), 0.02, 600, 0.1, 0.3, (32, 128), (0.05, 0.5)),
}


def recipe(net: str) -> Recipe:
    """The recipe of a network of the table."""
    return RECIPES.get(net, USUAL)


def of_estimator(positions: bool, own: bool) -> Recipe:
    """The recipe of an estimator, whose network is its ``own`` or another."""
    found = ESTIMATORS["grid" if positions else "table"]
    assert found.lr is not None
    return found if own else replace(found, lr=CAREFUL * found.lr)


def settings_of(net: str, samples: int, given: dict[str, Any], tuned: bool) -> dict[str, Any]:
    """Settings of a run, where they are not ``given``. tuned: whether the weights are from another
    training, whose rate and decay a recipe does not know.
    """
    found = recipe(net)
    batch = given.get("batch", found.batch(samples))
    made: dict[str, Any] = {"batch": batch, "epochs": found.length(-(-samples // max(batch, 1)))}
    if given.get("optimizer", defaults.OPTIMIZER) == defaults.OPTIMIZER and not tuned:
        made |= {"lr": found.lr, "decay": found.decay}
    if given.get("loss", defaults.LOSS) == defaults.LOSS:
        made["smoothing"] = found.smoothing
    return made | {"jitter": found.jitter} | given


def usual(data: str, net: str, samples: int, given: dict[str, Any], tuned: bool) -> dict[str, Any]:
    """Settings of a run from what is given and what is known to work well: for these data with
    this network, else for the network and so many samples. Changes of samples are among them.
    """
    known = defaults.PRESETS.get((data, net))
    if known is None:
        return settings_of(net, samples, given, tuned)
    if given.get("optimizer", defaults.OPTIMIZER) != defaults.OPTIMIZER:
        # Rates of one optimizer do not suit another.
        known = {name: value for name, value in known.items() if name not in ("lr", "decay")}
    return {**known, **given}
