"""Series (one axis): cylinder, bell or funnel? Learnt from ten of each, noise and all.

    python examples/series.py

A classic of the UCR archive that is made by formulas (N. Saito, "Local feature extraction and its
applications", 1994): somewhere in a series of noise the level rises and falls again, as a step, as
a ramp that breaks off, or as a step that fades. The network is a TCN, causal and dilated; beside it
stands what a plain comparison with the known series says, and how soon the network knows. Needs
nothing but Faltung and NumPy.
"""

import argparse

import numpy as np

from faltung import Model, nets
from faltung.data import Augment

CLASSES = ("cylinder", "bell", "funnel")
LENGTH = 128
OPTIONS = dict(channels=16, kernel=5, dropout=0.2)


def make(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Series (count, 1, LENGTH) and their labels (count,), of each class as many."""
    t = np.arange(LENGTH)
    label = np.arange(count) % 3
    start = rng.integers(16, 33, (count, 1))
    end = start + rng.integers(32, 97, (count, 1))
    ramp = (t - start) / (end - start)
    shape = np.choose(label[:, np.newaxis], [np.ones_like(ramp), ramp, 1 - ramp])
    level = (6 + rng.standard_normal((count, 1))) * ((start <= t) & (t <= end))
    x = level * shape + rng.standard_normal((count, LENGTH))
    return x[:, np.newaxis].astype(np.float32), label


def letters(series: np.ndarray) -> str:
    """A series as bars: the mean of two steps a letter."""
    shades = " ▁▂▃▄▅▆▇█"
    level = series.reshape(-1, 2).mean(1)
    level = (level - level.min()) / np.ptp(level) * (len(shades) - 1)
    return "".join(shades[i] for i in level.round().astype(int))


def nearest(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """For each series the label of the one in ``x`` that is nearest, step by step."""
    away = ((asked[:, np.newaxis, 0] - x[np.newaxis, :, 0]) ** 2).sum(-1)
    return y[away.argmin(1)]


def how_soon(epochs: int, rng: np.random.Generator) -> None:
    """The same network, asked for the class after every step: it knows nothing of later ones."""
    x, y = make(30, rng)
    asked, answers = make(900, rng)
    net = nets.get("tcn", classes=3, input_shape=(1, LENGTH), **OPTIONS, head="every")
    model = Model(net, (1, LENGTH))
    each = np.repeat(y[:, np.newaxis], LENGTH, 1)  # a label for every step
    model.fit(x, each, epochs=epochs, batch=10, lr=0.005, augment=Augment(jitter=0.5), show=False)
    right = (model.predict(asked).argmax(1) == answers[:, np.newaxis]).mean(0)
    print(
        "\nasked after   " + "".join(f"{step:6}" for step in range(16, LENGTH + 1, 16)) + "  steps"
    )
    print("right         " + "".join(f"{part:6.0%}" for part in right[15::16]))

    half = asked.copy()
    half[:, :, LENGTH // 2 :] = 0
    before = slice(0, LENGTH // 2)
    same = np.array_equal(model.predict(half)[..., before], model.predict(asked)[..., before])
    print(f"without the second half, the answers in the first are the same, bit for bit: {same}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100)
    given = parser.parse_args()

    rng = np.random.default_rng(0)
    x, y = make(30, rng)
    asked, answers = make(900, rng)
    for name, series in zip(CLASSES, x[:3, 0], strict=True):
        print(f"{name:9} {letters(series)}")

    net = nets.get("tcn", classes=3, input_shape=(1, LENGTH), **OPTIONS)
    model = Model(net, (1, LENGTH), classes=CLASSES)
    print(f"\n{len(x)} series to learn from, {len(asked)} to judge\n{model}")
    changed = Augment(jitter=0.5, series_shift=10)  # each epoch sees other noise, another place
    history = model.fit(x, y, epochs=given.epochs, batch=10, lr=0.005, augment=changed, show=False)
    said = model.predict(asked).argmax(1)
    simple = nearest(x, y, asked)
    print(f"{len(history)} epochs in {sum(row.seconds for row in history):.1f} s")
    print(f"nearest series  {(simple == answers).mean():.1%} right")
    print(f"network         {(said == answers).mean():.1%} right\n")

    print("what is      taken for " + "".join(f"{name:>10}" for name in CLASSES))
    for label, name in enumerate(CLASSES):
        counts = np.bincount(said[answers == label], minlength=3)
        print(f"{name:23}" + "".join(f"{count:10}" for count in counts))
    how_soon(given.epochs, rng)


if __name__ == "__main__":
    main()
