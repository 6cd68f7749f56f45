"""Windows of the explorer on pages: each shows a convolution, and its address is its line."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

from faltung import parse

ROOT = Path(__file__).parents[2]
WINDOW = re.compile(r"^```\{explorer\}\n(.*?)\n```$", re.MULTILINE)


@pytest.fixture(name="extension")
def loaded() -> ModuleType:
    pytest.importorskip("sphinx")
    place = ROOT / "docs" / "_ext" / "explorer.py"
    found = importlib.util.spec_from_file_location("explorer", place)
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
    frame = extension.frame(line, home="../")
    (place,) = re.findall(r'<iframe [^>]*src="([^"]*)"', frame)
    page, _, words = place.partition("#")
    assert page == "../explorer.html" and unquote(words) == line
    assert 'title="Explorer: n1 c1&gt;2 ' in frame and 'loading="lazy"' in frame
    assert "style" not in frame and 'style="height: 300px"' in extension.frame(line, height=300)
