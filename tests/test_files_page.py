"""The list of files in ``docs/files.md`` is what the docstrings say, in the order of the stages."""

import runpy
from pathlib import Path

from test_imports import STAGES

ROOT = Path(__file__).parent.parent
COMMAND = "python docs/make_files.py"
SCRIPT = runpy.run_path(str(ROOT / "docs" / "make_files.py"))


def test_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "files.md").read_text("utf-8")
    assert page == SCRIPT["page"](), f"docs/files.md is out of date: run `{COMMAND}`"


def test_map_lists_every_stage_in_order() -> None:
    """The map in ARCHITECTURE.md and the test of imports agree."""
    there = [stage for stage in STAGES if (SCRIPT["SOURCE"] / stage).is_dir()]
    assert SCRIPT["stages"]() == there


def test_every_file_says_what_it_is() -> None:
    silent = [path.name for path in SCRIPT["SOURCE"].rglob("*.py") if not SCRIPT["summary"](path)]
    assert silent == []


def test_summary_ends_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('"""One *file*,\nover two lines. More.\nAnd more.\n\nDetails.\n"""\n')
    assert SCRIPT["summary"](path) == "One *file*, over two lines. More."
    assert SCRIPT["markdown"]("``a*b`` of *space, a_b") == r"`a*b` of \*space, a\_b"
