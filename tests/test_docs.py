"""What the pages say is so: their Python runs, their commands print what the page shows.

A page is README.md or a file of docs/. On a page

- every ```python block is executed, in order, in one namespace for the page. A block with `>>>` in
  it is a session, and its output is compared; one without is a program, and must not fail.
- in every ```console block, `$ faltung ...` with lines after it is run, and they are compared.
- every link to a file of the project, or to a heading in one, leads somewhere.
- `...` in an expected output stands for anything, for what differs from computer to computer.
"""

import ast
import doctest
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import faltung

ROOT = Path(__file__).parent.parent
SOURCE = Path(faltung.__file__).parent
PAGES = [path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if path.exists()]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
TEST_MARK = "<!-- test-command"


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The blocks of `page` in these languages, in order."""
    whole = page.read_text("utf-8")
    for found in FENCE.finditer(whole):
        if found[1] in languages:
            line = whole[: found.start(2)].count("\n") + 1
            yield Block(page, line, found[1], found[2])


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def run_session(text: str, names: dict[str, Any], where: Block) -> None:
    """Execute `>>>` lines and compare what they print."""
    test = doctest.DocTestParser().get_doctest(text, names, name(where.page), None, where.line - 1)
    test.globs = names  # the parser copies; the page has one namespace
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report: list[str] = []
    runner.run(test, out=report.append, clear_globs=False)
    assert runner.failures == 0, "".join(report)


# A block that needs PyTorch, which is not among what tests are installed with.
NEEDS_TORCH = re.compile(r"^(>>> )?import torch$", re.MULTILINE)
PROGRAMS = [page for page in PAGES if any(blocks(page, "python", "pycon"))]


@pytest.mark.parametrize("page", PROGRAMS, ids=name)
def test_python_of_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # what an example writes goes here
    if page.parent.name == "course":  # its cells read files of the repository
        for folder in ("docs", "examples"):
            (tmp_path / folder).symlink_to(ROOT / folder)
    names: dict[str, Any] = {"__name__": "__page__"}
    if page.stem.startswith("torch"):
        pytest.importorskip("torch")
    for block in blocks(page, "python", "pycon"):
        if NEEDS_TORCH.search(block.text) and importlib.util.find_spec("torch") is None:
            continue
        if re.search(r"^\s*>>> ", block.text, re.MULTILINE):
            run_session(block.text, names, block)
        else:
            padded = "\n" * (block.line - 1) + block.text  # so that a traceback shows the line
            exec(compile(ast.parse(padded), str(page), "exec"), names)


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The headings of a page as links call them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    broken = []
    folders = [ROOT / name for name in ("docs", "examples", "benchmarks", "src")]
    written = [*ROOT.glob("*.md"), *(page for each in folders for page in each.rglob("*.md"))]
    for page in written:
        for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
            file, _, anchor = link.partition("#")
            target = page.parent / file if file else page
            if ":" not in file and not (
                target.exists() and (not anchor or anchor in anchors(target))
            ):
                broken.append(f"{name(page)}: {link}")
    assert broken == []


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, expected output) of a console block; a command ends at the next `$`."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def test_commands_of_pages(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent), "COLUMNS": "80"}
    check = doctest.OutputChecker()
    for page in PAGES:
        for block in blocks(page, "console"):
            for command, expected in commands(block.text):
                words = shlex.split(command)
                if words[0] != "faltung" or not expected.strip():
                    continue
                done = subprocess.run(
                    [sys.executable, "-m", *words],
                    env=environment,
                    cwd=tmp_path,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                )
                where = f"{name(page)}:{block.line}: $ {command}"
                example = doctest.Example(command, expected)
                assert check.check_output(expected, done.stdout, OPTIONS), (
                    f"{where}\n{check.output_difference(example, done.stdout, OPTIONS)}"
                )


def test_your_own_pictures(tmp_path: Path) -> None:
    """The commands of the page work on the pictures that its first lines draw, and say what the
    page's Python says.
    """
    page = ROOT / "docs" / "your-own-pictures.md"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent)}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    first, *others = (block.text for block in blocks(page, "python"))
    run("-c", first)
    printed = []
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            assert line.startswith("faltung ")
            printed.append(run("-m", *shlex.split(line)))
    assert (tmp_path / "mine" / "report.html").exists() and (tmp_path / "mine.onnx").exists()
    assert (tmp_path / "mine" / "look-000.html").exists()
    again = run("-c", "\n".join(others))
    losses = [line for line in printed[0].splitlines() if line.startswith("epoch")]
    for ours, theirs in zip(losses, again.splitlines(), strict=False):
        assert ours.split("  lr ")[0] == theirs.split("  lr ")[0]  # what follows is time


def documented() -> list[str]:
    """The modules with `>>>` in them; found as text, so that the others need not be imported."""
    return [
        ".".join(["faltung", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(
            ".__init__"
        )
        for path in sorted(SOURCE.rglob("*.py"))
        if ">>> " in path.read_text("utf-8")
    ]


WITHOUT_TORCH = importlib.util.find_spec("torch") is None


@pytest.mark.parametrize("module", documented())
def test_docstrings(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # what an example writes goes here
    if WITHOUT_TORCH and module.startswith("faltung.torch"):
        pytest.skip("needs torch")
    result = doctest.testmod(importlib.import_module(module), optionflags=OPTIONS)
    assert result.attempted > 0 and result.failed == 0


def test_command() -> str:
    """The block after the mark in the README."""
    after = (ROOT / "README.md").read_text("utf-8").split(TEST_MARK)
    assert len(after) == 2, "README.md marks one block with <!-- test-command"
    found = FENCE.search(after[1])
    assert found is not None
    return found[2].strip()


test_command.__test__ = False  # type: ignore[attr-defined]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """.ci/run takes the command out of the README: extract it as the script does, and compare."""
    command = test_command()
    assert "pytest" in command and '".[test]"' in command
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    extract = re.search(r"\$\((awk .*?README\.md)\)", script, re.DOTALL)
    assert extract is not None
    shell = shutil.which("bash")
    if shell is None or shutil.which("awk") is None:
        pytest.skip("no bash and awk on this computer")
    done = subprocess.run(
        [shell, "-c", extract[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == command


def test_first_convolution_example(tmp_path: Path) -> None:
    """It runs, shows the cup as letters, and writes a picture that is whole."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "first_convolution.py")],
        env={**os.environ, "PYTHONPATH": str(SOURCE.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "edges" in done.stdout and "#" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    picture = (tmp_path / "first_convolution.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and picture.endswith(b"IEND\xaeB`\x82")
