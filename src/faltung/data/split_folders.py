"""Folders that are split already: ``train/`` and ``val/``, perhaps ``test/``, within one folder.

Names as fastai, ImageNet, Keras' examples and MedMNIST have them. A folder is only read so if all
its subfolders are such parts, each with subfolders of its own: "train" may be a class of vehicles.
"""

from pathlib import Path

from faltung.data.folder import hidden
from faltung.data.names import printable
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# What the folder of a part may be called, whatever its case.
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Parts:
    """The folder of each part; None for one that is not there. ``beside``: other files."""

    train: Path
    val: Path | None
    test: Path | None
    beside: tuple[str, ...] = ()

    @property
    def held(self) -> Path | None:
        """What is held out of training: the part for validation, or else for tests."""
        return self.val or self.test

    @property
    def unseen(self) -> Path:
        """What a trained network is evaluated on: what training has seen least of."""
        return self.test or self.val or self.train


def parts_of(root: Path) -> Parts | None:
    """The parts of a folder; None if it is no such folder. ValueError: one part twice."""
    found: dict[str, Path] = {}
    beside = []
    for path in sorted(root.iterdir()):
        if hidden(path):
            continue
        if not path.is_dir():
            beside.append(f"{printable(path.name)}: lies beside the parts of the data")
            continue
        part = next((part for part, names in NAMES.items() if path.name.lower() in names), None)
        if part is None or not _has_folders(path):
            return None
        if part in found:
            raise FaltungError(
                f"{printable(root.name)}: has {printable(found[part].name)} and "
                f"{printable(path.name)}, which are the same part: keep one"
            )
        found[part] = path
    if "train" not in found:
        return None
    return Parts(found["train"], found.get("val"), found.get("test"), tuple(beside))


def _has_folders(path: Path) -> bool:
    return any(inner.is_dir() and not hidden(inner) for inner in path.iterdir())
