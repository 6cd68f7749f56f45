"""Files are whole or as they were: full disks, refused folders, `kill -9` in the middle."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from limits import limit

import faltung
from faltung.formats.files import read_checked, sweep, write_whole

SOURCE = Path(faltung.__file__).parents[1]
OLD, NEW = b"the old one", b"new" * 100_000


def by_function(file: IO[bytes]) -> None:
    file.write(NEW[:1000])
    file.write(NEW[1000:])


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(OLD)
    return path


def untouched(path: Path) -> bool:
    return path.read_bytes() == OLD and os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("data", [NEW, by_function])
def test_written(target: Path, data: bytes | Callable[[IO[bytes]], None]) -> None:
    for path in (target, target.with_name("another"), str(target.with_name("x" * 255))):
        write_whole(path, data)
        assert Path(path).read_bytes() == NEW == read_checked(path)
    assert len(os.listdir(target.parent)) == 3


def fresh(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=limit(60),
    )


LIMITED = """
import errno, resource, sys
from faltung.formats.files import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
data = b"x" * 100_000
try:
    write_whole(sys.argv[1], data if sys.argv[2] == "bytes" else lambda file: file.write(data))
except OSError as error:
    print(error)
    sys.exit(error.errno == errno.EFBIG)
"""


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
@pytest.mark.parametrize("kind", ["bytes", "function"])
def test_the_system_refuses_in_the_middle(target: Path, kind: str) -> None:
    done = fresh(LIMITED, str(target), kind)
    assert done.returncode == 1
    assert done.stdout == f"{target}: not written, file too large\n"
    assert untouched(target)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk(target: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"file\.bin: not written, no space left on device$") as error:
        write_whole(target, NEW)
    assert error.value.errno == errno.ENOSPC
    assert untouched(target)


SMALL_DISK = """
set -e
mkdir disk
mount -t tmpfs -o size=64k none disk
cd disk
printf '%s' "the old one" > file
! python -c "
import sys
from faltung.formats.files import write_whole
try:
    write_whole('file', lambda file: file.write(bytes(10**6)))
except OSError as error:
    print(error)
    sys.exit(1)
"
ls -A
cat file
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a small disk made by Linux")
def test_a_disk_that_really_is_full(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", SMALL_DISK],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no small disk here: {done.stderr.strip()}")
    assert done.stdout == "file: not written, no space left on device\nfile\nthe old one"


def test_what_the_function_raises_comes_out(target: Path) -> None:
    def fails(file: IO[bytes]) -> None:
        file.write(NEW)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(target, fails)
    assert untouched(target)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none" / "file"
    with pytest.raises(FileNotFoundError, match=r"none/file: not written, no such file") as error:
        write_whole(path, NEW)
    assert "\n" not in str(error.value)


REFUSED = """
import os, sys
from faltung.formats.files import write_whole
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    write_whole(sys.argv[1], b"new")
except PermissionError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_what_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:  # other users come to this one
        folder, path = Path(name), Path(name) / "file.bin"
        path.write_bytes(OLD)
        path.chmod(0o444)
        folder.chmod(0o777)
        assert fresh(REFUSED, str(path)).stdout == f"{path}: not written, it is read-only\n"
        path.chmod(0o666)
        folder.chmod(0o555)
        assert fresh(REFUSED, str(path)).stdout == f"{path}: not written, permission denied\n"
        folder.chmod(0o755)
        assert untouched(path)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions_stay(target: Path) -> None:
    target.chmod(0o640)
    write_whole(target, NEW)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt", reason="special files of POSIX")
def test_only_ordinary_files_are_replaced_and_read(target: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/null")):
        with pytest.raises(ValueError, match="must be a file, is"):
            write_whole(path, NEW)
        with pytest.raises((ValueError, OSError), match=path.name):
            read_checked(path)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_a_link_is_followed(target: Path) -> None:
    link = target.with_name("link")
    link.symlink_to(target.name)
    write_whole(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW


def test_reading_has_a_limit(target: Path) -> None:
    assert read_checked(target, len(OLD)) == OLD
    with pytest.raises(ValueError, match=r"file\.bin: 11 bytes: must be at most 10$"):
        read_checked(target, len(OLD) - 1)
    with pytest.raises(FileNotFoundError, match="missing: not read, no such file"):
        read_checked(target.with_name("missing"))
    with pytest.raises(FileNotFoundError) as error:
        read_checked(target.with_name("two\nlines\x1b[2J"))
    assert str(error.value).isprintable()


FOREVER = """
import sys
from faltung.formats.files import write_whole
print("ready", flush=True)
turn = 0
while True:
    turn += 1
    data = turn.to_bytes(8, "little") * 50_000
    write_whole(sys.argv[1], data if turn % 2 else lambda file: file.write(data))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 of POSIX")
def test_killed_at_any_moment_the_file_is_whole(target: Path) -> None:
    turn, chance = 0, random.Random(7)
    target.write_bytes(bytes(400_000))
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", FOREVER, str(target)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 0.05))
        writer.kill()
        writer.wait()
        writer.stdout.close()
        data = target.read_bytes()
        assert data == data[:8] * 50_000
        turn += int.from_bytes(data[:8], "little")
    assert turn
    sweep(target.parent)
    assert os.listdir(target.parent) == [target.name]


def test_sweep_takes_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".faltung-0123456789abcdef.part").touch()
    kept = [".faltung-1.part", "a.part", ".hidden"]
    for name in kept:
        (tmp_path / name).touch()
    assert sweep(tmp_path) == 1
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
