"""What is free is what the system says, and what is too much is refused before it is taken."""

import subprocess
import sys
from pathlib import Path

import pytest

from faltung.geometry.errors import FaltungMemoryError
from faltung.runtime import memory
from faltung.runtime.memory import available, require, said

GIB = 1 << 30


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1, "1 MB"),
        (10**6, "1 MB"),
        (123_400_000, "124 MB"),
        (18 * 10**9, "18.0 GB"),
        (2 * 10**14, "200.0 TB"),
        (3 * 10**18, "3,000.0 PB"),
        (10**40, "1.0e+25 PB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert said(size) == text


def test_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 3 * 10**9)
    require(3 * 10**9, "net")
    with pytest.raises(FaltungMemoryError) as error:
        require(18 * 10**9, "x.npz: sample 3", "choose less")
    assert str(error.value) == (
        "x.npz: sample 3 needs 18.0 GB of memory, 3.0 GB are free; choose less"
    )
    assert isinstance(error.value, MemoryError) and isinstance(error.value, ValueError)
    require(10**7, "too small to be compared")
    monkeypatch.setattr(memory, "available", lambda: None)
    require(10**30, "nobody knows")


def test_this_computer() -> None:
    found = available()
    assert found is None or 2**20 < found < 2**60


def test_windows_gives_the_least_of_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kernel:
        @staticmethod
        def GlobalMemoryStatusEx(where: object) -> int:
            status = where._obj  # type: ignore[attr-defined]
            assert status.length == 64  # of MEMORYSTATUSEX
            status.free, status.free_page_file, status.free_virtual = 1, 5 * GIB, 9 * GIB
            return 1

    monkeypatch.setattr("ctypes.CDLL", lambda name: Kernel)
    assert memory._free_on_windows() == 5 * GIB


# Control groups -----------------------------------------------------------------------------------


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    return tmp_path


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("memory_", "memory.")).write_text(f"{text}\n")


def belongs(text: str, monkeypatch: pytest.MonkeyPatch) -> int | None:
    read = Path.read_text

    def told(path: Path, *rest: object) -> str:
        return text if str(path) == "/proc/self/cgroup" else read(path, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", told)
        return memory._in_group()


def test_version_two(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least of all limits from the group up, without what caches of files would give back."""
    group(groups / "a" / "b", memory_max="max", memory_current=GIB)
    assert belongs("0::/a/b\n", monkeypatch) is None
    stat = f"anon 5\ninactive_file {GIB}"
    group(groups / "a", memory_max=4 * GIB, memory_current=3 * GIB, memory_stat=stat)
    assert belongs("0::/a/b\n", monkeypatch) == 2 * GIB
    group(groups / "a" / "b", memory_max=2 * GIB)
    assert belongs("0::/a/b\n", monkeypatch) == GIB
    assert belongs("0::/\n", monkeypatch) is None
    assert belongs("0::/../../other\n", monkeypatch) is None


def test_version_one(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "9:cpu:/x\n4:memory:/docker/1\n0::/\n"
    none = 9223372036854771712  # how it says that there is no limit
    top = groups / "memory"
    group(top, memory_limit_in_bytes=none, memory_usage_in_bytes=GIB)
    assert belongs(text, monkeypatch) is None
    group(top / "docker/1", memory_limit_in_bytes=2 * GIB, memory_usage_in_bytes=GIB)
    assert belongs(text, monkeypatch) == GIB


def test_no_control_groups(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert belongs("", monkeypatch) is None
    assert belongs("nonsense\n0::\n:::\n", monkeypatch) is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory")
def test_a_limit_of_the_shell() -> None:
    code = """
import resource
from faltung.runtime.memory import available, require
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
assert 1 << 30 < available() < 3 << 30
try:
    require(4 << 30, "this")
except MemoryError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("this needs 4.3 GB of memory, ")
