"""What the processor does for one convolution: the method and why no other, the tile in registers,
the assembly with its inner loop, and where the time lies under the roofline.

Prices are those of the plan: nominal, of one core. ``sections/processor_data.ts`` in the folder of
the explorer describes the result.

References
----------
S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
multicore architectures", 2009.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from math import inf, isfinite, prod
from typing import Any

import numpy as np

from faltung.explore.listing import Listing, listing
from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.jit import llvm
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.correlation import contiguous, forward
from faltung.methods.base.step import recipes
from faltung.plan import Plan, plan_forward
from faltung.plan.choose import choose, policy_of
from faltung.plan.complex import REAL
from faltung.plan.offer import Candidate
from faltung.runtime.memory import require

KERNELS = (1, 2, 3, 4, 5, 7, 9, 11, 13, 15, 21, 31)
CHANNELS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# Multiply-adds that one core begins in a cycle, by the width of its vectors in bytes: two units of
# each, as in every processor of the table.
UNITS = 2
MEASURED_SECONDS = 0.3


def processor(
    spec: ConvSpec,
    *,
    machine: Machine | None = None,
    channels_last: bool = True,
    measured: bool = False,
) -> dict[str, Any]:
    """What ``faltung see`` shows of a convolution on a processor.

    Parameters
    ----------
    spec : ConvSpec
        The convolution.
    machine : Machine, optional
        A row of ``faltung.machine``, which need not be this computer; by default this one.
    channels_last : bool
        Of the arrays in memory.
    measured : bool
        Also time it here, with one thread.

    Returns
    -------
    dict
        What JSON has.

    Raises
    ------
    ValueError
        ``measured`` for another machine than this one, or for bfloat16.
    MemoryError
        Arrays that this computer cannot hold, to be measured.
    """
    here = machine or current()
    if measured and here != current():
        raise FaltungError(
            f"machine={here.name!r}: is not this computer, so nothing can be measured on it; leave "
            "one of the two out"
        )
    if measured and spec.dtype == "bfloat16":
        raise FaltungError("dtype=bf16: NumPy has no such arrays to measure with; measure f16")
    sizes = map(prod, (spec.input_shape, spec.weight_shape, spec.output_shape))
    require(sum(sizes) * spec.itemsize, f"{spec}: this problem alone")
    plan = plan_forward(spec, machine=here, channels_last=channels_last)
    title, best, code = _main(plan)
    chosen = plan.reasons[0][1]
    return {
        "spec": str(spec),
        "layout": "channels last" if channels_last else "channels first",
        "machine": _machine(here, spec),
        "methods": [_method(each, chosen[0]) for each in chosen],
        "kernel": {"title": title, "step": best, **_code(code, here, spec)},
        "roofline": _roofline(spec, here, chosen),
        "curves": [
            curve
            for curve in (
                _curve("kernel", KERNELS, _with_kernel(spec), here, channels_last, spec),
                _curve("channels", CHANNELS, _with_channels(spec), here, channels_last, spec),
            )
            if len(curve["at"]) > 1
        ],
        "measured": _measured(spec, channels_last) if measured else None,
    }


# The chosen method --------------------------------------------------------------------------------


def _machine(machine: Machine, spec: ConvSpec) -> dict[str, Any]:
    lanes = machine.lanes(_summed(spec))
    return {
        "name": machine.name,
        "arch": machine.arch,
        "lanes": lanes,
        "bits": 8 * machine.vector_bytes,
        "registers": machine.registers,
        "fused": machine.fma,
        "l1": machine.l1,
        "l2": machine.l2,
        "l3": machine.speed.l3,
        "ghz": machine.speed.ghz,
    }


def _summed(spec: ConvSpec) -> str:
    """The real dtype in which sums are kept."""
    return REAL.get(spec.sums, spec.sums)


def _method(one: Candidate, best: Candidate) -> dict[str, Any]:
    how = [one.detail] if one.detail else []
    how += [f"input copied {one.stage.replace('_', ' ')}"] if one.stage else []
    ns = one.ns if isfinite(one.ns) else None
    why = one.why_not
    if why is None and one is not best and ns is not None:
        times = one.ns / best.ns if best.ns else 1.0
        why = f"{times:.2f} times as long"
        if times < 1:
            why += ", but it would add in another order for another batch"
    return {"name": one.name, "how": ", ".join(how), "ns": ns, "why": why}


def _main(plan: Plan) -> tuple[str, str, Listing]:
    """The kernel that makes the sums: the last step's that multiplies and adds in a loop."""
    found = "", "", Listing((), (0, 0))
    known: set[str] = set()
    for step in plan.work.steps:
        for recipe in recipes(step):
            if recipe.symbol in known:
                continue
            known.add(recipe.symbol)
            text = llvm.assembly(str(recipe.emit(plan.machine)), plan.machine)
            code = listing(text, plan.machine.arch)
            if code.loop[1] or not found[0]:
                found = recipe.symbol, step.title, code
    return found


def _code(code: Listing, machine: Machine, spec: ConvSpec) -> dict[str, Any]:
    """The lines and what they count. Registers are numbered as the processor does."""
    kinds = ("fma", "multiply", "add", "load", "broadcast", "store", "prefetch")
    adds = code.count("fma") or min(code.count("add"), code.count("multiply"))
    lanes = machine.lanes(_summed(spec))
    in_memory = sum(line.memory for line in code.lines[slice(*code.loop)] if line.kind == "fma")
    return {
        "lines": [
            [line.text, line.kind, *([line.into] if line.into >= 0 else [])] for line in code.lines
        ],
        "loop": list(code.loop),
        "counts": {kind: code.count(kind) for kind in kinds},
        "accumulators": list(code.accumulators),
        "fromMemory": in_memory,
        # Operations of one pass of the loop, two for each lane of a multiply-add, and the fewest
        # cycles that its multiply-adds take.
        "flops": 2 * adds * lanes,
        "cycles": adds / UNITS if machine.fma else adds,
    }


# The roofline -------------------------------------------------------------------------------------


def peak(machine: Machine, spec: ConvSpec) -> float:
    """Nominal GFLOP/s of one core: two multiply-adds of a whole vector in each cycle."""
    return 2 * UNITS * machine.lanes(_summed(spec)) * machine.speed.ghz / (1 if machine.fma else 2)


def _roofline(spec: ConvSpec, machine: Machine, offered: Iterable[Candidate]) -> dict[str, Any]:
    return {
        "flops": spec.flops,
        "bytes": spec.bytes_moved,
        "peak": peak(machine, spec),
        # GB/s of the first, second and third level and of memory.
        "rates": list(machine.speed.rates),
        "level": _level(spec, machine),
        "points": [
            {"name": each.name, "gflops": spec.flops / each.ns}
            for each in offered
            if isfinite(each.ns) and each.ns > 0
        ],
    }


def _level(spec: ConvSpec, machine: Machine) -> int:
    """Where the arrays fit: 0, 1, 2 for a cache, 3 for memory."""
    caches = machine.l1, machine.l2, machine.speed.l3
    return sum(spec.bytes_moved > size for size in caches)


def _bound(spec: ConvSpec, machine: Machine) -> float:
    """The fewest nanoseconds that the roofline allows to sums of products."""
    rate = machine.speed.rates[_level(spec, machine)]
    return max(spec.flops / peak(machine, spec), spec.bytes_moved / rate)


# Curves -------------------------------------------------------------------------------------------


def _with_kernel(spec: ConvSpec) -> Callable[[int], ConvSpec]:
    def made(size: int) -> ConvSpec:
        axes = tuple(
            Axis(a.size, size, a.stride, a.dilation, *_around(a, size), a.mode) for a in spec.axes
        )
        return replace(spec, axes=axes)

    return made


def _around(axis: Axis, kernel: int) -> tuple[int, int]:
    """Padding for another kernel that keeps the output's size: none where there was none."""
    if not axis.lo and not axis.hi:
        return 0, 0
    total = axis.lo + axis.hi + axis.dilation * (kernel - axis.kernel)
    return max(total, 0) // 2, -(-max(total, 0) // 2)


def _with_channels(spec: ConvSpec) -> Callable[[int], ConvSpec]:
    depthwise = spec.groups > 1 and spec.groups == spec.channels_in == spec.channels_out

    def made(count: int) -> ConvSpec:
        if depthwise:
            return replace(spec, channels_in=count, channels_out=count, groups=count)
        return replace(spec, channels_in=count, channels_out=count)

    return made


def _curve(
    name: str,
    points: Iterable[int],
    made: Callable[[int], ConvSpec],
    machine: Machine,
    channels_last: bool,
    spec: ConvSpec,
) -> dict[str, Any]:
    """Prices of every method along one number of the problem, where the problem exists."""
    at: list[int] = []
    chosen: list[str] = []
    bounds: list[float] = []
    prices: dict[str, list[float | None]] = {}
    for point in points:
        try:
            one = made(point)
        except (FaltungError, MemoryError):
            continue
        for candidate in _candidates(one, machine, channels_last):
            row = prices.setdefault(candidate.name, [])
            row += [None] * (len(at) - len(row))
            row.append(candidate.ns if isfinite(candidate.ns) else None)
        chosen.append(_candidates(one, machine, channels_last)[0].name)
        bounds.append(_bound(one, machine))
        at.append(point)
    for row in prices.values():
        row += [None] * (len(at) - len(row))
    kept = {method: row for method, row in prices.items() if any(ns is not None for ns in row)}
    now = max(spec.kernel) if name == "kernel" else max(spec.channels_in, spec.channels_out)
    return {
        "along": name,
        "at": at,
        "now": now,
        "chosen": chosen,
        "bound": bounds,
        "methods": [{"name": method, "ns": row} for method, row in kept.items()],
    }


def _candidates(spec: ConvSpec, machine: Machine, channels_last: bool) -> list[Candidate]:
    """What all methods offer, the chosen one first."""
    plain = replace(spec, dtype=_summed(spec))
    x, out = (contiguous(s, channels_last) for s in (spec.input_shape, spec.output_shape))
    c = forward(plain, x, contiguous(spec.weight_shape, False), out)
    return choose(c, machine, policy_of("fast", "auto")).candidates


# Measured -----------------------------------------------------------------------------------------


def _measured(spec: ConvSpec, channels_last: bool) -> dict[str, Any]:
    """The least of many calls on one thread, with the weights packed."""
    from faltung.ops.layer import Conv
    from faltung.runtime.threads import threads

    rng = np.random.default_rng(0)
    shape = spec.input_shape
    if channels_last:
        shape = (shape[0], *shape[2:], shape[1])
    x = _numbers(rng, shape, spec.dtype)
    layer = Conv(
        _numbers(rng, spec.weight_shape, spec.dtype),
        stride=spec.stride,
        padding=spec.padding,
        dilation=spec.dilation,
        groups=spec.groups,
        padding_mode=spec.padding_mode,  # type: ignore[arg-type]
        flip=spec.flip,
        channels_last=channels_last,
    )
    least, count = inf, 0
    with threads(1):
        layer(x)
        end = time.perf_counter() + MEASURED_SECONDS
        while count < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            layer(x)
            least, count = min(least, time.perf_counter() - start), count + 1
    return {"ns": 1e9 * least, "calls": count, "date": date.today().isoformat()}


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    """Random numbers of a dtype of ``ConvSpec``."""
    if dtype.startswith("int"):
        return rng.integers(-8, 8, shape, dtype)
    made = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        return (made + 1j * rng.standard_normal(shape)).astype(dtype)
    return made.astype(dtype)
