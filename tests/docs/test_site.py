"""The site as Sphinx built it, in the folder that FALTUNG_SITE names: links, search, nothing from
elsewhere. `.ci/run` builds it; the command is in CONTRIBUTING.md.
"""

import importlib.util
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from browser import browser, complaints

SITE = Path(os.environ.get("FALTUNG_SITE", "")).resolve()
if "FALTUNG_SITE" not in os.environ:
    pytest.skip("FALTUNG_SITE names no folder", allow_module_level=True)

ROOT = Path(__file__).parents[2]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What a page loads, where it leads, and what it can be asked for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given["id"] or ""} if "id" in given else set()
        where = given.get(LOADS.get(tag, ""))
        if where and not (tag == "link" and given.get("rel") == "canonical"):
            self.loads.append(where)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    return {path: Page(path.read_text("utf-8")) for path in sorted(SITE.rglob("*.html"))}


def test_nothing_comes_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert len(pages) > 100
    outside = re.compile(r"^(\w+:)?//|^/")
    for path, page in pages.items():
        assert [each for each in page.loads if outside.match(each)] == [], path
    reach = re.compile(r"@import|url\(\s*[\"']?(?:\w+:)?//|fetch\(\s*[\"'`]\w+://")
    for path in (*SITE.rglob("*.css"), *SITE.rglob("*.js")):
        assert not reach.search(path.read_text("utf-8", "replace")), path


def test_links_of_the_built_site(pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in (*page.links, *page.loads):
            if re.match(r"\w+:", link):
                continue
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            known = (
                pages[target].ids if target in pages and target.name != "explorer.html" else None
            )
            there = target.exists() and target.is_relative_to(SITE)
            if not there or (anchor and known is not None and anchor not in known):
                broken.append(f"{path.relative_to(SITE)}: {link}")
    assert broken == []


def test_the_explorer_is_there_as_it_is() -> None:
    ours = ROOT / "src" / "faltung" / "explore" / "explorer.html"
    assert (SITE / "explorer.html").read_bytes() == ours.read_bytes()


def test_no_source_is_copied() -> None:
    for name in ("_sources", "_downloads"):
        assert [path for path in (SITE / name).rglob("*") if path.is_file()] == []


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


SEEN = ["index", "start/arrays", "reference/convolutions", "results/forward-2-threads"]
LOOKS = [(1280, "light"), (360, "dark")]


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_pages_in_a_browser(chromium: Any, width: int, scheme: str) -> None:
    for name in SEEN:
        assert complaints(chromium, SITE / f"{name}.html", width, scheme) == [], name


def test_search_works_from_a_file(chromium: Any) -> None:
    context = chromium.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((SITE / "index.html").as_uri())
    page.get_by_label("Search", exact=True).first.fill("winograd")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li")
    found = page.locator("#search-results li a").all_text_contents()
    assert any("Winograd" in each for each in found)
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}
    context.close()


def axe() -> Path | None:
    """The checker of accessibility, from npm or from PyPI."""
    found = ROOT / "explorer" / "node_modules" / "axe-core" / "axe.min.js"
    if found.exists():
        return found
    package = importlib.util.find_spec("axe_playwright_python")
    places = package.submodule_search_locations if package is not None else None
    return next((each for place in places or () for each in Path(place).rglob("axe.min.js")), None)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_accessible(chromium: Any, width: int, scheme: str) -> None:
    checker = axe()
    if checker is None:
        pytest.skip("no axe-core here")
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    for name in ("index", "start/arrays", "reference/problems"):
        page.goto((SITE / f"{name}.html").as_uri())
        page.evaluate(checker.read_text("utf-8"))
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == [], name
    context.close()
