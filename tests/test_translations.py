"""Pages that translate another library's calls: both sides give the same numbers.

A comment of a page that is a call of the other library is followed by lines that set ``result``.
``test_docs.py`` runs these lines wherever tests run; here the call in the comment is run, too.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_docs import blocks

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {"from-opencv": "cv2", "from-scikit-image": "skimage"}


def parts(text: str, module: str) -> Iterator[tuple[str, str]]:
    """(call, code) of a block: the call of the other library above some code; "" if none is."""
    call, code = "", ""
    for line in text.splitlines():
        if line.startswith(f"# {module}."):
            yield call, code
            call, code = line.removeprefix("# "), ""
        elif not line.strip():
            yield call, code
            call, code = "", ""
        else:
            code += line + "\n"
    yield call, code


def close(ours: Any, theirs: Any) -> None:
    """One level apart in 8 bits, a few roundings in others."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    apart = np.abs(ours.astype("float64") - theirs.astype("float64")).max()
    largest = max(1.0, float(np.abs(theirs).max()))
    assert apart <= (1 if ours.dtype == np.uint8 else 2e-6 * largest), apart


@pytest.mark.parametrize("page", PAGES)
def test_both_sides_agree(page: str) -> None:
    module = PAGES[page]
    other = pytest.importorskip(module)
    names: dict[str, Any] = {module: other}
    seen = 0
    for block in blocks(DOCS / f"{page}.md", "python"):
        whole = ""
        for call, code in parts(block.text, module):
            whole += code
            if not call:
                if _complete(whole):
                    exec(whole, names)
                    whole = ""
                else:
                    whole += "\n"
                continue
            names.pop("result", None)
            exec(whole, names)
            whole = ""
            close(names["result"], eval(call, names))
            seen += 1
    assert seen >= 5


def _complete(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize("page", PAGES)
def test_every_call_of_a_page_is_compared(page: str) -> None:
    module = PAGES[page]
    text = (DOCS / f"{page}.md").read_text("utf-8")
    calls = len(re.findall(rf"^# {module}\.", text, re.MULTILINE))
    found = [
        call
        for block in blocks(DOCS / f"{page}.md", "python")
        for call, code in parts(block.text, module)
        if call
    ]
    assert calls == len(found) >= 5
    for call in found:
        ast.parse(call)
