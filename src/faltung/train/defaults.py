"""Defaults: settings of training, the network for a kind of data, settings for known data.

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
SAMPLER: Final = "shuffled"
DISTIL: Final = 0.5  # of the loss, where there is a teacher
TEMPERATURE: Final = 2.0  # of its answers
SEED: Final = 0
PRECISION: Final = "fast"
HELD_OUT: Final = 0.2  # of the samples, by the command line

# What the best epoch can be chosen by (``scores.py``), and what help says of it.
METRICS: Final = {
    "loss": "the loss, without smoothing and weights",
    "accuracy": "the share of right ones",
    "top5": "the share whose class is among the five likeliest",
    "balanced_accuracy": "mean recall of the classes",
    "f1": "F1, macro: the mean over classes",
    "precision": "precision, macro",
    "recall": "recall, macro",
    "jaccard": "intersection over union, macro",
    "kappa": "Cohen's kappa",
    "mcc": "Matthews correlation",
    "auc": "area under ROC, one-vs-rest",
    "average_precision": "by recall, one-vs-rest",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "explained share of the variance",
}

# Steps of a short series: there the place of a step says something (an hour of the day), which the
# mean over time of a TCN would lose.
SHORT: Final = 32
# The network for each kind of data; "maps" have a label for each position.
USUAL = {
    "picture": "convnet",
    "maps": "unet",
    "series": "tcn",
    "short series": "convnet",
    "volume": "resnet3d18",
    "text": "textcnn",
    "table": "mlp",
}
# The network for known data, where it is another one.
USUAL_OF_DATA = {"digits": "lenet5"}
# (data, network) -> settings that work well there, found by experiment. Explicit settings win.
#
# Digits fill their frame, so shifts would cut strokes off. Pixels are coarse counts of dark points;
# noise of a third of their standard deviation helps as much as many more writers would.
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
