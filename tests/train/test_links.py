"""Links in the folder of a run lead nowhere: what a run writes stays in it, and what it reads is
in it. Links that the user typed are followed.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from faltung.cli.main import main
from faltung.train.run_folder import BEST, CONFIG, LAST, METRICS, REPORT

for _name in ("safetensors", "tomli_w", "jinja2", "PIL"):
    pytest.importorskip(_name)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")

VICTIM = b"not to be touched"
FILES = (CONFIG, METRICS, BEST, LAST, REPORT)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_bytes(VICTIM)
    path.chmod(0o600)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.random((12, 1, 8, 8)), y=np.arange(12) % 2)
    np.save(tmp_path / "one.npy", rng.random((1, 8, 8)))
    return tmp_path / "x.npz"


def train(data: Path, *more: object) -> int:
    words = ["train", str(data), "--epochs", "1", "--threads", "1", *map(str, more)]
    return main([*words, "--set", "width=0.1"] if "inception" in words else words)


def untouched(victim: Path) -> bool:
    return victim.read_bytes() == VICTIM and victim.stat().st_mode & 0o777 == 0o600


def place(link: Path, victim: Path, how: str) -> None:
    link.unlink(missing_ok=True)
    if how == "hard":
        os.link(victim, link)
    elif how == "dangling":
        link.symlink_to(victim.with_name("nowhere"))
    elif how == "relative":
        link.symlink_to(os.path.relpath(victim, link.parent))
    else:
        link.symlink_to(victim)


@pytest.mark.parametrize("how", ["absolute", "relative", "dangling", "hard"])
def test_a_new_run_replaces_links(
    how: str, tmp_path: Path, data: Path, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    # Links to files that are there make the folder one that holds a run.
    names = FILES if how == "dangling" else (REPORT,)
    for name in names:
        place(run / name, victim, how)
    assert train(data, "--out", run) == 0
    assert untouched(victim) and not (tmp_path / "nowhere").exists()
    for name in FILES:
        assert (run / name).is_file() and not (run / name).is_symlink()
        assert (run / name).stat().st_nlink == 1
    assert b"<html" in (run / REPORT).read_bytes()


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_new_run_among_links_to_files(
    name: str, tmp_path: Path, data: Path, victim: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / name).symlink_to(victim)
    assert train(data, "--out", run) == 2
    assert f"must not hold a run, has {name}" in capsys.readouterr().err
    assert untouched(victim) and os.listdir(run) == [name]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["absolute", "hard", "/dev/zero", "fifo"])
def test_a_resumed_run_reads_no_links(
    name: str,
    how: str,
    tmp_path: Path,
    data: Path,
    victim: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    assert train(data, "--out", run) == 0
    if how == "fifo":
        (run / name).unlink()
        os.mkfifo(run / name)
    elif how == "/dev/zero":
        (run / name).unlink()
        (run / name).symlink_to(how)
    else:
        place(run / name, victim, how)
    capsys.readouterr()
    status = main(["train", "--resume", str(run)])
    err = capsys.readouterr().err
    assert untouched(victim)
    if name == REPORT and how != "fifo":
        assert status == 0 and not (run / name).is_symlink()
        return
    assert status == 2 and "Traceback" not in err
    said = err.splitlines()[0]
    assert name in said
    if how in ("absolute", "/dev/zero"):
        assert "must be a file, is a link" in said
    elif how == "fifo":
        assert "must be a" in said and "file" in said


def test_temporary_files_that_are_links_are_removed_alone(
    tmp_path: Path, data: Path, victim: Path
) -> None:
    run = tmp_path / "run"
    assert train(data, "--out", run) == 0
    (run / ".faltung-0123456789abcdef.part").symlink_to(victim)
    assert main(["train", "--resume", str(run)]) == 0
    assert untouched(victim) and not any(name.endswith(".part") for name in os.listdir(run))


def test_numbered_folders(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path("runs").mkdir()
    for number in (1, 2):
        Path(f"runs/x-lenet5-00{number}").symlink_to(elsewhere)
    assert train(data, "--net", "lenet5") == 0
    assert os.listdir(elsewhere) == [] and Path("runs/x-lenet5-003/last.safetensors").is_file()


def test_a_link_instead_of_the_folder_of_runs(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody typed ``runs``, so it is not followed; who types it is."""
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path("runs").symlink_to(elsewhere)
    assert train(data, "--net", "lenet5") == 2
    assert "runs: must be a folder, is a link; name the folder of the run with --out" in (
        capsys.readouterr().err
    )
    assert os.listdir(elsewhere) == []
    assert train(data, "--net", "lenet5", "--out", "runs/mine") == 0
    assert main(["train", "--resume", "runs/mine"]) == 0
    assert (elsewhere / "mine" / LAST).is_file()


def test_the_page_of_a_look(tmp_path: Path, data: Path, victim: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert train(data, "--net", "lenet5", "--out", run) == 0
    page, sample = run / "look-one.html", str(tmp_path / "one.npy")
    place(page, victim, "absolute")
    assert main(["look", str(run), sample]) == 0
    assert untouched(victim) and not page.is_symlink()
    # What the user typed is followed; the names of pages and pictures nobody typed.
    (tmp_path / "typed").symlink_to(elsewhere)
    for name in ("filters.png", "look-one.html"):
        place(elsewhere / name, victim, "absolute")
    words = ["--out", str(tmp_path / "typed"), "--pictures", str(tmp_path / "typed")]
    assert main(["look", str(run), sample, *words]) == 0
    assert untouched(victim) and (elsewhere / "grad-cam.png").is_file()
    assert not any((elsewhere / name).is_symlink() for name in ("filters.png", "look-one.html"))
    (tmp_path / "page.html").symlink_to(elsewhere / "mine.html")
    assert main(["look", str(run), sample, "--out", str(tmp_path / "page.html")]) == 0
    assert (elsewhere / "mine.html").is_file()


def test_an_export_follows_what_was_typed(tmp_path: Path, data: Path) -> None:
    run, target = tmp_path / "run", tmp_path / "model.safetensors"
    assert train(data, "--out", run) == 0
    target.write_bytes(b"old")
    (tmp_path / "link.safetensors").symlink_to(target)
    assert main(["export", str(run), str(tmp_path / "link.safetensors"), "--force"]) == 0
    assert (tmp_path / "link.safetensors").is_symlink() and target.stat().st_size > 1000


def test_a_sparse_checkpoint_is_not_read(
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A length costs nothing: 8 GB that take no room on the disk."""
    run = tmp_path / "run"
    assert train(data, "--out", run) == 0
    os.truncate(run / LAST, 8 * 10**9)
    monkeypatch.setattr("faltung.runtime.memory.available", lambda: 10**10)
    assert main(["train", "--resume", str(run)]) == 2
    assert "last.safetensors needs 16.0 GB of memory, 10.0 GB are free" in capsys.readouterr().err
