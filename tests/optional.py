"""Packages that tests compare with: imported when one first uses them, not when it is collected."""

from typing import Any

import pytest


class Optional:
    """In the place of a module; where that is not installed, the test that uses it is skipped."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith(("_", "pytest")):  # what pytest asks of everything in a module
            raise AttributeError(attribute)
        return getattr(pytest.importorskip(self._name), attribute)


def optional(name: str) -> Any:
    """The module called ``name``."""
    return Optional(name)
