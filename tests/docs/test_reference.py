"""Every public name is in the reference, once; every page of the folder is on the site's lists."""

import importlib
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import faltung

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```\{names\} (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def listed() -> Counter[str]:
    """The names that the pages of the reference list, with their modules."""
    return Counter(
        f"{module}.{name}"
        for page in sorted((DOCS / "reference").glob("*.md"))
        for module, names in BLOCK.findall(page.read_text("utf-8"))
        for name in names.split()
    )


def public() -> set[str]:
    """The names that modules call public. A module among them has a page of its own."""
    packages = [name for name in faltung.__all__ if isinstance(getattr(faltung, name), ModuleType)]
    modules = [faltung, *(importlib.import_module(f"faltung.{name}") for name in packages)]
    modules.append(importlib.import_module("faltung.torch"))
    return {
        f"{module.__name__}.{name}"
        for module in modules
        for name in module.__all__
        if not (module is faltung and name in packages)
    }


def test_every_public_name_is_in_the_reference() -> None:
    found = listed()
    assert set(found) == public()
    assert max(found.values()) == 1


def test_every_page_is_reached() -> None:
    """From the home page over links: nothing is on the site that nobody finds."""
    link = re.compile(r"\]\(([^)#:\s]+\.md)")
    reached: set[Path] = set()
    waiting = [DOCS / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page not in reached and page.exists():
            reached.add(page)
            waiting += [page.parent / each for each in link.findall(page.read_text("utf-8"))]
    assert {page for page in DOCS.rglob("*.md")} - reached == set()
