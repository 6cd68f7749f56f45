"""How long and how to train a network where nobody says so: by the network and the data's size.

Chosen by measurement on small sets that other packages ship: benchmarks/results/recipes.md. No
NumPy here: the help of the command line prints it.
"""

from typing import Any, Final

from faltung.geometry.record import dataclass
from faltung.train import defaults

# Fewer samples are trained on in smaller batches, so that an epoch has several.
FEW: Final = 512
SMALL_BATCH: Final = 16


@dataclass(frozen=True)
class Recipe:
    """What suits a network: steps in all, the fewest and the most epochs, the learning rate of
    adamw and its weight decay, smoothing of labels, and noise in standard deviations. In epochs of
    many batches, the fewest epochs have more steps.
    """

    steps: int
    epochs: tuple[int, int]
    lr: float | None = None
    decay: float = defaults.DECAY
    smoothing: float = defaults.SMOOTHING
    jitter: float = 0.0

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


USUAL: Final = Recipe(600, (defaults.EPOCHS, 100))
RECIPES: Final = {
    "convnet": Recipe(1000, (defaults.EPOCHS, 100), 0.01, 0.05, 0.05),
    "tcn": Recipe(1000, (defaults.EPOCHS, 100)),
    "mlp": Recipe(2000, (defaults.EPOCHS, 200), 0.01, 0.1),
}


def recipe(net: str) -> Recipe:
    """The recipe of a network of the table."""
    return RECIPES.get(net, USUAL)


def batch_of(samples: int) -> int:
    """Samples in a step, of so many in an epoch."""
    return SMALL_BATCH if samples < FEW else defaults.BATCH


def settings_of(net: str, samples: int, given: dict[str, Any], tuned: bool) -> dict[str, Any]:
    """Settings of a run, where they are not ``given``. tuned: whether the weights are from another
    training, whose rate and decay a recipe does not know.
    """
    found = recipe(net)
    batch = given.get("batch", batch_of(samples))
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
