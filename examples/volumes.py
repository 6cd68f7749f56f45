"""Volumes (three axes): is the ball solid, hollow or two? The mean brightness says nothing.

    python examples/volumes.py

Small scans of 16 x 16 x 16 points, made by formulas: a solid ball, a shell, or two small balls,
anywhere, of as much mass, under noise. In one slice a shell is a ring and two balls may be one; the
network, an 18-layer residual network for volumes at an eighth of its width, sees all three axes.
Needs nothing but Faltung and NumPy.
"""

import argparse

import numpy as np

from faltung import Model, nets
from faltung.data import Augment

CLASSES = ("ball", "shell", "two balls")
SIDE = 16
NOISE = 0.5


def make(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Volumes (count, 1, SIDE, SIDE, SIDE) of mean near 0 and their labels (count,)."""
    label = np.arange(count) % 3
    x = np.stack([one(CLASSES[kind], rng) for kind in label])
    return (x + NOISE * rng.standard_normal(x.shape))[:, np.newaxis].astype(np.float32), label


def one(kind: str, rng: np.random.Generator) -> np.ndarray:
    """One volume (SIDE, SIDE, SIDE) without noise; whatever the kind, its values sum to 0."""
    points = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), -1)
    centre = rng.uniform(6, SIDE - 7, 3)
    radius = rng.uniform(3, 4.5)
    away = np.linalg.norm(points - centre, axis=-1)
    if kind == "ball":
        made = away < radius
    elif kind == "shell":
        made = (away < 1.2 * radius) & (away > 0.9 * radius)
    else:
        side = rng.standard_normal(3)
        side *= 0.8 * radius / np.linalg.norm(side)
        near = [np.linalg.norm(points - centre - s, axis=-1) for s in (side, -side)]
        made = np.minimum(*near) < 0.75 * radius
    mass = 4 / 3 * np.pi * radius**3
    return made * (mass / made.sum()) - mass / SIDE**3


def letters(plane: np.ndarray) -> list[str]:
    """A plane (height, width) as letters, two a point."""
    shades = " .:-=+*#%@"
    level = np.clip((plane + 0.5) / 2, 0, 1) * (len(shades) - 1)
    return ["".join(2 * shades[i] for i in row) for row in level.round().astype(int)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    given = parser.parse_args()

    rng = np.random.default_rng(0)
    x, y = make(240, rng)
    asked, answers = make(120, rng)
    print("the middle slice of a ball, a shell and two balls:")
    for row in zip(*(letters(volume[0, SIDE // 2]) for volume in x[:3]), strict=True):
        print("|".join(part[4:-4] for part in row))

    shape = (1, SIDE, SIDE, SIDE)
    net = nets.get("resnet3d18", classes=3, input_shape=shape, width=1 / 8, halvings=3)
    model = Model(net, shape, classes=CLASSES)
    print(f"\n{len(x)} volumes to learn from, {len(asked)} to judge\n{model}")
    moved = Augment(shift=1, flip=True)
    history = model.fit(x, y, epochs=given.epochs, batch=16, lr=0.005, augment=moved, show=False)
    said = model.predict(asked).argmax(1)
    print(f"{len(history)} epochs in {sum(row.seconds for row in history):.1f} s")
    print(f"{(said == answers).mean():.1%} right\n")

    print("what is      taken for " + "".join(f"{name:>10}" for name in CLASSES))
    for label, name in enumerate(CLASSES):
        counts = np.bincount(said[answers == label], minlength=3)
        print(f"{name:23}" + "".join(f"{count:10}" for count in counts))


if __name__ == "__main__":
    main()
