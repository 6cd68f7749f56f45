"""Which functions of scikit-image dispatch: what docs/from-scikit-image.md says of it is so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "from-scikit-image.md"

# A back end that takes every call of every function, and says which it was asked for.
BACK_END = """
class Everything:
    supported_functions = type("", (), {"__contains__": lambda self, name: True})()


def can_has(name, *arguments, **options):
    asked.append(name)
    return False


asked = []
"""
PROGRAM = """
import sys, warnings
import numpy as np
import skimage.filters, skimage.metrics, skimage.morphology, skimage.restoration
import everything

x = np.random.default_rng(0).random((9, 9))
for call in (
    lambda: skimage.metrics.mean_squared_error(x, x),
    lambda: skimage.metrics.normalized_root_mse(x, x),
    lambda: skimage.filters.gaussian(x, 1),
    lambda: skimage.filters.sobel(x),
    lambda: skimage.filters.prewitt(x),
    lambda: skimage.filters.scharr(x),
    lambda: skimage.filters.farid(x),
    lambda: skimage.filters.laplace(x),
    lambda: skimage.filters.unsharp_mask(x),
    lambda: skimage.filters.difference_of_gaussians(x, 1),
    lambda: skimage.morphology.dilation(x, np.ones((3, 3))),
    lambda: skimage.morphology.erosion(x, np.ones((3, 3))),
):
    call()
print(*dict.fromkeys(everything.asked))
"""


def test_what_dispatches(tmp_path: Path) -> None:
    """A back end that would take anything is asked for the two metrics, and for no filter."""
    skimage = pytest.importorskip("skimage")
    (tmp_path / "everything.py").write_text(BACK_END)
    info = tmp_path / "everything-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: everything\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[skimage_backends]\neverything = everything\n"
        "[skimage_backend_infos]\neverything = everything:Everything\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "skimage.metrics:mean_squared_error",
        "skimage.metrics:normalized_root_mse",
    ], f"scikit-image {skimage.__version__} dispatches more than {PAGE.name} says"
