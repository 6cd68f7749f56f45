"""Small real data sets that packages ship: pictures, series and tables, in fixed halves.

scikit-learn has digits, wine and breast cancer, scikit-image textures, faces and photographs, aeon
(A. Bagnall et al.) series of the UCR and UEA archives. Nothing is downloaded.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Split(NamedTuple):
    """Samples to train on and samples to test with. kind: of ``Source``."""

    kind: str
    x: Array
    y: Array
    test_x: Array
    test_y: Array


def _parted(kind: str, x: Array, y: Array, part: float) -> Split:
    order = np.random.default_rng(0).permutation(len(x))
    first, rest = np.split(order, [int(part * len(x))])
    return Split(kind, x[first], y[first], x[rest], y[rest])


def digits() -> Split:
    """1,797 handwritten digits of 8x8, in 10 classes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return _parted("picture", (found.images[:, None] / 16).astype(np.float32), found.target, 0.8)


def _pictures(name: str) -> Array:
    import skimage.data
    from PIL import Image

    with Image.open(Path(skimage.data.__file__).parent / name) as picture:
        return np.asarray(picture.convert("L" if name in TEXTURES else "RGB"))


TEXTURES = ("brick.png", "grass.png", "gravel.png")
PHOTOGRAPHS = (
    *("astronaut.png", "chelsea.png", "coffee.png", "ihc.png", "retina.jpg", "rocket.jpg"),
    *("hubble_deep_field.jpg", "motorcycle_left.png"),
)


def _crops(names: Sequence[str], side: int, each: int, test: int) -> Split:
    """Random crops: to train on from the left half of each picture, to test with from the right."""
    random = np.random.default_rng(0)
    parts: list[list[Array]] = [[], []]
    labels: list[list[int]] = [[], []]
    for label, picture in enumerate(map(_pictures, names)):
        height, width = picture.shape[:2]
        halves = (0, width // 2 - side), (width // 2, width - side)
        for k, (count, (low, high)) in enumerate(zip((each, test), halves, strict=True)):
            for _ in range(count):
                row, column = random.integers(0, height - side + 1), random.integers(low, high + 1)
                crop = picture[row : row + side, column : column + side]
                parts[k].append(crop[None] if crop.ndim == 2 else crop.transpose(2, 0, 1))
                labels[k].append(label)
    x, test_x = (np.stack(part).astype(np.float32) / 255 for part in parts)
    y, test_y = map(np.array, labels)
    return Split("picture", x, y, test_x, test_y)


def textures() -> Split:
    """60 crops of 64x64 of three textures, grey."""
    return _crops(TEXTURES, 64, 20, 60)


def photographs() -> Split:
    """320 crops of 48x48 of eight photographs, in colour."""
    return _crops(PHOTOGRAPHS, 48, 40, 60)


def faces() -> Split:
    """200 pictures of 25x25, of which half are faces."""
    import skimage.data

    x = np.load(Path(skimage.data.__file__).parent / "lfw_subset.npy").astype(np.float32)
    return _parted("picture", x[:, None], np.repeat([1, 0], 100), 0.7)


def _series(name: str) -> Callable[[], Split]:
    def read() -> Split:
        import aeon

        from faltung.data import open_source

        folder = Path(aeon.__file__).parent / "datasets" / "data" / name
        first, test = (open_source(folder / f"{name}_{part}.ts") for part in ("TRAIN", "TEST"))
        names = list(first.classes or ())
        again = np.array([names.index(label) for label in test.classes or ()])
        arrays = first.read(range(len(first))), test.read(range(len(test)))
        return Split("series", arrays[0], first.targets, arrays[1], again[test.targets])

    return read


def _table(name: str) -> Callable[[], Split]:
    def read() -> Split:
        import sklearn.datasets

        found = getattr(sklearn.datasets, f"load_{name}")()
        return _parted("table", found.data.astype(np.float32), found.target, 0.7)

    return read


SETS: dict[str, Callable[[], Split]] = {
    "digits": digits,
    "textures": textures,
    "photographs": photographs,
    "faces": faces,
    "GunPoint": _series("GunPoint"),
    "BasicMotions": _series("BasicMotions"),
    "ArrowHead": _series("ArrowHead"),
    "ItalyPowerDemand": _series("ItalyPowerDemand"),
    "OSULeaf": _series("OSULeaf"),
    "wine": _table("wine"),
    "breast_cancer": _table("breast_cancer"),
}
