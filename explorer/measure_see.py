"""How long `faltung see RUN FILE` takes, and how large and how fast its page is: a small run, a
photograph through a large network, and networks on paper.

    python explorer/measure_see.py [--times N] [--json FILE]

Needs Chromium and Playwright for the figures of the page; without them it measures the rest.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from faltung import Model, nets

# (name, network, options, input shape): the weights are the first ones, which cost as much.
ROWS = (
    ("lenet5, 32x32", "lenet5", {}, (1, 32, 32)),
    ("googlenet of a quarter of the width, 48x48", "googlenet", {"width": 0.25}, (3, 48, 48)),
    ("resnet18, 224x224", "resnet18", {}, (3, 224, 224)),
    (
        "resnet3d18 of an eighth of the width, 16x16x16",
        "resnet3d18",
        {"width": 0.125},
        (1, 16, 16, 16),
    ),
)
PAPER = ("lenet5", "googlenet", "densenet201", "efficientnetb7")


def seen(words: list[str], folder: Path) -> tuple[float, Path]:
    """Seconds of the command, and its page."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "faltung", "see", *words, "--force", "--out", "page.html"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin, folder / "page.html"


def painted(page: Path) -> dict[str, float]:
    """Milliseconds to the first paint, and of a frame while a unit is dragged: the median, and the
    longest of 60.
    """
    path = shutil.which("chromium")
    if path is None:
        return {}
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1280, "height": 900})
        view.goto(page.as_uri())
        view.wait_for_timeout(500)
        first = view.evaluate("performance.getEntriesByType('paint')[0]?.startTime ?? 0")
        frames = view.evaluate(
            """async () => {
                const slider = document.querySelector("#fields .unit input[type=range]");
                const found = [];
                for (let i = 0, last = performance.now(); i < 60; i++) {
                    slider.value = String(i % (Number(slider.max) + 1));
                    slider.dispatchEvent(new Event("input", { bubbles: true }));
                    await new Promise(requestAnimationFrame);
                    const now = performance.now();
                    found.push(now - last);
                    last = now;
                }
                return found;
            }"""
        )
        browser.close()
    return {"paint": first, "frame": statistics.median(frames), "longest": max(frames)}


def row(name: str, words: list[str], folder: Path, times: int) -> dict[str, Any]:
    """One line of the table; the first call is apart, as nothing is compiled before it."""
    first, page = seen(words, folder)
    again = [seen(words, folder)[0] for _ in range(times)]
    made = {"name": name, "first": first, "again": statistics.median(again)}
    return {**made, "bytes": page.stat().st_size, **painted(page)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, net, options, shape in ROWS:
            model = Model(nets.get(net, classes=10, input_shape=shape, **options), shape)
            model.save(str(folder / "m.safetensors"))
            np.save(folder / "x.npy", np.random.default_rng(0).random(shape, dtype=np.float32))
            rows.append(row(name, ["m.safetensors", "x.npy"], folder, given.times))
            print_row(rows[-1])
        for name in PAPER:
            rows.append(row(f"{name} on paper", [name], folder, given.times))
            print_row(rows[-1])
    if given.json:
        Path(given.json).write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def print_row(one: dict[str, Any]) -> None:
    said = f"{one['name']}: {one['first']:.1f} s at first, {one['again']:.1f} s again, "
    said += f"{one['bytes'] / 1000:,.0f} kB"
    if "paint" in one:
        said += f"; first paint {one['paint']:.0f} ms, a frame {one['frame']:.0f} ms, "
        said += f"the longest {one['longest']:.0f} ms"
    print(said, flush=True)


if __name__ == "__main__":
    main()
