"""How many cores' time Linux allows this process: the CPU quota of its container.

Standard library only; nothing here fails. A container may show all processors of its host, and
still stop the process for the rest of every tenth of a second once it has used the time of a few.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_PROC = Path("/proc/self")


def quota(proc: Path = _PROC, root: Path = Path("/")) -> float | None:
    """Cores' worth of processor time; None where there is no limit, or none is told.

    The least limit of the control groups of this process and those around them, of version 1 or 2.
    proc: the folder that describes the process. root: below which mounts are looked for.
    """
    limits = [limit for folder in _groups(proc, root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _limit(folder: Path) -> float | None:
    """Of one group: "200000 100000", microseconds of processor time in each period, or "max"."""
    try:
        both = folder / "cpu.max"
        if both.is_file():
            words = both.read_text().split()
        else:
            names = "cpu.cfs_quota_us", "cpu.cfs_period_us"
            words = [(folder / name).read_text() for name in names]
        time, period = map(int, words)
    except (OSError, ValueError):
        return None
    return time / period if time > 0 and period > 0 else None  # -1: no limit


def _groups(proc: Path, root: Path) -> Iterator[Path]:
    """The folders of the groups of this process that limit its time, up to their mounts."""
    for version, group in _paths(proc):
        for kind, top, place in _mounts(proc):
            if kind == version:
                # Of the path, a container may see only the end, or nothing.
                seen = group.relative_to(top).parts if group.is_relative_to(top) else ()
                mount = root / place.relative_to("/")
                for count in range(len(seen), -1, -1):
                    yield mount.joinpath(*seen[:count])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _paths(proc: Path) -> Iterator[tuple[int, PurePosixPath]]:
    """(version, path) from lines like "0::/a/b" and "4:cpu,cpuacct:/a/b"."""
    for line in _lines(proc / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not group.startswith("/") or ".." in group.split("/"):
            group = "/"
        if number == "0":
            yield 2, PurePosixPath(group)
        elif "cpu" in controllers.split(","):
            yield 1, PurePosixPath(group)


def _mounts(proc: Path) -> Iterator[tuple[int, PurePosixPath, PurePosixPath]]:
    """(version, path of the group on top, folder) of every mount of control groups.

    A line is "32 31 0:29 /group /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu".
    """
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) < 5 or len(kind) < 3 or not words[4].startswith("/"):
            continue
        if kind[0] == "cgroup2":
            yield 2, PurePosixPath(words[3]), PurePosixPath(words[4])
        elif kind[0] == "cgroup" and "cpu" in kind[2].split(","):
            yield 1, PurePosixPath(words[3]), PurePosixPath(words[4])
