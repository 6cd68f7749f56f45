"""The error for an optional package that is not installed: it says how to get it."""

from faltung.geometry.errors import FaltungImportError


def missing(module: str, extra: str) -> ImportError:
    """The error to raise where ``import module`` failed: it names the extra to install."""
    return FaltungImportError(
        f'{module}: not installed; pip install "faltung[{extra}]"', name=module
    )
