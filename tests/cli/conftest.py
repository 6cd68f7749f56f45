"""Runs that the commands are tried on: one for each kind of data, trained once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runs import maps, shapes

from faltung.cli.main import main

# Kind -> further arguments of `train`.
KINDS = {
    "digits": ["--epochs=2", "--batch=64"],
    "series": ["--epochs=1", "--net=tcn", "--set=channels=8", "--set=levels=1"],
    "volumes": ["--epochs=1", "--net=lenet5"],
    "text": ["--epochs=1", "--set=features=8", "--set=maps=4"],
    "numbers": ["--epochs=1", "--loss=mse", "--net=lenet5"],
    "maps": ["--epochs=1", "--set=width=0.1"],
}


def data(kind: str, folder: Path) -> str:
    """A file, or a name, to train on."""
    if kind == "digits":
        return kind
    space = {"series": (16,), "volumes": (8, 8, 8)}.get(kind, (8, 8))
    x, y = maps(24) if kind == "maps" else shapes(24, space)
    more = {}
    if kind == "text":
        x, y = np.random.default_rng(0).integers(0, 9, (24, 10)), np.array(["no", "yes"] * 12)
        more = {"kind": "text"}
    if kind == "numbers":
        y = x.mean((1, 2, 3))
    if kind == "maps":
        x, y = np.tile(x, (2, 2)), np.tile(y, (2, 2))
        more = {"classes": ["dark", "bright"]}  # type: ignore[dict-item]
    np.savez(folder / f"{kind}.npz", x=x, y=y, **more)  # type: ignore[arg-type]
    return str(folder / f"{kind}.npz")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, str]]:
    """kind -> (the folder of a run, the data that it was trained on)."""
    found: dict[str, tuple[Path, str]] = {}

    def get(kind: str) -> tuple[Path, str]:
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            on = data(kind, folder)
            assert main(["train", on, *KINDS[kind], f"--out={folder / 'run'}"]) == 0
            found[kind] = folder / "run", on
        return found[kind]

    return get


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without --out go to a folder of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(name="data")
def forty_samples(tmp_path: Path) -> Path:
    x, y = shapes(40)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path / "data.npz"
