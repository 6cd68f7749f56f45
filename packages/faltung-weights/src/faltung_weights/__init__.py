"""Small weights for Faltung: files that ``Model.pretrained`` and ``faltung train --from`` read."""

from pathlib import Path

__all__ = ["paths"]


def paths() -> dict[str, str]:
    """The file of each network, by its name."""
    folder = Path(__file__).parent
    return {each.stem: str(each) for each in sorted(folder.glob("*.safetensors"))}
