"""Turns what LLVM and the operating system report into a ``Machine``. Standard library only.

Nothing here fails: whatever cannot be read is replaced by a typical value, and a processor that
fits no row of the table is ``generic``. What LLVM does not report may be there nevertheless: on
macOS it reports no features at all. So every architecture starts from what all its processors have.
"""

import math
import os
import re
from dataclasses import replace
from pathlib import Path

from faltung.machine import sysctl
from faltung.machine.quota import quota
from faltung.machine.table import BASELINES, GENERIC, ROWS, Machine

_CPU_FOLDER = Path("/sys/devices/system/cpu")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

# Plausible bytes of one cache, by level. Hypervisors report zeros, or the sum over a socket.
_PLAUSIBLE_BYTES = {1: (4 << 10, 4 << 20), 2: (32 << 10, 256 << 20)}


def affinity() -> tuple[int, ...]:
    """The processors that this process may run on; empty where the system does not say."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except (AttributeError, OSError):  # not Linux, or not allowed to ask
        return ()


def processors() -> int:
    """Number of processors that this process may run on; at least 1."""
    return len(affinity()) or os.cpu_count() or 1


def cores() -> int:
    """How many processors this process can keep busy; at least 1.

    Those that it may run on, or fewer where a container limits its processor time.
    """
    limit = quota()
    # Part of a core counts as one: threads beyond it wait, but one less would leave it unused.
    return processors() if limit is None else max(1, min(processors(), math.ceil(limit)))


def cache_bytes(level: int, folder: Path = _CPU_FOLDER) -> int | None:
    """Bytes of the data (or unified) cache of one core, for level 1 or 2.

    None where the system does not say, or says something implausible.
    """
    size = _cache_of_linux(level, folder) or _cache_of_macos(level)
    low, high = _PLAUSIBLE_BYTES[level]
    return size if size is not None and low <= size <= high else None


def _cache_of_macos(level: int) -> int | None:
    """Of the fastest cores; what several of them share is divided between them."""
    for prefix in ("hw.perflevel0.", "hw."):
        size = sysctl.number(f"{prefix}l1dcachesize" if level == 1 else f"{prefix}l2cachesize")
        if size:
            sharing = sysctl.number(f"{prefix}cpusperl2") if level == 2 else None
            return size // max(1, sharing or 1)
    return None


def _cache_of_linux(level: int, folder: Path) -> int | None:
    first = (affinity() or (0,))[0]
    for index in range(8):
        place = folder / f"cpu{first}" / "cache" / f"index{index}"
        try:
            found = (place / "level").read_text().strip(), (place / "type").read_text().strip()
            size = (place / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        match = re.fullmatch(r"(\d{1,12})([KMG]?)", size)
        if found[0] != str(level) or found[1] not in ("Data", "Unified") or match is None:
            continue
        return int(match[1]) * _UNITS[match[2]]
    return None


def here(machine: Machine) -> Machine:
    """``machine`` with the cache sizes and cores of this computer, where they can be read."""
    return replace(
        machine,
        l1=cache_bytes(1) or machine.l1,
        l2=cache_bytes(2) or machine.l2,
        cores=cores(),
    )


def fits(machine: Machine, arch: str, enabled: frozenset[str]) -> bool:
    """Whether a processor of this architecture, with these features, runs code for ``machine``."""
    return machine.triple == "" or (machine.arch == arch and machine.enabled <= enabled)


def completed(arch: str, features: str) -> str:
    """``features``, "+a,-b", with what every processor of the architecture has.

    Unchanged where that is reported. Otherwise the report is not of this processor, or there is
    none, and nothing may follow from the name of the processor alone, which LLVM takes for a list
    of features: what rows of this architecture use and nobody reports is switched off.
    """
    base = BASELINES.get(arch)
    found = replace(GENERIC, features=features).enabled
    if base is None or base.enabled <= found:
        return features
    used = frozenset[str]().union(*(row.enabled for row in ROWS if row.arch == arch))
    off = [f"-{name}" for name in sorted(used - base.enabled - found)]
    told = [word for word in features.split(",") if word[:1] in ("+", "-") and word[1:]]
    kept = [word for word in told if word[1:] not in base.enabled]
    # The last word on a feature holds.
    return ",".join([*off, *kept, *(f"+{name}" for name in sorted(base.enabled))])


def describe(triple: str, cpu: str, features: str) -> Machine:
    """The host as a ``Machine``: the widest row that its features allow.

    triple, cpu, features: what LLVM reports about the host, features as "+a,-b", "" where it cannot
    say. The result keeps them, features ``completed``, unless no row fits: it is then ``generic``,
    for the triple of the host.
    """
    mine = replace(GENERIC, triple=triple, cpu=cpu or "generic")
    mine = replace(mine, features=completed(mine.arch, features))
    for candidate in ROWS:
        if candidate.name != GENERIC.name and fits(candidate, mine.arch, mine.enabled):
            return here(replace(candidate, triple=triple, cpu=mine.cpu, features=mine.features))
    return here(replace(GENERIC, triple=triple))
