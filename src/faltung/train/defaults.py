"""What is taken where nobody says anything: settings of training, a network for a kind of data,
settings for known data.

No NumPy here: the help of the command line prints all of it.
"""

from typing import Any, Final

EPOCHS: Final = 20
BATCH: Final = 32
OPTIMIZER: Final = "adamw"
LR: Final = {"sgd": 0.05, "adamw": 0.003}  # by the optimizer
MOMENTUM: Final = 0.9  # of sgd
DECAY: Final = 1e-4
SCHEDULE: Final = "one_cycle"
WARMUP: Final = 0.0
LOSS: Final = "cross_entropy"
SMOOTHING: Final = 0.0
SEED: Final = 0
PRECISION: Final = "fast"
HELD_OUT: Final = 0.2  # of the samples, by the command line

# The network for data that nobody named one for; "maps" have a label for each position.
USUAL = {
    "picture": "lenet5",
    "maps": "unet",
    "series": "tcn",
    "volume": "resnet3d18",
    "text": "textcnn",
}
# (data, network) -> settings that do well there, found by trying. What is said wins.
#
# Digits are cut out to the frame, so shifts would cut strokes off; the counts of dark points are
# coarse, and noise of a third of their spread does as well as many more writers.
PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("digits", "lenet5"): {
        "epochs": 80,
        "lr": 0.01,
        "decay": 0.2,
        "smoothing": 0.05,
        "jitter": 0.3,
    },
    ("digits", "googlenet"): {"epochs": 30, "decay": 0.05, "smoothing": 0.05, "jitter": 0.3},
}


def words(data: str, net: str) -> str:
    """A row of ``PRESETS`` as options of the command line."""
    return " ".join(f"--{name} {value}" for name, value in PRESETS[data, net].items())
