"""Describes the machine of a run in words. Linux tells most; elsewhere less is known."""

import os
import platform
import time
from pathlib import Path

from benchmarks.processes import cores

FEATURES = ("sse4_2", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni",
            "amx_tile", "amx_bf16", "asimd", "sve")  # fmt: skip


def describe() -> dict[str, str]:
    """Facts about the machine (name -> value), in the order of the page."""
    first = _cpuinfo()
    flags = set(first.get("flags", first.get("Features", "")).split())
    found = {
        "processor": _processor(first),
        "features": " ".join(name for name in FEATURES if name in flags),
        "cores": f"{len(cores())} usable of {os.cpu_count()}",
        "frequency": _frequency(first),
        "caches": _caches(),
        "memory": _memory(),
        "virtual machine": "yes" if "hypervisor" in flags else "",
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "Python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "",
    }
    return {name: value for name, value in found.items() if value}


class Others:
    """Watches how much processor time other programs use during a run.

    If it is more than a few per cent, the run says little about small differences.
    """

    def __init__(self) -> None:
        self._start = self._busy(), self._ours(), time.monotonic()

    def share(self) -> float | None:
        """Their share of all processors since the start, 0 to 1; None where it is unknown.

        Call it after our own processes have ended: only then does the system count them as ours.
        """
        busy, ours, began = self._start
        if not busy:
            return None
        took = (self._busy() - busy) - (self._ours() - ours)
        return max(0.0, took / (time.monotonic() - began) / (os.cpu_count() or 1))

    @staticmethod
    def _busy() -> float:
        """Seconds that all processors have worked, including time stolen from a virtual machine."""
        words = _read("/proc/stat").split("\n", 1)[0].split()[1:9]
        if len(words) < 8:
            return 0.0
        user, nice, system, _idle, _wait, interrupt, soft, steal = map(int, words)
        return float(user + nice + system + interrupt + soft + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _ours() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _cpuinfo() -> dict[str, str]:
    """The lines about the first processor."""
    block = _read("/proc/cpuinfo").split("\n\n")[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _processor(first: dict[str, str]) -> str:
    name = first.get("model name", platform.processor() or platform.machine())
    numbers = [first.get(key) for key in ("cpu family", "model", "stepping")]
    if None in numbers:
        return name
    # Hypervisors often hide the name; the numbers still identify the generation.
    return f"{name} (family {numbers[0]}, model {numbers[1]}, stepping {numbers[2]})"


def _frequency(first: dict[str, str]) -> str:
    most = _read("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    if most.isdigit():
        return f"at most {int(most) / 1e6:.2f} GHz"
    return f"{first['cpu MHz']} MHz as reported" if "cpu MHz" in first else ""


def _caches() -> str:
    words = []
    for index in range(4):
        folder = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        level, kind = _read(f"{folder}/level"), _read(f"{folder}/type")
        if level and kind != "Instruction":
            words.append(f"L{level} {_read(f'{folder}/size')}")
    return ", ".join(words)


def _memory() -> str:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal"):
            return f"{int(line.split()[1]) / 2**20:.0f} GiB"
    return ""
