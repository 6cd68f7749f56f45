"""The store on disk: what is kept comes back, and nothing else is believed."""

import errno
import os
import socket
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from limits import limit

from faltung.jit import cache

NAME, OTHER = "a" * 64, "b" * 64
PAYLOAD = bytes(range(256)) * 20

posix = pytest.mark.skipif(os.name == "nt", reason="owners and modes are those of POSIX")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)
not_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the cache that is not there yet, and no warning given before."""
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("FALTUNG_CACHE_KEY", raising=False)
    monkeypatch.setattr(cache, "_room", -1)
    monkeypatch.setattr(cache, "_warned", set())
    return tmp_path / "kept"


@pytest.fixture
def file(place: Path) -> Path:
    """The file of NAME, with PAYLOAD in it."""
    assert cache.store(NAME, PAYLOAD)
    return place / f"{NAME}.kernel"


def names(place: Path) -> list[str]:
    return sorted(entry.name for entry in place.iterdir())


# What is kept


def test_what_is_kept_comes_back(place: Path):
    assert cache.load(NAME) is None
    assert not place.exists(), "looking makes no folder"
    assert cache.store(NAME, PAYLOAD)
    assert cache.load(NAME) == PAYLOAD
    assert cache.load(OTHER) is None
    assert names(place) == [f"{NAME}.kernel"], "nothing unfinished is left"
    assert cache.store(NAME, b"new")
    assert cache.load(NAME) == b"new"


@posix
def test_folder_and_file_are_the_users_alone(place: Path):
    before = os.umask(0)
    try:
        assert cache.store(NAME, PAYLOAD)
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / f"{NAME}.kernel").stat().st_mode) == 0o600


def test_size_clear_and_files_of_others(file: Path):
    cache.store(OTHER, PAYLOAD)
    (file.parent / "notes.txt").write_text("mine")
    (file.parent / f".{NAME}.00.part").write_text("left by a process that died")
    each = file.stat().st_size
    assert cache.size() == (2, 2 * each)
    assert cache.clear() == 3
    assert cache.size() == (0, 0)
    assert names(file.parent) == ["notes.txt"]


def test_trim_takes_the_oldest(file: Path):
    each = file.stat().st_size
    for age, letter in enumerate("bcde"):
        cache.store(letter * 64, PAYLOAD)
        os.utime(file.parent / f"{letter * 64}.kernel", (1, 1000 - age))
    assert cache.trim(3 * each) == 3 * each
    assert [name[0] for name in names(file.parent)] == ["a", "b", "c"]
    assert cache.trim(0) == 0


def test_trim_takes_what_was_left_unfinished_long_ago(file: Path):
    young, old = (file.parent / f".{NAME}.{digit}.part" for digit in "01")
    for path in (young, old):
        path.write_bytes(b"half a fi")
    os.utime(old, (0, time.time() - 2 * cache.STALE))
    cache.trim()
    assert young.exists() and not old.exists()


def test_the_folder_stays_under_its_cap(place: Path, monkeypatch):
    monkeypatch.setattr(cache, "CAP", 10 * (len(PAYLOAD) + 72))
    for number in range(40):
        cache.store(f"{number:064x}", PAYLOAD)
        assert cache.size()[1] <= cache.CAP
    assert cache.load(f"{39:064x}") == PAYLOAD


def test_use_makes_young(file: Path):
    os.utime(file, (1, 1))
    assert cache.load(NAME) == PAYLOAD
    assert file.stat().st_mtime > time.time() - 60


def test_a_payload_too_large_is_not_kept(place: Path, monkeypatch):
    monkeypatch.setattr(cache, "LARGEST", 1000)
    assert not cache.store(NAME, PAYLOAD)
    assert cache.load(NAME) is None


# What is not believed


def damage(path: Path, kind: str) -> None:
    """Put something in the place of a good file."""
    good = path.read_bytes()
    flipped = bytearray(good)
    if kind.startswith("flip"):
        flipped[int(kind.split()[1]) % len(good)] ^= 1
        path.write_bytes(bytes(flipped))
    elif kind.startswith("cut"):
        path.write_bytes(good[: int(kind.split()[1]) % len(good)])
    elif kind == "longer":
        path.write_bytes(good + b"\0")
    elif kind == "zeros":
        path.write_bytes(bytes(len(good)))
    elif kind == "noise":
        path.write_bytes(os.urandom(len(good)))
    elif kind == "of another key":
        cache.store(OTHER, b"code of another kernel")
        path.with_name(f"{OTHER}.kernel").replace(path)
    elif kind == "10 GB":
        with open(path, "r+b") as handle:
            handle.truncate(10 * 10**9)
    elif kind == "link to a good file":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    elif kind == "link to nothing":
        path.unlink()
        path.symlink_to("nowhere")
    elif kind == "link to itself":
        path.unlink()
        path.symlink_to(path.name)
    elif kind == "empty folder":
        path.unlink()
        path.mkdir()
    elif kind == "fifo":
        path.unlink()
        os.mkfifo(path)
    elif kind == "socket":
        path.unlink()
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
        os.rename("s", path.name)
        os.chdir(here)
    elif kind == "writable by all":
        path.chmod(0o606)
    elif kind == "writable by the group":
        path.chmod(0o620)
    else:
        raise AssertionError(kind)


ANYWHERE = ["flip 0", "flip 8", "flip 40", "flip 72", "flip -1", "cut 0", "cut 71", "cut 72"]
ANYWHERE += ["cut 73", "cut -1", "longer", "zeros", "noise", "of another key", "10 GB"]
ON_POSIX = ["link to a good file", "link to nothing", "link to itself", "empty folder", "fifo"]
ON_POSIX += ["socket", "writable by all", "writable by the group"]
DAMAGE = [*ANYWHERE, *(pytest.param(kind, marks=posix) for kind in ON_POSIX)]


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_bad_file_is_ignored_and_replaced(file: Path, kind: str):
    damage(file, kind)
    start = time.perf_counter()
    assert cache.load(NAME) is None
    assert time.perf_counter() - start < limit(1), "neither read whole nor waited for"
    assert cache.store(NAME, PAYLOAD)
    assert cache.load(NAME) == PAYLOAD
    assert file.is_file() and not file.is_symlink()


def test_every_flipped_bit_is_seen(place: Path):
    cache.store(NAME, b"\x90\xc3")
    file = place / f"{NAME}.kernel"
    good = file.read_bytes()
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        file.write_bytes(bytes(bad))
        assert cache.load(NAME) is None, bit


def test_a_full_folder_in_its_place(file: Path):
    file.unlink()
    (file / "inside").mkdir(parents=True)
    assert cache.load(NAME) is None
    assert not cache.store(NAME, PAYLOAD)
    assert names(file.parent) == [file.name], "nothing unfinished is left"


@posix
def test_a_replaced_link_leaves_its_target(file: Path):
    target = file.with_name("precious")
    target.write_text("precious")
    file.unlink()
    file.symlink_to(target)
    assert cache.store(NAME, PAYLOAD)
    assert target.read_text() == "precious"


@as_root
def test_the_file_of_another_user(file: Path):
    os.chown(file, 12345, -1)
    assert cache.load(NAME) is None


@as_root
def test_the_folder_of_another_user(file: Path):
    os.chown(file.parent, 12345, -1)
    with pytest.warns(RuntimeWarning, match="FALTUNG_CACHE='.*kept': must be a folder that"):
        assert cache.load(NAME) is None


@posix
def test_all_of_it_belongs_to_another_user(file: Path, monkeypatch):
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.warns(RuntimeWarning, match="must be a folder that"):
        assert cache.load(NAME) is None


@posix
@pytest.mark.parametrize("mode", [0o777, 0o702, 0o720, 0o1777])
def test_a_folder_that_others_can_write(file: Path, mode: int):
    file.parent.chmod(mode)
    with pytest.warns(RuntimeWarning, match="nobody else can write; kernels are not kept"):
        assert cache.load(NAME) is None
    with warnings.catch_warnings(action="error"):  # said once
        assert not cache.store(OTHER, PAYLOAD)
        assert cache.size() == (0, 0)
        assert cache.clear() == 0
        assert cache.status().startswith("off: ")
    assert names(file.parent) == [file.name]


@posix
def test_a_link_to_a_folder_is_followed_if_it_is_ours(file: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "link").symlink_to(file.parent)
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "link"))
    assert cache.load(NAME) == PAYLOAD
    if os.geteuid() == 0:
        os.lchown(tmp_path / "link", 12345, -1)
        with pytest.warns(RuntimeWarning):
            assert cache.load(NAME) is None


# What the disk can do


def test_the_folder_is_a_file(tmp_path: Path, place: Path):
    place.write_text("a file")
    with pytest.warns(RuntimeWarning):
        assert not cache.store(NAME, PAYLOAD)
    assert cache.load(NAME) is None


def test_the_folder_cannot_be_made(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("a file")
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(cache, "_warned", {str(tmp_path / "file" / "below")})
    assert not cache.store(NAME, PAYLOAD)
    assert cache.load(NAME) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["write", "close", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_half(file: Path, monkeypatch, call, number):
    real = getattr(os, call)

    def fails(*arguments):
        if call == "close":
            real(*arguments)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fails)
    assert not cache.store(NAME, b"new")
    assert not cache.store(OTHER, PAYLOAD)
    monkeypatch.undo()
    assert names(file.parent) == [file.name]
    assert file.read_bytes().endswith(PAYLOAD)


def test_short_writes_are_continued(place: Path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:7]))
    assert cache.store(NAME, PAYLOAD)
    assert cache.load(NAME) == PAYLOAD


LIMITED = """
import resource
from pathlib import Path
from faltung.jit import cache
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
assert not cache.store("a" * 64, b"x" * 5000)
assert cache.store("b" * 64, b"x" * 500)
assert cache.load("b" * 64) == b"x" * 500
assert len(list(cache.folder().iterdir())) == 1
"""


@posix
def test_a_real_limit_on_the_size_of_files(place: Path):
    subprocess.run([sys.executable, "-c", LIMITED], check=True)


def test_an_interrupt_leaves_nothing(place: Path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.store(NAME, PAYLOAD)
    assert names(place) == []


@not_root
@posix
def test_a_folder_without_the_right_to_write_is_read(file: Path):
    file.parent.chmod(0o500)
    try:
        assert cache.load(NAME) == PAYLOAD
        assert not cache.store(OTHER, PAYLOAD)
    finally:
        file.parent.chmod(0o700)


def test_a_read_only_disk_is_read(file: Path, monkeypatch):
    real = os.open

    def read_only(path, flags, *rest, **named):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", read_only)
    assert cache.load(NAME) == PAYLOAD
    assert not cache.store(OTHER, PAYLOAD)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_cannot_be_read(file: Path, monkeypatch, number: int):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "read", fails)
    assert cache.load(NAME) is None


def test_a_file_that_becomes_shorter_while_it_is_read(file: Path, monkeypatch):
    monkeypatch.setattr(os, "read", lambda handle, count: b"")
    assert cache.load(NAME) is None


def test_short_reads_are_continued(file: Path, monkeypatch):
    real = os.read
    monkeypatch.setattr(os, "read", lambda handle, count: real(handle, min(count, 7)))
    assert cache.load(NAME) == PAYLOAD


def test_where_files_have_no_owner_all_are_ours(file: Path, monkeypatch):
    status = file.stat()
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        patch.delattr(os, "geteuid", raising=False)
        assert cache._mine(status)


# Where it is


def test_off(monkeypatch):
    for word in ("off", "OFF", " off "):
        monkeypatch.setenv("FALTUNG_CACHE", word)
        assert cache.folder(create=True) is None
        assert cache.key("x") is None
        assert cache.load(NAME) is None
        assert not cache.store(NAME, PAYLOAD)
        assert cache.trim() == cache.clear() == 0
        assert cache.status() == "off: FALTUNG_CACHE=off"


@posix
def test_the_folder_is_looked_for_in_order(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("FALTUNG_CACHE", "~/own")
    assert cache.folder(create=True) == tmp_path / "home" / "own"
    monkeypatch.setenv("FALTUNG_CACHE", "")
    assert cache.folder(create=True) == tmp_path / "xdg" / "faltung"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache.folder(create=True) == tmp_path / "home" / ".cache" / "faltung"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == tmp_path / "home" / ".cache" / "faltung"


@posix
def test_without_a_home_nothing_is_kept_and_nothing_made(tmp_path: Path, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "FALTUNG_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without an entry
    monkeypatch.chdir(tmp_path)
    assert not cache.store(NAME, PAYLOAD)
    assert cache.load(NAME) is None
    assert names(tmp_path) == []
    assert cache.status() == "off: no home folder is known"


def test_status(file: Path):
    assert cache.status() == f"{file.parent}, 1 kernels, 0.0 MiB"
    cache.clear()
    file.parent.rmdir()
    assert cache.status() == f"{file.parent}, not there yet"


# Keys


def test_keys(place: Path, monkeypatch):
    keys = [cache.key(*parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], [])]
    assert len(set(keys)) == len(keys)
    assert all(key is not None and len(key) == 64 for key in keys)
    assert cache.key("abc") == keys[2]
    monkeypatch.setattr(cache, "fingerprint", lambda *_: "other source")
    assert cache.key("abc") != keys[2]
    monkeypatch.setattr(cache, "fingerprint", lambda *_: None)
    assert cache.key("abc") is None
    assert cache.status().startswith("off: the source changed")


def test_keys_of_texts_know_the_compiler_alone(place: Path, package: Path):
    sources = ("codegen/ir.py", "jit/llvm.py")
    found = {}
    for edited in (None, *sources):
        if edited:
            (package / edited).write_text("two = 2\n")
        cache.fingerprint.cache_clear()
        found[edited] = cache.key("abc"), cache.text_key("abc")
    by_source, by_text = zip(*found.values(), strict=True)
    assert len(set(by_source)) == 3
    assert by_text[0] == by_text[1] != by_text[2]
    assert not set(by_source) & set(by_text)


@pytest.mark.parametrize("word", ["text", " Text ", "source", ""])
def test_which_key(monkeypatch, word: str):
    monkeypatch.setenv("FALTUNG_CACHE_KEY", word)
    assert cache.by_text() == ("ext" in word)


def test_under_its_text_code_is_kept_when_other_source_changes(
    place: Path, package: Path, monkeypatch
):
    old = time.time_ns()
    monkeypatch.setattr(cache, "_BORN", old + 10**7)
    monkeypatch.setenv("FALTUNG_CACHE_KEY", "text")
    time.sleep(0.02)
    (package / "codegen" / "ir.py").write_text("two = 2\n")
    assert cache.key() is None
    assert cache.text_key() is not None
    assert cache.status() == f"{place}, not there yet"


def test_what_the_fingerprint_covers():
    assert cache.covers("faltung.methods.plain.direct") and cache.covers("faltung.codegen")
    for module in ("faltung", "faltung.ops.conv", "faltungs.methods", "__main__", "codegen"):
        assert not cache.covers(module)


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    """A package of two files in the place of our own."""
    for stage, name in (("codegen", "ir.py"), ("jit", "llvm.py")):
        (tmp_path / "faltung" / stage).mkdir(parents=True)
        (tmp_path / "faltung" / stage / name).write_text("one = 1\n")
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "faltung" / "jit" / "cache.py"))
    monkeypatch.setattr(cache, "_BORN", time.time_ns() + 10**10)
    cache.fingerprint.cache_clear()
    yield tmp_path / "faltung"
    cache.fingerprint.cache_clear()


def test_the_fingerprint_is_of_names_and_contents(package: Path):
    again = cache.fingerprint.__wrapped__
    first = again()
    assert again() == first is not None
    (package / "codegen" / "ir.py").write_text("one = 2\n")
    second = again()
    (package / "codegen" / "ir.py").rename(package / "codegen" / "tile.py")
    third = again()
    (package / "methods").mkdir()
    (package / "methods" / "direct.py").write_text("")
    assert len({first, second, third, again()}) == 4


def test_source_changed_under_a_running_process_keeps_nothing(package: Path, monkeypatch):
    monkeypatch.setattr(cache, "_BORN", time.time_ns() - 10**10)
    assert cache.fingerprint.__wrapped__() is None
    os.utime(package / "codegen" / "ir.py", (1, 1))  # an installer that restores times
    assert cache.fingerprint.__wrapped__() is None


def test_no_source_no_fingerprint(package: Path):
    (package / "codegen" / "ir.py").unlink()
    (package / "jit" / "llvm.py").unlink()
    assert cache.fingerprint.__wrapped__() is None
    assert cache.text_key("x") is None
