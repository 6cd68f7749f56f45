"""Object files, plans, programs and choices, on disk in a folder that only the user can write.

Where: FALTUNG_CACHE, else XDG_CACHE_HOME/faltung, else ~/.cache/faltung (LOCALAPPDATA on Windows);
FALTUNG_CACHE=off keeps nothing.  Under which name: a hash of the source that writes the kernel, or
with FALTUNG_CACHE_KEY=text of the text that it wrote.

What is read becomes machine code of this process, so a file is believed only if the folder and the
file belong to the user, nobody else can write them, the name that was hashed stands inside, and the
contents have the hash that stands beside it.  Everything else is a file that is not there: it is
compiled again and replaced.  No error of the disk ever reaches the caller.
"""

import hashlib
import os
import re
import stat
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

CAP = 256 << 20  # bytes of the whole folder, beyond which the oldest files go
LARGEST = 16 << 20  # bytes of one file; a kernel takes a few thousand
STALE = 3600  # seconds after which an unfinished file was left by a process that died

_MAGIC = b"faltung\x01"
_HEADER = len(_MAGIC) + 2 * 32  # then the key, then the sha256 of what follows
KINDS = ("kernel", "choice", "plans", "program")
_NAME = re.compile(rf"[0-9a-f]{{64}}\.({'|'.join(KINDS)})")
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]+\.part")
# O_NONBLOCK: opening a FIFO must not wait for someone to write into it.
_READ = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY")
)
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_WRITE |= sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_BINARY"))

# The stages whose source decides what a kernel's code is; and what of it makes code of a text.
_STAGES = ("geometry", "machine", "codegen", "jit", "methods", "plan")
_COMPILER = ("jit/llvm.py",)
_BORN = time.time_ns()

_warned: set[str] = set()
_room = -1  # bytes that may still be written before the folder is measured again


@cache
def fingerprint(places: tuple[str, ...] = _STAGES) -> str | None:
    """sha256 of the source in these files and folders of the package (default: all that writes
    kernels), or None: then nothing is kept on disk.

    None where there is no source to be read, and where a file has changed since this process
    began: the code that runs here is then not the code of the files.
    """
    package = Path(__file__).parent.parent
    total, seen = hashlib.sha256(), 0
    try:
        for place in _sources(package, places):
            status = place.stat()
            if max(status.st_mtime_ns, status.st_ctime_ns) > _BORN:
                return None
            data = place.read_bytes()
            total.update(f"{place.relative_to(package).as_posix()} {len(data)}\n".encode())
            total.update(data)
            seen += 1
    except OSError:
        return None
    return total.hexdigest() if seen else None


def _sources(package: Path, places: tuple[str, ...]) -> Iterator[Path]:
    for place in places:
        path = package / place
        yield from [path] if path.suffix else sorted(path.rglob("*.py"))


def by_text() -> bool:
    """Whether every kernel is kept under its text (FALTUNG_CACHE_KEY=text), not its source."""
    return os.environ.get("FALTUNG_CACHE_KEY", "").strip().lower() == "text"


def covers(module: str) -> bool:
    """Whether the fingerprint changes when the source of this module does."""
    package, _, rest = module.partition(".")
    return package == __name__.partition(".")[0] and rest.partition(".")[0] in _STAGES


def key(*parts: str) -> str | None:
    """The name, 64 hexadecimal digits, under which what `parts` describe is kept.

    The fingerprint goes in too.  None where nothing is kept.
    """
    return _key(fingerprint(), parts) if where() is not None else None


def text_key(*parts: str) -> str | None:
    """The same where `parts` hold the text of the code: of the source, only what compiles a text
    goes in.
    """
    return _key(fingerprint(_COMPILER), ("text", *parts)) if where() is not None else None


def _key(source: str | None, parts: tuple[str, ...]) -> str | None:
    if source is None:
        return None
    total = hashlib.sha256()
    for part in (source, *parts):
        data = part.encode()
        total.update(f"{len(data)}:".encode())  # so that ("ab", "c") is not ("a", "bc")
        total.update(data)
    return total.hexdigest()


def where() -> Path | None:
    """The folder by the rules above, whether it is there or not; None: nothing is kept."""
    given = os.environ.get("FALTUNG_CACHE", "").strip()
    if given.lower() == "off":
        return None
    variable = "LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME"
    base = os.environ.get(variable, "")
    if given:
        text = os.path.abspath(os.path.expanduser(given))
    elif os.path.isabs(base):  # a relative one is to be ignored, says the XDG specification
        text = os.path.join(base, "faltung")
    else:
        text = os.path.join(os.path.expanduser("~"), ".cache", "faltung")
    # Without a home "~" stays as it is, and would become a folder of that name right here.
    return Path(text) if os.path.isabs(text) and "\0" not in text else None


def _mine(status: os.stat_result) -> bool:
    """Whether the user owns it and nobody else can write it."""
    if os.name == "nt":  # ownership is not in stat there; LOCALAPPDATA is private by its ACL
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _warn(path: Path) -> None:
    if str(path) not in _warned:
        _warned.add(str(path))
        warnings.warn(
            f"FALTUNG_CACHE={str(path)!r}: must be a folder that belongs to this user and that "
            "nobody else can write; kernels are not kept on disk",
            RuntimeWarning,
            stacklevel=2,
        )


def _trusted(path: Path) -> bool | None:
    """Whether `path` is a folder of the user that nobody else can write; None: it is not there."""
    try:
        # A link is fine if the user made it: the folder then lies elsewhere.
        own, status = path.lstat(), path.stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return False
    linked = stat.S_ISLNK(own.st_mode) and os.name != "nt" and own.st_uid != os.geteuid()
    return stat.S_ISDIR(status.st_mode) and _mine(status) and not linked


def folder(*, create: bool = False) -> Path | None:
    """The folder in use, or None: switched off, not there, or not the user's alone.

    The last is worth one warning.  With `create`, it is made (0700) where it is missing.
    """
    path = where()
    if path is None:
        return None
    trusted = _trusted(path)
    if trusted is None and create:
        with suppress(OSError):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        trusted = _trusted(path)
    if trusted is False:
        _warn(path)
    return path if trusted else None


def load(name: str, kind: str = "kernel") -> bytes | None:
    """What was kept under the key `name`; None where there is nothing, or nothing to believe."""
    place = folder()
    if place is None:
        return None
    try:
        handle = os.open(place / f"{name}.{kind}", _READ)
    except OSError:
        return None
    try:
        data = _read(handle)
    except OSError:
        return None
    finally:
        os.close(handle)
    return None if data is None else _unwrap(name, data)


def _read(handle: int) -> bytes | None:
    status = os.fstat(handle)
    if not (stat.S_ISREG(status.st_mode) and _mine(status)):
        return None
    if not _HEADER < status.st_size <= LARGEST:
        return None
    data = b""
    while len(data) < status.st_size:
        more = os.read(handle, status.st_size - len(data))
        if not more:
            return None
        data += more
    if status.st_mtime < time.time() - 86400 and os.utime in os.supports_fd:
        with suppress(OSError):  # the oldest go first, and this one is in use
            os.utime(handle)
    return data


def _wrap(name: str, payload: bytes) -> bytes:
    return _MAGIC + bytes.fromhex(name) + hashlib.sha256(payload).digest() + payload


def _unwrap(name: str, data: bytes) -> bytes | None:
    payload = data[_HEADER:]
    return payload if data == _wrap(name, payload) else None


def store(name: str, payload: bytes, kind: str = "kernel") -> bool:
    """Keep `payload` under the key `name`.  False where that cannot be done, for any reason.

    Written beside its place and moved there whole, so that nobody sees half a file.  It is not
    forced to the disk: after a power cut the hash tells, and waiting would cost more than
    compiling.
    """
    data = _wrap(name, payload)
    if len(data) > LARGEST:
        return False
    place = folder(create=True)
    if place is None:
        return False
    part = place / f".{name}.{os.urandom(8).hex()}.part"
    try:
        _write(part, data)
        _move(part, place / f"{name}.{kind}")
    except OSError:
        return False
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    _make_room(len(data))
    return True


def _write(part: Path, data: bytes) -> None:
    handle = os.open(part, _WRITE, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


def _move(part: Path, target: Path) -> None:
    try:
        os.replace(part, target)
    except (IsADirectoryError, PermissionError):  # a folder has taken the name: gone if empty
        target.rmdir()
        os.replace(part, target)


def _files(place: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Path, os.stat_result]]:
    """Our files in the folder; what bears another name is not ours to touch."""
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name):
                with suppress(OSError):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)


def status() -> str:
    """One line for people: the folder and what it holds, or why nothing is kept."""
    path = where()
    if path is None:
        off = os.environ.get("FALTUNG_CACHE", "").strip().lower() == "off"
        return "off: FALTUNG_CACHE=off" if off else "off: no home folder is known"
    if (text_key() if by_text() else key()) is None:
        return "off: the source changed after this process began, or cannot be read"
    trusted = _trusted(path)
    if trusted is None:
        return f"{path}, not there yet"
    if not trusted:
        return f"off: {path} must be a folder of this user that nobody else can write"
    files, taken = size()
    choices, plans, programs = (len(names(kind)) for kind in ("choice", "plans", "program"))
    more = f", {programs} program{'s' * (programs != 1)}" if programs else ""
    more += f", plans of {plans} program{'s' * (plans != 1)}" if plans else ""
    more += f", {choices} measured choice{'s' * (choices != 1)}" if choices else ""
    return f"{path}, {files - choices - plans - programs} kernels{more}, {taken / 2**20:.1f} MiB"


def size() -> tuple[int, int]:
    """(files, bytes) kept."""
    place = folder()
    found = [] if place is None else [s.st_size for _, s in _files(place, _NAME)]
    return len(found), sum(found)


def names(kind: str) -> list[str]:
    """The keys under which something of this kind is kept."""
    place = folder()
    found = () if place is None else _files(place, _NAME)
    return sorted(path.stem for path, _ in found if path.suffix == f".{kind}")


def clear() -> int:
    """Remove everything kept; how many files that were."""
    place = folder()
    removed = 0
    if place is not None:
        for path, _ in [*_files(place, _NAME), *_files(place, _UNFINISHED)]:
            with suppress(OSError):
                path.unlink()
                removed += 1
    return removed


def trim(cap: int = CAP) -> int:
    """Remove the files used longest ago until `cap` bytes are left; how many bytes are left."""
    place = folder()
    if place is None:
        return 0
    for path, status in _files(place, _UNFINISHED):
        if status.st_mtime < time.time() - STALE:
            with suppress(OSError):
                path.unlink()
    kept = sorted(_files(place, _NAME), key=lambda found: found[1].st_mtime)
    left = sum(status.st_size for _, status in kept)
    for path, status in kept:
        if left <= cap:
            break
        with suppress(OSError):
            path.unlink()
            left -= status.st_size
    return left


def _make_room(written: int) -> None:
    """Measure the folder once, and again when this process has written what was free then."""
    global _room
    _room -= written
    if _room < 0:
        left = trim()
        _room = (CAP - left) if left < CAP * 3 // 4 else CAP - trim(CAP * 3 // 4)
