"""The examples run, say what their pages say that they say, and fit on a terminal.

`first_convolution.py` has its test in `test_docs.py`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import faltung

EXAMPLES = Path(__file__).parent.parent / "examples"
SOURCE = Path(faltung.__file__).parent

# Few epochs for each, and how many are enough to see what it shows.
EPOCHS = {"text": 4, "series": 30, "pictures": 4, "volumes": 3, "globe": 3, "slide": 12}


def run(name: str, folder: Path, *words: str) -> str:
    """What an example prints, as a user would run it."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--epochs", str(EPOCHS[name]), *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE.parent), "PYTHONIOENCODING": "utf-8"},
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert not list(folder.iterdir())  # nothing is left behind
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    """All numbers that a pattern's groups found, in order."""
    found = re.findall(pattern, text)
    assert found, (pattern, text)
    return [float(part) for row in found for part in ([row] if isinstance(row, str) else row)]


def test_text(tmp_path: Path) -> None:
    """Far better than one in five; and sentences of one's own, short ones too."""
    printed = run("text", tmp_path, "Where is the cat?", "Der Hund liegt unter dem Tisch.")
    (right,) = numbers(r"([\d.]+)% of the pieces", printed)
    assert right > 60
    assert "German" in printed.splitlines()[-1]


def test_series(tmp_path: Path) -> None:
    printed = run("series", tmp_path)
    simple, network = numbers(r"([\d.]+)% right", printed)
    assert 80 < simple < 95 and network > 80
    # Each kind was asked for three hundred times.
    table = re.findall(r"^(?:cylinder|bell|funnel) +(\d+) +(\d+) +(\d+)$", printed, re.MULTILINE)
    assert [sum(map(int, row)) for row in table] == [300] * 3
    # At first there is nothing to know, and in the end nearly everything.
    (line,) = re.findall(r"^right  (.*)$", printed, re.MULTILINE)
    soon, *_, late = numbers(r"(\d+)%", line)
    assert soon < 50 and late > 70
    assert "bit for bit: True" in printed


def test_pictures(tmp_path: Path) -> None:
    printed = run("pictures", tmp_path)
    (right,) = numbers(r"([\d.]+)% of those held out", printed)
    assert right > 93
    assert "it predicts the same: True" in printed


def test_volumes(tmp_path: Path) -> None:
    (right,) = numbers(r"([\d.]+)% right", run("volumes", tmp_path))
    assert right > 70


def test_globe(tmp_path: Path) -> None:
    """With zeros the seam is twice as bad as all else, without it is no place of its own."""
    printed = run("globe", tmp_path)
    zeros, without, circular, elsewhere = numbers(
        r"at the seam ([\d.]+), elsewhere ([\d.]+)", printed
    )
    assert zeros > 1.5 * without
    assert 0.8 < circular / elsewhere < 1.2
    assert "bit for bit: True" in printed


def test_slide(tmp_path: Path) -> None:
    """Tiles of a picture that is never there meet without a seam."""
    pytest.importorskip("zarr")
    printed = run("slide", tmp_path, "--size", "700", "--tile", "256")
    (right,) = numbers(r"([\d.]+)% of its positions", printed)
    assert right > 95
    assert "where four tiles meet: True" in printed


def test_sea_surface(tmp_path: Path) -> None:
    """No seam, gaps filled or kept, and the known currents."""
    pytest.importorskip("xarray")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "sea_surface.py")],
        env={**os.environ, "PYTHONPATH": str(SOURCE.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout
    without, plain, filled, kept = numbers(r"(?:temperature|gaps|there|land): (\d+)", printed)
    assert plain > without == kept > filled
    assert "bit for bit: True" in printed
    warm = dict(re.findall(r"^  (\w+) .* (-?[\d.]+) +-?[\d.]+$", printed, re.MULTILINE))
    assert float(warm["North"]) > 2 and float(warm["Gulf"]) > 1
    assert all(
        float(warm[name]) < -2 for name in ("Labrador", "California", "Humboldt", "Benguela")
    )
    picture = (tmp_path / "sea_surface.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n") and picture.endswith(b"IEND\xaeB`\x82")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_each_example_is_on_its_page(path: Path) -> None:
    assert f"`{path.name}`" in (EXAMPLES / "README.md").read_text("utf-8")
    assert path.stem in ("first_convolution", "sea_surface", *EPOCHS)
