"""``faltung doctor``: what this computer can do for Faltung, and whether anything is in the way."""

import argparse
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faltung.machine.table import Machine

DTYPES = ("float32", "float64")

# The features that kernels use or will use; /proc/cpuinfo lists a hundred others.
FEATURES = """
    sse4.2 avx avx2 fma f16c avx512f avx512bw avx512dq avx512vl avx512vnni avx512bf16 avx512fp16
    avxvnni amx-tile amx-int8 amx-bf16 neon dotprod i8mm bf16 fullfp16 sve sve2
""".split()

# All threads together should reach at least this part of what each reaches alone.
LEAST_SCALING = 0.6


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``doctor``."""
    parser.epilog = "exit status: 0 if all is well, 1 if something is wrong"
    parser.add_argument("--quick", action="store_true", help="skip measuring the peak performance")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Examine the computer and print; 1 if something is wrong."""
    from faltung.jit.target import current

    try:
        machine = current()
    except ValueError as error:  # FALTUNG_MACHINE names a machine that this is not
        print(f"faltung doctor: {error}", file=sys.stderr)
        return 1
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # they are problems
        found = examine(machine, measure=not arguments.quick)
    print(json.dumps(found, indent=2) if arguments.json else "\n".join(page(found)))
    return 1 if found["problems"] else 0


def examine(machine: "Machine", *, measure: bool = True) -> dict[str, Any]:
    """Everything that ``doctor`` prints, ready for JSON."""
    from faltung.jit import cache

    team = threads()
    found: dict[str, Any] = {
        "versions": versions(),
        "processor": processor(machine),
        "threads": team,
        "peak": peak(team["count"]) if measure else {},
        "self_test": self_test(),
        "cache": cache.status(),
    }
    return found | {"problems": list(problems(found))}


def versions() -> dict[str, str]:
    """Versions of what is installed."""
    import numpy as np

    import faltung
    from faltung.jit import llvm

    return {
        "faltung": faltung.__version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "NumPy": np.__version__,
        "compiler": llvm.versions(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor(machine: "Machine") -> dict[str, Any]:
    """The processor, its row of the machine table, and its other features."""
    from faltung.jit.target import host

    has = host().enabled
    return {
        "name": _processor_name(),
        "machine": machine.name,
        "host": host().name,
        "target": f"{machine.triple} {machine.cpu}",
        "vector_bytes": machine.vector_bytes,
        "registers": machine.registers,
        "lanes": {dtype: machine.lanes(dtype) for dtype in DTYPES},
        "fma": machine.fma,
        "masks": machine.masks,
        "features": [name for name in FEATURES if name in has],
        "l1": machine.l1,
        "l2": machine.l2,
        "cores": machine.cores,
    }


def _processor_name() -> str:
    from faltung.machine import sysctl

    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return sysctl.text("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def threads() -> dict[str, Any]:
    """How many threads run a convolution, where that number is from, and what was ignored."""
    from faltung.machine.detect import affinity, cores, processors
    from faltung.machine.quota import quota
    from faltung.runtime.threads import VARIABLES, default_threads, get_threads, source

    ignored = []
    for name in VARIABLES:
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            default_threads({name: os.environ.get(name, "")})
        ignored += [str(complaint.message) for complaint in complaints]
    otherwise = "the processors this process may use" if affinity() else "the processors there are"
    if cores() < processors():
        otherwise = "the processor time this process may use"
    with warnings.catch_warnings(action="ignore"):  # listed above
        count = get_threads()
    return {
        "count": count,
        "from": source(os.environ) or otherwise,
        "cores": cores(),
        "processors": processors(),
        "quota": quota(),
        "ignored": ignored,
    }


def peak(most: int) -> dict[str, dict[str, float]]:
    """GFLOP/s of 1 thread and of ``most`` threads, for each dtype."""
    from faltung.plan.peak import fma_peak

    counts = sorted({1, most})
    return {dtype: {str(n): round(fma_peak(n, dtype), 1) for n in counts} for dtype in DTYPES}


def self_test() -> str:
    """Compile and run one small convolution of whole numbers: "" if exact, else what went wrong."""
    import numpy as np

    import faltung
    from faltung.geometry import conv_spec
    from faltung.reference.conv import conv as reference

    x = np.arange(2 * 3 * 9 * 11, dtype=np.float32).reshape(2, 3, 9, 11) % 7 - 3
    weight = np.arange(4 * 3 * 3 * 3, dtype=np.float32).reshape(4, 3, 3, 3) % 5 - 2
    expected = reference(x, weight, None, conv_spec(x.shape, weight.shape, stride=2, padding=1))
    try:
        result = faltung.conv(x, weight, stride=2, padding=1)
    except Exception as error:  # whatever it is, it is reported
        return f"{type(error).__name__}: {error}"
    return "" if np.array_equal(result, expected) else "the result is wrong"


def problems(found: dict[str, Any]) -> Iterator[str]:
    """What is wrong, and what to do about it."""
    from faltung.runtime.threads import crowded

    if found["self_test"]:
        yield f"a small convolution fails: {found['self_test']}"
    yield from found["threads"]["ignored"]
    count, cores = found["threads"]["count"], found["threads"]["cores"]
    if count > cores:
        yield f"{crowded(count, cores)} (set by {found['threads']['from']})"
    kept = found["cache"]
    if kept.startswith("off") and "FALTUNG_CACHE=off" not in kept:
        yield f"compiled code is not kept on disk: {kept.removeprefix('off: ')}"
    elif not kept.startswith("off") and not _writable():
        yield "compiled code is not kept on disk: the folder is not writable"
    for dtype, rates in found["peak"].items():
        one, most = rates["1"], rates[str(count)]
        if 1 < count <= cores and most < LEAST_SCALING * count * one:
            yield (
                f"{dtype}: {count} threads are only {most / one:.1f} times as fast as one: other "
                "programs are running, or threads share cores"
            )


def _writable() -> bool:
    """Whether the folder, or the nearest existing one above it, is writable."""
    from faltung.jit import cache

    place = cache.folder(create=True)
    return place is not None and os.access(place, os.W_OK | os.X_OK)


def page(found: dict[str, Any]) -> Iterator[str]:
    """The lines for a terminal of 80 columns."""
    versions, chip, team = found["versions"], found["processor"], found["threads"]
    yield f"faltung {versions['faltung']}"
    yield from _rows({name: text for name, text in versions.items() if name != "faltung"})
    yield ""
    yield "Processor"
    yield from _rows(_processor_rows(chip))
    yield ""
    yield "Threads"
    yield from _rows({"count": f"{team['count']}, from {team['from']}", "cores": _cores(team)})
    if found["peak"]:
        yield ""
        yield "FMA peak, measured (GFLOP/s, two operations per multiply-add)"
        yield from _rows({dtype: _rates(rates) for dtype, rates in found["peak"].items()})
    yield ""
    yield "Compiled code on disk"
    yield f"  {found['cache']}"
    yield ""
    for problem in found["problems"]:
        yield f"PROBLEM: {problem}"
    if not found["problems"]:
        yield "All is well: a small convolution compiles and runs, and its result is exact."


def _processor_rows(chip: dict[str, Any]) -> dict[str, str]:
    forced = "" if chip["machine"] == chip["host"] else f" (chosen; this one is {chip['host']})"
    extras = [word for word in ("fma", "masks") if chip[word]]
    lanes = ", ".join(f"{count} {dtype}" for dtype, count in chip["lanes"].items())
    return {
        "name": chip["name"],
        "machine": f"{chip['machine']}{forced}{''.join(', ' + word for word in extras)}",
        "vectors": f"{chip['registers']} of {chip['vector_bytes']} bytes: {lanes}",
        "features": " ".join(chip["features"]) or "-",
        "target": chip["target"],
        "caches": f"L1 {chip['l1'] // 1024} KiB, L2 {chip['l2'] // 1024} KiB per core",
    }


def _cores(team: dict[str, Any]) -> str:
    if team["cores"] == team["processors"]:
        return str(team["cores"])
    return (
        f"{team['cores']} of {team['processors']}: a container or control group allows the time "
        f"of {team['quota']:.3g}"
    )


def _rates(rates: dict[str, float]) -> str:
    return ", ".join(f"{rate:,.1f} on {n} thread{'s' * (n != '1')}" for n, rate in rates.items())


def _rows(rows: dict[str, Any]) -> Iterator[str]:
    """Names and texts; long texts are wrapped."""
    width = max(map(len, rows))
    for name, text in rows.items():
        first, *rest = _wrap(str(text), 76 - width)
        yield f"  {name.ljust(width)}  {first}"
        yield from (f"  {' ' * width}  {line}" for line in rest)


def _wrap(text: str, width: int) -> Sequence[str]:
    import textwrap

    return textwrap.wrap(text, width) or [""]
