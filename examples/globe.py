"""A field on the globe: padding is circular along longitude, so the map has no seam.

    python examples/globe.py

A wind that varies from place to place carries a tracer east or west; from both, a network predicts
the tracer an hour later. Two networks differ in one word: one continues the map around the globe
(``padding_mode=("zeros", "circular")``), the other with zeros. The exact solution is known, and so
is the error at each longitude. Needs only Faltung and NumPy.
"""

import argparse
from typing import Any

import numpy as np

from faltung import Model, nn

LATITUDES, LONGITUDES = 24, 48
WAVES = 4  # the highest wave number: how often the shortest wave fits around the globe
MODES = {"zeros": ("zeros", "zeros"), "circular": ("zeros", "circular")}
SEAM = 4  # columns that count as the seam, half of them on each side


def waves(count: int, rng: np.random.Generator) -> np.ndarray:
    """Complex amplitudes (count, LATITUDES, WAVES) of fields that are smooth from pole to pole."""
    rough = rng.standard_normal((2, count, LATITUDES + 4, WAVES))
    smooth: Any = sum(rough[:, :, i : i + LATITUDES] for i in range(5)) / 5
    return 2 * (smooth[0] + 1j * smooth[1]) / np.arange(1, WAVES + 1)


def at(amplitudes: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """The field of these waves at ``longitude``, (LATITUDES, LONGITUDES) or one for each sample."""
    field = np.zeros((len(amplitudes), LATITUDES, LONGITUDES))
    for number in range(1, WAVES + 1):
        wave = np.exp(1j * number * longitude)
        field += (amplitudes[:, :, number - 1, np.newaxis] * wave).real
    return field


def make(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tracer and wind, (count, 2, LATITUDES, LONGITUDES), and the tracer an hour later.

    The wind is in columns of the map per hour, about -3 to 3.
    """
    step = 2 * np.pi / LONGITUDES
    longitude = np.broadcast_to(np.arange(LONGITUDES) * step, (LATITUDES, LONGITUDES))
    tracer, wind = waves(count, rng), at(waves(count, rng), longitude)
    # What is here an hour later is upwind now.
    later = at(tracer, longitude - step * wind)
    now = np.stack([at(tracer, longitude), wind], 1)
    return now.astype(np.float32), later[:, np.newaxis].astype(np.float32)


def network(mode: tuple[str, str]) -> nn.Layer:
    """From (2, latitude, longitude) to (1, latitude, longitude), for maps of any size."""
    same: dict[str, Any] = {"padding": "same", "padding_mode": mode}
    return nn.Sequential(
        *(nn.Conv(16, 5, **same), nn.SiLU()),
        *(nn.Conv(16, 3, **same), nn.SiLU()),
        nn.Conv(1, 3, **same),
    )


def letters(error: np.ndarray, most: float) -> str:
    """A row of bars, one per longitude."""
    shades = " ▁▂▃▄▅▆▇█"
    level = np.minimum(error / most, 1) * (len(shades) - 1)
    return "".join(shades[i] for i in level.round().astype(int))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()

    rng = np.random.default_rng(0)
    x, y = make(256, rng)
    asked, truth = make(128, rng)
    seam = np.arange(LONGITUDES // 2 - SEAM // 2, LONGITUDES // 2 + SEAM // 2)
    moved = np.sqrt(((asked[:, :1] - truth) ** 2).mean())
    print(
        f"{len(x)} maps of {LATITUDES} x {LONGITUDES}; within an hour they change by {moved:.3f}\n"
    )
    models, errors = {}, {}
    for name, mode in MODES.items():
        # Plain sums: transforms work in tiles, whose borders would not rotate with the globe.
        model = models[name] = Model(network(mode), x.shape[1:], precision="strict")
        history = model.fit(x, y, loss="mse", epochs=given.epochs, batch=8, lr=0.01, show=False)
        away = (model.predict(asked) - truth) ** 2
        # The map is cut at longitude 0, which is in the middle from -180 to 180 degrees.
        errors[name] = np.roll(np.sqrt(away.mean((0, 1, 2))), LONGITUDES // 2)
        print(f"{name:9} {len(history)} epochs in {sum(row.seconds or 0 for row in history):.1f} s")

    most = max(error.max() for error in errors.values())
    print(f"\nerror by longitude, up to {most:.3f}; the map is cut in the middle")
    for name, error in errors.items():
        elsewhere = np.delete(error, seam).mean()
        print(f"{name:9} |{letters(error, most)}|")
        print(f"{'':9} at the seam {error[seam].mean():.4f}, elsewhere {elsewhere:.4f}")

    model = models["circular"]
    turned = model.predict(np.roll(asked, 17, 3))
    same = np.array_equal(turned, np.roll(model.predict(asked), 17, 3))
    print(f"\nif the globe is rotated by 17 columns, so is the prediction, bit for bit: {same}")


if __name__ == "__main__":
    main()
