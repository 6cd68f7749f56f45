"""Whether Faltung works on the processor that this runs on: `python tests/emulated/smoke.py`.

A little of everything that depends on the processor, without pytest: detection, convolutions and
gradients against the reference, several methods, pooling, the thread team, forks, code on disk, a
training. Needs NumPy and llvmlite, and no network. The exit status is 1 if anything is wrong.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from itertools import product

import numpy as np

import faltung
from faltung import Model, nn, reference
from faltung.data import open_source
from faltung.geometry import conv_spec
from faltung.jit import llvm
from faltung.jit.target import current, host, named, use
from faltung.machine.table import BASELINES

# Shapes of x and weight, and options.
PROBLEMS = [
    ((2, 3, 9, 11), (4, 3, 3, 3), {"stride": 2, "padding": 1}),
    ((1, 16, 14, 14), (32, 16, 3, 3), {"padding": "same"}),
    ((1, 16, 14, 14), (32, 16, 1, 1), {}),
    ((1, 8, 14, 14), (8, 1, 3, 3), {"groups": 8, "padding": 1}),
    ((1, 6, 20), (4, 3, 5), {"groups": 2, "padding": 2, "padding_mode": "reflect"}),
    ((1, 2, 6, 6, 6), (3, 2, 3, 3, 3), {"padding": 2, "dilation": 2, "padding_mode": "circular"}),
]
TOLERANCE = {"float32": 1e-5, "float64": 1e-13, "float16": 2e-3}
METHODS = ("direct", "spatial", "winograd", "fft")

CHECKS: list[Callable[[], str]] = []


def check(function: Callable[[], str]) -> Callable[[], str]:
    """It raises if something is wrong, and says what it has seen."""
    CHECKS.append(function)
    return function


def near(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> float:
    """How far apart they are, in parts of the largest number; AssertionError if too far."""
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    apart = float(np.abs(found.astype(np.float64) - wanted).max() / np.abs(wanted).max())
    assert apart <= tolerance, f"{apart:.1e} apart, {tolerance:.1e} allowed"
    return apart


def arrays(*shapes: tuple[int, ...], dtype: str = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@check
def detection() -> str:
    """The row has at least what every processor of the architecture has."""
    base = BASELINES.get(host().arch)
    assert base is None or base.enabled <= host().enabled
    if host().arch == "aarch64":
        assert host().name == "neon" and host().fma and host().registers == 32
    _, cpu, features = llvm.probe()
    told = [word for word in features.split(",") if word.startswith("+")]
    return f"{host()}; LLVM reports {cpu} {' '.join(told) or 'without features'}"


@check
def convolutions() -> str:
    worst = dict.fromkeys(TOLERANCE, 0.0)
    before = faltung.get_threads()
    for threads, dtype, (shape, kernel, options) in product((1, 2), TOLERANCE, PROBLEMS):
        faltung.set_threads(threads)
        spec = conv_spec(shape, kernel, **options)
        x, w, g = arrays(shape, kernel, spec.output_shape, dtype=dtype)
        wide = [array.astype(np.float64) for array in (x, w, g)]
        results = [
            (faltung.conv(x, w, **options), reference.conv(wide[0], wide[1], None, spec)),
            (
                faltung.conv_input_grad(g, w, shape, **options),
                reference.conv_input_grad(wide[2], wide[1], spec),
            ),
            (
                faltung.conv_weight_grad(x, g, kernel, **options),
                reference.conv_weight_grad(wide[0], wide[2], spec),
            ),
        ]
        for found, wanted in results:
            worst[dtype] = max(worst[dtype], near(found, wanted, TOLERANCE[dtype]))
    faltung.set_threads(before)
    return ", ".join(f"{dtype} within {apart:.1e}" for dtype, apart in worst.items())


@check
def strassen() -> str:
    x, w = arrays((2, 50, 7, 9), (75, 50, 1, 1))
    wanted = reference.conv(x, w, None, conv_spec(x.shape, w.shape))
    said = []
    for machine in (current(), named("generic")):
        with use(machine):
            apart = near(faltung.conv(x, w, method="strassen"), wanted, 1e-5)
        said.append(f"{machine.name} {apart:.0e}")
    return ", ".join(said)


@check
def methods() -> str:
    x, w = arrays((2, 16, 28, 28), (16, 16, 3, 3))
    wanted = reference.conv(x, w, None, conv_spec(x.shape, w.shape, padding=1))
    said = []
    for machine, method in product((current(), named("generic")), METHODS):
        with use(machine):
            apart = near(faltung.conv(x, w, padding=1, method=method), wanted, 1e-5)
        said.append(f"{machine.name} {method} {apart:.0e}")
    return ", ".join(said)


@check
def pooling() -> str:
    (x,) = arrays((2, 3, 8, 8))
    cells = x.reshape(2, 3, 4, 2, 4, 2)
    assert np.array_equal(faltung.max_pool(x, 2), cells.max((3, 5)))
    near(faltung.avg_pool(x, 2), cells.mean((3, 5), dtype=np.float64), 1e-6)
    return "max exact, mean near"


@check
def threads() -> str:
    """The same bits for any number, many times, with the workers spinning and parked."""
    x, w = arrays((2, 16, 30, 33), (24, 16, 3, 3))
    before, results = faltung.get_threads(), set()
    for turn in range(60):
        faltung.set_threads(1 + turn % 4)
        results.add(faltung.conv(x, w, method="direct").tobytes())
        if turn % 20 == 19:
            time.sleep(0.05)
    faltung.set_threads(before)
    assert len(results) == 1, f"{len(results)} different results"
    return "1 to 4 threads, the same bits"


@check
def fork() -> str:
    """A child has a team of its own, and the parent keeps its own."""
    if not hasattr(os, "fork"):
        return "there is none"
    x, w = arrays((2, 16, 30, 33), (24, 16, 3, 3))
    before = faltung.get_threads()
    faltung.set_threads(3)
    wanted = faltung.conv(x, w).tobytes()
    for _ in range(3):
        child = os.fork()
        if child == 0:
            same = all(faltung.conv(x, w).tobytes() == wanted for _ in range(5))
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0, "wrong in the child"
        assert faltung.conv(x, w).tobytes() == wanted, "wrong in the parent"
    faltung.set_threads(before)
    return "three children, the same bits"


CHILD = """
import numpy as np, faltung
from faltung.jit.compile import counts
x, w = np.ones((1, 8, 9, 9), np.float32), np.ones((8, 8, 3, 3), np.float32)
assert (faltung.conv(x, w) == 72).all()
print(counts()["compiled"], counts()["disk"])
"""


@check
def code_on_disk() -> str:
    """What one process compiles, the next one loads."""
    seen = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", CHILD],
                env={**os.environ, "FALTUNG_CACHE": folder},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            seen.append([int(word) for word in done.stdout.split()])
    (made, _), (again, loaded) = seen
    assert made > 0 and again == 0 and loaded == made, seen
    return f"{made} modules compiled, then loaded"


@check
def training() -> str:
    """It learns, and 1 and 3 threads learn the same."""
    digits = open_source("digits")
    x, y = digits.read(range(600)), digits.targets[:600]
    before, weights = faltung.get_threads(), []
    for number in (1, 3):
        faltung.set_threads(number)
        net = nn.Sequential(
            *(nn.Conv(16, 3, padding="same"), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2)),
            *(nn.Conv(32, 3, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(10)),
        )
        model = Model(net, (1, 8, 8))
        model.fit(x[:400], y[:400], epochs=4, show=False)
        weights.append(model.predict(x[400:]).tobytes())
    faltung.set_threads(before)
    accuracy = model.evaluate(x[400:], y[400:])["accuracy"]
    assert weights[0] == weights[1], "other bits with 3 threads"
    assert accuracy > 0.75, accuracy
    return f"digits, 4 epochs, accuracy {accuracy:.1%}, the same bits with 1 and 3 threads"


def main() -> int:
    """Run every check; 1 if one fails."""
    print(f"faltung {faltung.__version__}, Python {platform.python_version()}, {llvm.versions()}")
    failed = 0
    for function in CHECKS:
        name, start = function.__name__.replace("_", " "), time.perf_counter()
        try:
            said = function()
        except Exception:
            failed += 1
            traceback.print_exc()
            said = "WRONG"
        print(f"{name}: {said} ({time.perf_counter() - start:.1f} s)", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
