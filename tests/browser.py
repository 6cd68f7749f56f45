"""Pages opened in a browser without a screen, where Chromium and Playwright are installed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium; the test is skipped where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no browser here")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as found:
        made = found.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield made
        finally:
            made.close()


def complaints(opened: Any, file: Path, width: int, scheme: str) -> list[str]:
    """What is wrong with a page: what the browser says, what reaches beyond its width, pictures
    that do not load.
    """
    said: list[str] = []
    context = opened.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"a dialog: {dialog.message}"))
    page.goto(file.as_uri())
    wide = page.evaluate("document.documentElement.scrollWidth")
    said += [f"{wide} pixels wide"] if wide > width else []
    said += page.evaluate(
        "[...document.images].filter(i => !i.naturalWidth).map(i => 'no picture: ' + i.alt)"
    )
    context.close()
    return said
