"""Turns what LLVM and the operating system report into a ``Machine``. Standard library only.

Nothing here fails: whatever cannot be read is replaced by a typical value, and a processor that
fits no row of the table is ``generic``.
"""

import os
import re
from dataclasses import replace
from pathlib import Path

from faltung.machine.table import GENERIC, ROWS, Machine

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


def cores() -> int:
    """Number of processors that this process may run on; at least 1."""
    return len(affinity()) or os.cpu_count() or 1


def cache_bytes(level: int, folder: Path = _CPU_FOLDER) -> int | None:
    """Bytes of the data (or unified) cache of one core, for level 1 or 2.

    None where the system does not say, or says something implausible.
    """
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
        count = int(match[1]) * _UNITS[match[2]]
        low, high = _PLAUSIBLE_BYTES[level]
        return count if low <= count <= high else None
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


def describe(triple: str, cpu: str, features: str) -> Machine:
    """The host as a ``Machine``: the widest row that its features allow.

    triple, cpu, features: what LLVM reports about the host, features as "+a,-b". The result keeps
    them, unless no row fits: it is then ``generic``, for the triple of the host.
    """
    mine = replace(GENERIC, triple=triple, cpu=cpu or "generic", features=features)
    for candidate in ROWS:
        if candidate.name != GENERIC.name and fits(candidate, mine.arch, mine.enabled):
            return here(replace(candidate, triple=triple, cpu=mine.cpu, features=features))
    return here(replace(GENERIC, triple=triple))
