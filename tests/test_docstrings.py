"""Public functions and classes are documented in NumPy's style, with examples that are run."""

import doctest
import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

import faltung
import faltung.sklearn
import faltung.xarray
from faltung import ndimage, nets, nn
from faltung.ops.options import GeometryOptions

SECTIONS = ["Parameters", "Attributes", "Returns", "Raises", "Notes", "References", "Examples"]
PUBLIC: dict[str, Callable[..., Any]] = {
    f"{module.__name__}.{name}": found
    for module in (faltung, ndimage, nn, nets, faltung.sklearn, faltung.xarray)
    for name in module.__all__
    if callable(found := getattr(module, name))
}


def sections(text: str) -> dict[str, str]:
    """The text below each underlined heading; under "" what comes before the first."""
    first, *rest = re.split(r"^(\w+)\n-+$", text, flags=re.MULTILINE)
    return {"": first, **dict(zip(rest[::2], rest[1::2], strict=True))}


def documented(section: str) -> set[str]:
    """The names of arguments that a section lists: ``a, b : what they are``."""
    heads = re.findall(r"^(\S.*)$", section, re.MULTILINE)
    return {name.strip(" *") for head in heads for name in head.split(" : ")[0].split(",")}


def parameters(found: Callable[..., Any]) -> list[str]:
    """The arguments of a function or class. The ``name`` of a layer is described by ``Layer``."""
    names: list[str] = []
    for name, one in inspect.signature(found).parameters.items():
        typed = "GeometryOptions" in str(one.annotation)
        names += GeometryOptions.__annotations__ if typed else [name]
    common = {"name"} if isinstance(found, type) and found is not nn.Layer else set()
    return [name for name in names if name not in common and not name.startswith("_")]


@pytest.mark.parametrize("name", PUBLIC)
def test_style(name: str) -> None:
    found = PUBLIC[name]
    text = inspect.getdoc(found) or ""
    summary = text.split("\n\n")[0]
    there = sections(text)
    assert summary.endswith(".") and "\n" not in summary
    assert "`" not in text.replace("``", "")
    assert list(there)[1:] == sorted(list(there)[1:], key=SECTIONS.index)
    if not isinstance(found, type):
        # What returns nothing has nothing to say of it.
        returns = inspect.signature(found).return_annotation not in (None, "None")
        assert returns == ("Returns" in there)
    listed = documented(there.get("Parameters", there.get("Attributes", "")))
    given = parameters(found)
    if "..." not in listed:
        assert set(given) <= listed
    assert {word for word in listed if word != "..."} <= {*given, *dir(found)}


@pytest.mark.parametrize("name", PUBLIC)
def test_example_is_run(name: str) -> None:
    """``test_docs.py`` runs the examples that doctest finds in a module; so it must find this."""
    found = PUBLIC[name]
    module = sys.modules[found.__module__]
    tests = {test.name for test in doctest.DocTestFinder().find(module) if test.examples}
    assert f"{found.__module__}.{found.__qualname__}" in tests


@pytest.mark.parametrize("module", [faltung, ndimage, nn, nets], ids=lambda module: module.__name__)
def test_dir_lists_what_is_public(module: Any) -> None:
    assert dir(module) == sorted(module.__all__)
    assert all(hasattr(module, name) for name in dir(module))


def test_help_opens_with_the_names_of_types() -> None:
    """No union of all that NumPy takes for an array."""
    for found in PUBLIC.values():
        given = inspect.signature(found).parameters.values()
        assert max((len(str(each)) for each in given), default=0) < 200
    first = str(inspect.signature(faltung.conv)).replace("'", "")
    assert first.startswith("(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, ")
    assert inspect.signature(faltung.conv2d) == inspect.signature(faltung.conv)
