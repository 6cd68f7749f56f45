"""A fault at every place of a short training and of a prediction: the disk's n-th call fails, the
n-th request for memory is refused, the power fails after the n-th change of the disk.

Whatever happens, the command ends with one line or does its work, and leaves a run that goes on to
the same bits as one that nothing disturbed.
"""

import errno
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import faults
import numpy as np
import pytest
from grid import CHOSEN, grid

from faltung.cli.main import main
from faltung.formats.files import _UNFINISHED
from faltung.formats.tensors import load_tensors
from faltung.train import loop
from faltung.train.run_folder import CONFIG, LAST, RunFolder

for _name in ("safetensors", "tomli_w", "jinja2", "PIL"):
    pytest.importorskip(_name)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="calls of POSIX")

# The smallest network that there is a name for.
NET = ["--net", "textcnn", "--set", "features=2", "--set", "maps=2", "--epochs", "2"]
CALLS = range(1, 221)  # of the disk by a training; beyond the last one nothing fails
REQUESTS = range(1, 8001)  # for memory by a training
FEW = 3  # resumes of states after a power cut, outside --exhaustive


@pytest.fixture(autouse=True, scope="module")
def eager() -> Iterator[None]:
    """A checkpoint after every epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "EPOCH_SAVE_SECONDS", -1.0)
        patch.setattr(loop, "SAVE_TIME_RATIO", 0.0)
        yield


class Place:
    """A folder with data, and what an undisturbed run makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        self.data = folder / "words.npz"
        x = rng.integers(0, 9, (12, 6))
        np.savez(self.data, x=x, y=np.arange(12) % 2, kind="text")
        self.sample = folder / "sample.npy"
        np.save(self.sample, x[:3])
        self.root = folder / "disk"
        self.root.mkdir()
        self.whole = folder / "whole"
        assert self.train(self.whole) == 0
        self.last = load_tensors(self.whole / LAST)[0]

    def train(self, run: Path) -> int:
        return main(["train", str(self.data), *NET, "--threads", "1", "--out", str(run)])

    def resume(self, run: Path) -> int:
        return main(["train", "--resume", str(run), "--threads", "1"])

    def predict(self, run: Path) -> int:
        return main(["predict", str(run), str(self.sample)])

    def fresh(self) -> Path:
        shutil.rmtree(self.root)
        self.root.mkdir()
        return self.root / "above" / "run"

    def same(self, run: Path) -> bool:
        found = load_tensors(run / LAST)[0]
        return found.keys() == self.last.keys() and all(
            np.array_equal(found[name], self.last[name]) for name in found
        )

    def check(self, run: Path) -> None:
        """What is there goes on to the same bits; or nothing is there, and a new run can begin."""
        if not (run / CONFIG).exists():
            assert not (run / LAST).exists()
            assert self.train(run) == 0
        else:
            assert self.resume(run) == 0
        assert self.same(run)
        assert not unfinished(run)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("faults"))


def unfinished(run: Path) -> list[str]:
    return [name for name in os.listdir(run) if _UNFINISHED.fullmatch(name)]


def one_line(text: str, command: str = "train") -> str:
    """The only line of an error, besides the one that says how to go on."""
    lines = [line for line in text.splitlines() if not line.startswith("To ")]
    assert len(lines) == 1 and lines[0].startswith(f"faltung {command}: "), text
    assert "Traceback" not in text
    return lines[0]


@grid(at=CALLS, code=[errno.EIO, errno.ENOSPC, errno.EROFS], forever=[False, True], every=96)
def test_the_disk_fails_in_training(
    at: int, code: int, forever: bool, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place.fresh()
    capsys.readouterr()
    with faults.disk(place.root, at, code=code, forever=forever) as disk:
        status = place.train(run)
    if not disk.failed:
        assert status == 0 and at > disk.count, "every call of a training is tried"
        return
    said = capsys.readouterr().err
    if status == 0:  # only what may fail: tidying up
        assert (not said and not forever) or disk.failed == ["scandir"]
    else:
        assert status == 2
        assert os.strerror(code).lower() in one_line(said)
        assert str(place.root) in said
    if run.is_dir():
        assert forever or not unfinished(run)
    place.check(run)


@grid(at=range(1, 80), forever=[False, True], every=24)
def test_the_disk_fails_in_resuming(
    at: int, forever: bool, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place.fresh()
    with faults.disk(place.root, 110, forever=True):  # in the second epoch
        assert place.train(run) == 2
    assert not place.same(run)
    capsys.readouterr()
    with faults.disk(place.root, at, forever=forever) as disk:
        status = place.resume(run)
    if status:
        assert os.strerror(errno.EIO).lower() in one_line(capsys.readouterr().err)
    else:
        assert not forever or not disk.failed
    place.check(run)


@grid(at=range(1, 25), every=3)
def test_the_disk_fails_in_predicting(
    at: int, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert place.predict(place.whole) == 0
    right = capsys.readouterr().out
    with faults.disk(place.folder, at) as disk:
        status = place.predict(place.whole)
    out, err = capsys.readouterr()
    assert bool(status) == bool(disk.failed)
    if status:
        assert "input/output error" in one_line(err, "predict").lower()
    else:
        assert out == right


@grid(at=REQUESTS, every=800)
def test_memory_fails_in_training(
    at: int, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place.fresh()
    capsys.readouterr()
    with faults.memory(at) as memory:
        status = place.train(run)
    said = capsys.readouterr().err
    if memory.count < at:
        assert status == 0
    if status:
        one_line(said)
    if run.is_dir():
        assert not unfinished(run)
    place.check(run)


@grid(at=range(1, 3001), every=300)
def test_memory_fails_in_predicting(
    at: int, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert place.predict(place.whole) == 0
    right = capsys.readouterr().out
    with faults.memory(at) as memory:
        status = place.predict(place.whole)
    out, err = capsys.readouterr()
    if status:
        assert memory.count >= at
        one_line(err, "predict")
    else:
        assert out == right


def test_the_power_fails(place: Place, tmp_path: Path) -> None:
    """After each change of the disk, with everything that may and may not have reached it."""
    run = place.fresh()
    with faults.disk(place.root) as disk:
        assert place.train(run) == 0
    saved = _checkpoints(disk.events)
    assert len(saved) >= 2
    cut, done = faults.Cut(place.root), 0
    states: dict[int, faults.Tree] = {}
    for number, event in enumerate(disk.events):
        cut.add(event)
        done = sum(end <= number for end, _ in saved)  # checkpoints that must be there
        for tree in cut.trees():
            found = tree.get(str(run.resolve() / LAST))
            allowed = [data for _, data in saved[max(0, done - 1) :]]
            assert found in allowed or (found is None and not done), event
            states.setdefault(hash(frozenset(_files(tree, run))), tree)
    chosen = list(states.values())
    if CHOSEN.tier.fewer:
        chosen = random.Random(CHOSEN.seed).sample(chosen, FEW)
    for number, tree in enumerate(chosen):
        faults.written(tree, place.root, tmp_path / str(number))
        place.check(tmp_path / str(number) / run.relative_to(place.root))


def _checkpoints(events: list[tuple]) -> list[tuple[int, bytes]]:
    """When each last.safetensors was safe on the disk, and its contents."""
    data: dict[str, bytes] = {}
    found: list[tuple[int, bytes]] = []
    waiting = None
    for number, event in enumerate(events):
        if event[0] == "write":
            data[event[1]] = data.get(event[1], b"") + event[2]
        elif event[0] == "rename" and event[2].endswith(LAST):
            waiting = data[event[1]]
        elif event[0] == "fsync" and waiting is not None:
            found.append((number, waiting))
            waiting = None
    return found


def _files(tree: faults.Tree, run: Path) -> Iterator[tuple[str, bytes | None]]:
    """What a resume reads."""
    for path, data in tree.items():
        name = os.path.basename(path)
        yield ("part" if _UNFINISHED.fullmatch(name) else path), data


# Folders that are not as they were ----------------------------------------------------------------


def test_a_folder_that_is_removed_while_training(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place.fresh()
    save = RunFolder.save_best

    def removes(self: RunFolder, *arguments: object) -> None:
        shutil.rmtree(self.path)
        save(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RunFolder, "save_best", removes)
    assert place.train(run) == 2
    assert "best.safetensors: not written, no such file or directory" in one_line(
        capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "\u202eb", "b " * 20, "-b"])
def test_a_run_in_a_folder_with_an_odd_name(
    place: Place, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    above = place.fresh().parent
    run = above / name / "run"
    assert place.train(run) == 0 and place.same(run)
    out = capsys.readouterr().out
    assert "\x1b" not in out.replace("\x1b[2K", "") and "\u202e" not in out
    assert len([line for line in out.splitlines() if line.startswith("report: ")]) == 1
    os.truncate(run / LAST, 100)
    assert place.resume(run) == 2
    said = one_line(capsys.readouterr().err)
    assert "\x1b" not in said and "\u202e" not in said
