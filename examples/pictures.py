"""Pictures (two axes): classifies handwritten digits, and shows those it gets wrong.

    python examples/pictures.py

What ``faltung train digits`` does, as ten lines of Python: 1,797 real digits of 8 x 8 pixels, a
fifth of them held out, and a small network. Needs only Faltung and NumPy.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from faltung import Model, nn
from faltung.data import Augment, open_source, split

SHOWN = 4


def letters(picture: np.ndarray) -> list[str]:
    """The rows of a picture (height, width) of values 0 to 1, as text, two letters per pixel."""
    shades = " .:-=+*#%@"
    level = (picture * (len(shades) - 1)).round().astype(int)
    return ["".join(2 * shades[i] for i in row) for row in level]


def network() -> nn.Layer:
    """Two convolutions, max pooling and a linear layer, from (1, 8, 8) to (10,)."""
    return nn.Sequential(
        *(nn.Conv(32, 3, padding="same"), nn.BatchNorm(), nn.ReLU()),
        *(nn.Conv(64, 3, padding="same"), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2)),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(10),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()

    digits = open_source("digits")
    train, held = split(digits, 0.2, seed=0)
    model = Model(network(), digits.shape, classes=digits.classes)
    print(f"{len(train)} digits to train on, {len(held)} held out\n{model}")
    history = model.fit(train, epochs=given.epochs, augment=Augment(shift=1), show=False)
    print(f"{len(history)} epochs in {sum(row.seconds or 0 for row in history):.1f} s")

    said = model.predict(held)
    wrong = np.flatnonzero(said.argmax(1) != held.targets)
    print(f"{1 - len(wrong) / len(held):.1%} of those held out are right, {len(wrong)} wrong\n")
    worst = wrong[np.argsort(-said[wrong].max(1))][:SHOWN]
    pictures = [letters(picture) for picture in held.read(worst)[:, 0]]
    for row in zip(*pictures, strict=True):
        print("   ".join(row))
    captions = (f"{held.targets[i]}, said {said[i].argmax()} ({said[i].max():.0%})" for i in worst)
    print("   ".join(caption.ljust(16) for caption in captions))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.safetensors"
        model.save(path)
        again = Model.load(path)
        same = np.array_equal(again.predict(held), said)
        print(
            f"\nsaved in {path.stat().st_size:,} bytes; loaded again, it predicts the same: {same}"
        )


if __name__ == "__main__":
    main()
