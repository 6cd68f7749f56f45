"""A picture of the size of a microscope's slide, segmented as a whole: no seams, little memory.

    python examples/slide.py

The slide is an array that is never there: whatever asks for a part of it has that part made, cells
as discs and as rings in a noisy tissue. A U-Net learns the three classes from small crops. Then the
slide goes through it tile by tile into a Zarr array, with the bits that the whole at once would
give; a window around the corner where four tiles meet is computed by itself, and compared. Needs
Faltung, NumPy and zarr.
"""

import argparse
import tempfile
from typing import Any

import numpy as np

from faltung import Model, nets

PITCH = 16  # positions from cell to cell
CLASSES = ["tissue", "disc", "ring"]


def mixed(*numbers: np.ndarray) -> np.ndarray:
    """A random number from 0 to 1 that follows from whole numbers, and from nothing else."""
    state: Any = np.uint64(0x9E3779B97F4A7C15)
    for number in numbers:
        state = (state ^ number.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(29)
    return np.asarray((state >> np.uint64(40)).astype(np.float64) / 2**24)


class Slide:
    """Cells (1, height, width) as bytes, made where they are read; ``labels``: what they are."""

    dtype = np.dtype(np.uint8)

    def __init__(self, height: int, width: int) -> None:
        self.shape = 1, height, width

    def places(self, index: Any) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = (
            np.arange(size)[part] for size, part in zip(self.shape[1:], index[1:], strict=True)
        )
        return rows[:, None], columns[None, :]

    def labels(self, index: Any) -> np.ndarray:
        """0 for tissue, 1 for discs, 2 for rings."""
        i, j = self.places(index)
        cell = i // PITCH, j // PITCH
        y = i % PITCH - 6 - 3 * mixed(*cell, np.array(1))
        x = j % PITCH - 6 - 3 * mixed(*cell, np.array(2))
        radius = 3 + 3 * mixed(*cell, np.array(3))
        distance = np.sqrt(y * y + x * x)
        kind = mixed(*cell, np.array(4))
        disc = (distance <= radius) & (kind < 0.4)
        ring = (abs(distance - radius + 1) <= 1) & (kind > 0.6)
        return disc + 2 * ring

    def __getitem__(self, index: Any) -> np.ndarray:
        i, j = self.places(index)
        noise = mixed(i, j) + mixed(i, j, np.array(7))
        light = np.where(self.labels(index) > 0, 150.0, 90.0) + 40 * (noise - 1)
        return light.round().astype(np.uint8)[np.newaxis]


def crops(slide: Slide, count: int, side: int, rng: np.random.Generator) -> Any:
    """Pictures (count, 1, side, side) of some places, and their labels."""
    x, y = [], []
    for _ in range(count):
        a, b = (int(rng.integers(0, size - side)) for size in slide.shape[1:])
        place = slice(None), slice(a, a + side), slice(b, b + side)
        x.append(slide[place])
        y.append(slide.labels(place))
    return np.stack(x), np.stack(y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=20_000, help="height and width of the slide")
    parser.add_argument("--tile", type=int, help="positions of a tile; else as memory allows")
    arguments = parser.parse_args()
    import zarr

    size, rng = arguments.size, np.random.default_rng(0)
    slide = Slide(size, size)
    net = nets.get("unet", input_shape=(1, 64, 64), classes=3, width=0.125, halvings=2)
    model = Model(net, (1, 64, 64), classes=CLASSES)
    x, y = crops(slide, 96, 64, rng)
    model.fit(x, y, epochs=arguments.epochs, batch=8, show=False)
    right = model.evaluate(*crops(slide, 16, 64, rng))["accuracy"]
    print(f"learned from {len(x)} crops of 64x64; {100 * right:.1f}% of other positions right")

    with tempfile.TemporaryDirectory() as folder:
        tile = arguments.tile or 2048
        chunks = 3, min(512, tile), min(512, tile)
        out = zarr.create_array(folder, shape=(3, size, size), chunks=chunks, dtype="f4")
        model.predict(slide, out=out, tile=tile)
        print(f"{size:,} x {size:,} in tiles of {tile:,}, written as {out.nbytes / 1e9:.2f} GB")

        # Around the corner of four tiles: the same as computed from what the network sees of it.
        corner = size // tile // 2 * tile or tile
        low, high = max(0, corner - 128), min(size, corner + 128)
        window = slide[:, low:high, low:high]
        inner = slice(64, high - low - 64)
        alone = model.predict(window)[:, inner, inner]
        seam = out[:, low + 64 : high - 64, low + 64 : high - 64]
        print(f"the same bits where four tiles meet: {alone.tobytes() == seam.tobytes()}")

        part = slice(None), slice(0, min(size, 2000)), slice(0, min(size, 2000))
        found = out[part].argmax(0)
        print(f"{100 * (found == slide.labels(part)).mean():.1f}% of its positions are right")


if __name__ == "__main__":
    main()
