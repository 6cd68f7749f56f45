"""How much memory this process may still take, and refusing what needs more before it is taken.

Most systems promise memory that they do not have, and kill the process that then writes to it; so
what follows from a file or an argument is added up and compared first.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from faltung.geometry.errors import FaltungMemoryError

# What is smaller is not compared: asking the system takes a tenth of a millisecond.
CHECK_BYTES = 1 << 26
_CGROUPS = Path("/sys/fs/cgroup")


def require(n_bytes: int, what: str, remedy: str = "") -> None:
    """MemoryError if ``n_bytes`` are more than ``available``: one line with ``what`` needs them,
    and the ``remedy``.
    """
    if n_bytes < CHECK_BYTES:
        return
    free = available()
    if free is not None and n_bytes > free:
        rest = f"; {remedy}" if remedy else ""
        raise FaltungMemoryError(
            f"{what} needs {said(n_bytes)} of memory, {said(free)} are free{rest}"
        )


def said(n_bytes: int) -> str:
    """A size for people: 3 MB, 18.2 GB."""
    for unit, size in (("PB", 10**15), ("TB", 10**12), ("GB", 10**9)):
        if n_bytes >= size:
            many = n_bytes / size if n_bytes < 10**30 else n_bytes // size
            return f"{many:,.1f} {unit}" if many < 10**6 else f"{many:.1e} {unit}"
    return f"{-(-n_bytes // 10**6):,} MB"


def available() -> int | None:
    """Bytes that this process can still use, the least of what the computer has free, what its
    control group allows and what its own limits allow; None where the system does not say.
    """
    found = [n for n in (_free(), _in_group(), _in_limits()) if n is not None]
    return max(0, min(found)) if found else None


# The computer -------------------------------------------------------------------------------------


def _free() -> int | None:
    """Free memory and swap, with what caches of files would give back. Where a system tells only
    what is installed, that.
    """
    if sys.platform == "win32":
        return _free_on_windows()
    try:
        with open("/proc/meminfo") as lines:
            rows = dict(line.split(":", 1) for line in lines)
        return sum(int(rows[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") or None
    except (AttributeError, OSError, ValueError):
        return None


def _free_on_windows() -> int | None:
    """What may still be committed, in memory and in the page file (GlobalMemoryStatusEx)."""
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            ("total", ctypes.c_uint64),
            ("free", ctypes.c_uint64),
            ("total_page_file", ctypes.c_uint64),
            ("free_page_file", ctypes.c_uint64),
            ("total_virtual", ctypes.c_uint64),
            ("free_virtual", ctypes.c_uint64),
            ("free_extended", ctypes.c_uint64),
        ]

    status = Status(length=ctypes.sizeof(Status))
    try:
        ask = ctypes.CDLL("kernel32").GlobalMemoryStatusEx
    except (OSError, AttributeError):
        return None
    if not ask(ctypes.byref(status)):
        return None
    return int(min(status.free_page_file, status.free_virtual))


# The control group, as of a container -------------------------------------------------------------


def _in_group() -> int | None:
    """What the control groups of Linux leave to this process, of version 1 or 2."""
    found = None
    try:
        text = Path("/proc/self/cgroup").read_text()
    except (OSError, ValueError):
        return None
    for row in (line.split(":", 2) for line in text.splitlines()):
        if len(row) == 3 and (row[0] == "0" or "memory" in row[1].split(",")):
            first = row[0] == "0" and not row[1]
            root = _CGROUPS if first else _CGROUPS / "memory"
            for group in _groups(root, row[2]):
                left = _left(group)
                if left is not None and (found is None or left < found):
                    found = left
    return found


def _groups(root: Path, name: str) -> Iterator[Path]:
    """A control group and all above it, each of which may have a limit."""
    parts = [part for part in name.split("/") if part not in ("", "..")]
    for count in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:count])


# Of versions 2 and 1: the limit, what is used, and the row of memory.stat that can be given back.
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _left(group: Path) -> int | None:
    """What a control group still allows; None if it has no limit."""
    for limit, used, given_back in _FILES:
        try:
            most = int((group / limit).read_text())  # "max" is no number
            taken = int((group / used).read_text())
        except (OSError, ValueError):
            continue
        if most >= 1 << 62:  # version 1 without a limit
            continue
        try:
            rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            taken -= int(rows.get(given_back, 0))
        except (OSError, ValueError):
            pass
        return most - max(0, taken)
    return None


# The process --------------------------------------------------------------------------------------


def _in_limits() -> int | None:
    """What ``ulimit -v`` leaves, where the system says how much is used (Linux)."""
    try:
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return most - pages * resource.getpagesize()
    except (ImportError, AttributeError, OSError, ValueError, IndexError):
        return None
