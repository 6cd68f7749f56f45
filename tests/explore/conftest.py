"""One browser for each file of tests of the explorer; what a page says or asks for is kept.

Not one for all files: while Playwright runs, no other test could use it, nor an event loop.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import browser

from faltung.explore.page import page as made
from faltung.explore.page import write

Opener = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("explorer") / "page.html"
    write(path, made())
    return path.as_uri()


@pytest.fixture(scope="module")
def opener(chromium: Any, address: str) -> Opener:
    """A new page, in a context with these settings; it may load nothing but itself."""

    def opened(line: str = "", **settings: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        page = context.new_page()
        page.set_default_timeout(5000)
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda each: page.said.append(each.url) if each.url != address else None)
        page.goto(address + line)
        return page

    return opened


@pytest.fixture(scope="module")
def explorer(opener: Opener) -> Iterator[Any]:
    """The page as it is at first; a test leaves it as it likes. It has nothing to complain of."""
    page = opener()
    yield page
    assert page.said == []
    page.context.close()
