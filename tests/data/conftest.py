"""Folders of pictures, made when a test asks for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """save("cat/1.png", values) writes a picture from (height, width[, channels]) and returns its
    path.
    """
    images = pytest.importorskip("PIL.Image")

    def write(name: str, values: Any, **more: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = images.fromarray(values) if isinstance(values, np.ndarray) else values
        image.save(path, **more)
        return path

    return write


@pytest.fixture
def two_classes(save: Save, tmp_path: Path) -> Path:
    """Two classes of three grey pictures of 6x5, all different."""
    for i, name in enumerate(["cat/a.png", "cat/b.png", "cat/c.bmp", "dog/d.png", "dog/e.png"]):
        save(name, np.full((6, 5), 10 * i, np.uint8))
    save("dog/f.gif", np.full((6, 5), 200, np.uint8))
    return tmp_path
