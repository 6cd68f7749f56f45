"""Windows of the explorer on pages: each shows a convolution, and its address is its line."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

from faltung import parse

ROOT = Path(__file__).parents[2]
WINDOW = re.compile(r"^```\{explorer\}\n(?::.*\n)*\n?(.*?)\n```$", re.MULTILINE)


@pytest.fixture(name="extension")
def loaded() -> ModuleType:
    pytest.importorskip("sphinx")
    place = ROOT / "docs" / "_ext" / "windows.py"
    found = importlib.util.spec_from_file_location("windows", place)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_each_page_of_the_course_has_a_window() -> None:
    pages = sorted((ROOT / "docs" / "course").glob("[1-9]-*.md"))
    assert len(pages) == 7
    for page in pages:
        lines = WINDOW.findall(page.read_text("utf-8"))
        assert lines, page
        for line in lines:
            parse(line)


def test_address(extension: ModuleType) -> None:
    line = "n1 c1>2 8x16 k3 p(0,1)x(1,0) m:zeros,circular"
    words, _, rest = extension.address(line, "transposed", ["window", "formula"]).partition("&")
    assert unquote(words.replace("+", " ")) == line and not set(words) & set(' "<>')
    assert rest == "transposed&only=window,formula"
    assert extension.address("c1>1 8 k3", "", []) == "c1%3E1+8+k3"
