"""Build ``textures.safetensors``: a small ResNet that tells patches of textures and photographs.

    python packages/faltung-weights/build.py            # train, measure, write the file
    python packages/faltung-weights/build.py --measure  # only measure what is written

It is trained on what is at hand: textures that this script draws (gratings, noise, cells, bricks,
dots, strokes, in random colours), and regions of photographs that come with scikit-image,
scikit-learn and Matplotlib. Each kind of texture is a class, and so is each region, whose patches
overlap. Three textures and six photographs are kept out; with 10 to 20 patches of each, 60
pictures in all, training from these weights is compared with training from noise on patches of
other parts of the same pictures. Needs faltung[train], scikit-image, scikit-learn and Matplotlib.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from faltung import Model, nets
from faltung.data import Augment, Standard
from faltung.data.units import Units

Array = np.ndarray[Any, Any]
FILE = Path(__file__).parent / "src/faltung_weights/textures.safetensors"
SIDE, EACH, REGION = 64, 160, 128
PHOTOGRAPHS = (
    *("skimage:astronaut.png", "skimage:chelsea.png", "skimage:rocket.jpg", "skimage:camera.png"),
    *("skimage:retina.jpg", "skimage:hubble_deep_field.jpg", "skimage:motorcycle_left.png"),
    *("skimage:text.png", "sklearn:china.jpg", "sklearn:flower.jpg", "mpl:grace_hopper.jpg"),
)
HELD_OUT = {
    "3 textures": (("skimage:brick.png", "skimage:grass.png", "skimage:gravel.png"), 20),
    "6 photographs": (
        (
            *("skimage:coffee.png", "skimage:ihc.png", "skimage:moon.png", "skimage:coins.png"),
            *("skimage:cell.png", "skimage:page.png"),
        ),
        10,
    ),
}


def photograph(name: str) -> Array:
    """A picture (3, H, W) from 0 to 1."""
    package, file = name.split(":")
    if package == "skimage":
        import skimage.data as folder
    elif package == "sklearn":
        import sklearn.datasets.images as folder
    else:
        import matplotlib as folder
    from PIL import Image

    path = Path(folder.__file__).parent
    path = path / "mpl-data/sample_data" if package == "mpl" else path
    with Image.open(path / file) as picture:
        made = np.asarray(picture.convert("RGB"), np.float32) / 255
    return made.transpose(2, 0, 1)


# Textures that are drawn --------------------------------------------------------------------------

Draw = Callable[[np.random.Generator, float], Array]
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def grating(angle: float, square: bool) -> Draw:
    def draw(rng: np.random.Generator, scale: float) -> Array:
        turned = angle + rng.normal(0, 0.06)
        wave = np.sin((X * np.cos(turned) + Y * np.sin(turned)) * scale + rng.uniform(0, 6.3))
        return np.sign(wave) if square else wave

    return draw


def noise(slope: float, stretch: float) -> Draw:
    """Noise whose spectrum falls with a power of the frequency, longer along one axis."""

    def draw(rng: np.random.Generator, scale: float) -> Array:
        fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
        size = np.hypot(fx * stretch, fy / stretch) + scale / SIDE
        white = np.fft.fft2(rng.standard_normal((SIDE, SIDE)))
        return np.fft.ifft2(white / size**slope).real

    return draw


def cells(kind: str, count: int) -> Draw:
    """Distances from random points: spheres, edges, flat stones."""

    def draw(rng: np.random.Generator, scale: float) -> Array:
        points = rng.uniform(-8, SIDE + 8, (int(count * (0.7 + scale)), 2))
        distance = np.hypot(*(a[..., None] - p for a, p in zip((Y, X), points.T, strict=True)))
        near = np.sort(distance, -1)[..., :2]
        if kind == "spheres":
            return -near[..., 0]
        if kind == "edges":
            return np.minimum(near[..., 1] - near[..., 0], 4)
        return rng.standard_normal(len(points))[distance.argmin(-1)]

    return draw


def bricks(height: int, width: int, shifted: bool) -> Draw:
    def draw(rng: np.random.Generator, scale: float) -> Array:
        h, w = height * (0.8 + scale), width * (0.8 + scale)
        row = np.floor((Y + rng.uniform(0, h)) / h)
        across = X + rng.uniform(0, w) + (row % 2) * w / 2 * shifted
        column = np.floor(across / w)
        joint = ((Y % h) < 2) | ((across % w) < 2)
        shade = rng.standard_normal((64, 64))[row.astype(int) % 64, column.astype(int) % 64]
        return np.where(joint, -2, 0.4 * shade)

    return draw


def marks(kind: str, count: int) -> Draw:
    """Dots, rings or strokes at random places."""

    def draw(rng: np.random.Generator, scale: float) -> Array:
        made = np.zeros((SIDE, SIDE), np.float32)
        main = rng.uniform(0, np.pi)
        for y, x in rng.uniform(0, SIDE, (int(count * (0.7 + scale)), 2)):
            far = np.hypot(Y - y, X - x)
            size = rng.uniform(1.5, 4)
            if kind == "dots":
                made[far < size] = 1
            elif kind == "rings":
                made[abs(far - 2 * size) < 1] = 1
            else:
                angle = main + rng.normal(0, 0.2) if kind == "grass" else rng.uniform(0, np.pi)
                along = (X - x) * np.cos(angle) + (Y - y) * np.sin(angle)
                aside = (Y - y) * np.cos(angle) - (X - x) * np.sin(angle)
                made[(abs(along) < 4 * size) & (abs(aside) < 1)] = rng.uniform(-1, 1)
        return made

    return draw


TEXTURES: tuple[Draw, ...] = (
    *(grating(angle, square) for angle in np.pi / 6 * np.arange(6) for square in (False, True)),
    *(noise(slope, stretch) for slope in (0.0, 0.7, 1.4, 2.1) for stretch in (1.0, 2.5, 0.4)),
    *(cells(kind, n) for kind in ("spheres", "edges", "stones") for n in (12, 40, 120)),
    *(bricks(h, w, s) for h, w in ((6, 14), (10, 20), (12, 12)) for s in (True, False)),
    *(marks(kind, n) for kind in ("dots", "rings", "grass", "strokes") for n in (20, 80)),
)


def drawn(draw: Draw, rng: np.random.Generator) -> Array:
    """A patch of a texture, in two random colours, with light and noise."""
    made = draw(rng, float(rng.uniform(0.2, 0.8)))
    made = (made - made.min()) / max(float(np.ptp(made)), 1e-6)
    if rng.random() < 0.5:
        made = 1 - made
    grey = rng.random() < 0.4
    colours = np.repeat(rng.random((2, 1)), 3, 1) if grey else rng.random((2, 3))
    if abs(colours[0] - colours[1]).max() < 0.3:
        colours[1] = (colours[0] + 0.5) % 1
    low, high = colours[:, :, None, None]
    light = (
        1 + rng.uniform(-0.3, 0.3) * (X / SIDE - 0.5) + rng.uniform(-0.3, 0.3) * (Y / SIDE - 0.5)
    )
    patch = (low + (high - low) * made) * light + rng.normal(
        0, rng.uniform(0, 0.08), (3, SIDE, SIDE)
    )
    return np.clip(patch, 0, 1)


# Samples ------------------------------------------------------------------------------------------


def patch(picture: Array, top: int, left: int, rng: np.random.Generator) -> Array:
    """A patch as one would photograph it: nearer or farther, mirrored, lighter or darker."""
    zoom = int(rng.choice((1, 1, 2))) if min(picture.shape[1:]) >= 2 * SIDE else 1
    size = SIDE * zoom
    top, left = min(top, picture.shape[1] - size), min(left, picture.shape[2] - size)
    made = picture[:, top : top + size, left : left + size]
    made = made.reshape(3, SIDE, zoom, SIDE, zoom).mean((2, 4))
    if rng.random() < 0.5:
        made = made[:, :, ::-1]
    if rng.random() < 0.3:
        made = np.repeat(made.mean(0, keepdims=True), 3, 0)
    shade = 0.5 + (made - 0.5) * rng.uniform(0.7, 1.3) + rng.uniform(-0.15, 0.15)
    return np.clip(shade * rng.uniform(0.85, 1.15, (3, 1, 1)), 0, 1)


def samples(seed: int = 0) -> tuple[Array, Array]:
    """Patches and their classes: kinds of textures, regions of photographs."""
    rng = np.random.default_rng(seed)
    groups = [[drawn(draw, rng) for _ in range(EACH)] for draw in TEXTURES]
    for name in PHOTOGRAPHS:
        picture = photograph(name)
        height, width = (n // max(1, n // REGION) for n in picture.shape[1:])
        for row in range(min(3, picture.shape[1] // height)):
            for column in range(min(4, picture.shape[2] // width)):
                corner = np.array([row * height, column * width])
                reach = np.maximum(1, np.array([height, width]) - SIDE // 2)
                places = corner + rng.integers(0, reach, (EACH // 2, 2))
                groups.append([patch(picture, y, x, rng) for y, x in places])
    x = np.concatenate([np.asarray(group, np.float32) for group in groups])
    return x, np.repeat(np.arange(len(groups)), [len(group) for group in groups])


def held_out(names: tuple[str, ...], each: int, seed: int) -> tuple[Array, Array, Array, Array]:
    """Patches of the left halves of pictures to train on, and of their right halves to test."""
    rng = np.random.default_rng(seed)
    parts: list[list[Array]] = [[], []]
    for name in names:
        picture = photograph(name)
        middle = picture.shape[2] // 2
        for part, half, count in (
            (0, picture[:, :, :middle], each),
            (1, picture[:, :, middle:], 60),
        ):
            high = np.array(half.shape[1:]) - SIDE
            for y, x in rng.integers(0, high, (count, 2)):
                parts[part].append(half[:, y : y + SIDE, x : x + SIDE])
    labels = [np.repeat(np.arange(len(names)), count) for count in (each, 60)]
    return np.asarray(parts[0]), labels[0], np.asarray(parts[1]), labels[1]


# Training -----------------------------------------------------------------------------------------


def network(classes: int) -> Model:
    net = nets.get("resnet18", classes=classes, input_shape=(3, SIDE, SIDE), width=0.25, halvings=5)
    usual = Standard((0.45,) * 3, (0.25,) * 3)
    return Model(net, (3, SIDE, SIDE), standard=usual, units=Units(white=1.0))


def build(epochs: int) -> None:
    x, y = samples()
    print(f"{len(x):,} patches of {y.max() + 1} classes")
    model = network(int(y.max()) + 1)
    augment = Augment(flip=True, crop=6)
    model.fit(x, y, validation=0.1, epochs=epochs, batch=64, augment=augment, smoothing=0.1)
    model.export(FILE, dtype="float16")
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes")


def measure(seeds: int, epochs: int) -> None:
    """Accuracies on patches of other parts, from noise and from features."""
    for what, (names, each) in HELD_OUT.items():
        found: dict[str, list[float]] = {"noise": [], "features": [], "features, frozen": []}
        for seed in range(seeds):
            x, y, test, wanted = held_out(names, each, seed)
            for way in found:
                start = network(len(names)) if way == "noise" else Model.pretrained(FILE)
                model = start if way == "noise" else start.with_outputs(len(names), seed=seed)
                freeze = "all-but-last" if "frozen" in way else ()
                about: Any = {"freeze": freeze, "augment": Augment(flip=True, crop=6), "seed": seed}
                model.fit(x, y, epochs=epochs, batch=16, show=False, **about)
                found[way].append(float((model.predict(test).argmax(1) == wanted).mean()))
        for way, values in found.items():
            spread = f"{min(values):.1%} to {max(values):.1%}"
            print(f"{what}, {len(x)} pictures, from {way}: {np.mean(values):.1%} ({spread})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="only measure")
    parser.add_argument("--epochs", type=int, default=10, help="of the training")
    parser.add_argument("--seeds", type=int, default=5, help="of the measurement")
    chosen = parser.parse_args()
    if not chosen.measure:
        build(chosen.epochs)
    measure(chosen.seeds, 30)
