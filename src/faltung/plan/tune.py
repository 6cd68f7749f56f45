"""``tune=True``: measures methods once, and remembers the fastest.

It runs the plan of the policy, and those of all other methods that apply, on arrays with the layout
of the caller. The winner is remembered in memory, and on disk with the kernels (``jit/cache``,
which checks what it reads). The key is the problem, the layout, the machine and the source code
that computes. Batch and number of threads are not part of it, so the bits of a result do not depend
on them.
"""

import json
import os
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.jit import cache as disk
from faltung.jit import llvm
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Strides
from faltung.plan.binding import layout
from faltung.plan.choose import FORWARD, WEIGHT_GRAD, Policy
from faltung.plan.plan import Plan, array_shapes
from faltung.runtime.buffers import Bytes, aligned
from faltung.runtime.threads import threads_to_use

# A method other than that of the policy must take less than this part of its time.
MAX_TIME_RATIO = 0.97
# All plans are timed in rounds; a plan this many times slower than the fastest has only one.
ROUNDS, ROUND_SECONDS, MAX_SLOWDOWN = 5, 0.004, 3.0
# The largest file of a choice, and the most choices that are remembered in memory.
MAX_CHOICE_BYTES, MAX_CHOICES = 1 << 14, 4096

Build = Callable[[Policy], Plan]
_known: dict[Hashable, str] = {}


@cache
def wanted() -> bool:
    """Whether FALTUNG_TUNE is 1; read once. ValueError: neither 0 nor 1."""
    text = os.environ.get("FALTUNG_TUNE", "").strip()
    if text not in ("", "0", "1"):
        raise FaltungError(f"FALTUNG_TUNE={text!r}: must be 0 or 1")
    return text == "1"


def tuned(build: Build, policy: Policy, layouts: Sequence[Strides]) -> Plan:
    """The plan that ``build`` makes with the fastest method, measured unless it is known.

    ``layouts``: strides of the arrays that the plan calls "x", "w" and "out".
    """
    plan = build(replace(policy, tune=False))
    if not plan.spec.batch:
        return plan
    asked = _question(plan, policy, layouts)
    method = _known.get(asked) or _load(asked)
    made = None if method is None else _built(build, policy, method)
    if method is None or made is None:
        # A function uses what is fastest for a layer, whose weights are packed beforehand.
        as_asked = policy if policy.priced else replace(policy, packs=False)
        auto = build(replace(as_asked, tune=False))
        plans = {"auto": auto, **dict(_others(build, as_asked, plan))}
        times = measured(plans, layouts)
        method = min(
            times, key=lambda name: times[name] * (MAX_TIME_RATIO if name == "auto" else 1)
        )
        made = _built(build, policy, method) or plans[method]
        _store(asked, method, times)
    if len(_known) >= MAX_CHOICES:
        _known.clear()
    _known[asked] = method
    return made


def _built(build: Build, policy: Policy, method: str) -> Plan | None:
    """The plan with one method; None where it does not apply."""
    try:
        return build(replace(policy, method=method, tune=False))
    except ValueError:
        return None


def _others(build: Build, policy: Policy, plan: Plan) -> Iterator[tuple[str, Plan]]:
    """The plans of all methods, except one that the policy uses everywhere."""
    taken = {candidates[0].name for _, candidates in plan.reasons}
    for name in WEIGHT_GRAD if plan.direction == "weight_grad" else FORWARD:
        made = None if taken == {name} else _built(build, policy, name)
        if made is not None:
            yield name, made


# Measuring ----------------------------------------------------------------------------------------


def measured(plans: dict[str, Plan], layouts: Sequence[Strides]) -> dict[str, float]:
    """Seconds per run of each plan: the least of several runs, in alternation.

    Weights are packed beforehand, unless the plans pack at every call.
    """
    if len(plans) == 1:
        return dict.fromkeys(plans, 0.0)
    calls = {name: _call(plan, layouts) for name, plan in plans.items()}
    least = {name: _timed(call) for name, call in calls.items()}
    for number in range(ROUNDS):
        for name, call in calls.items():
            if number and least[name] > MAX_SLOWDOWN * min(least.values()):
                continue
            end = time.perf_counter() + ROUND_SECONDS
            least[name] = min(least[name], _timed(call))
            while time.perf_counter() < end:
                least[name] = min(least[name], _timed(call))
    return least


def _timed(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _call(plan: Plan, layouts: Sequence[Strides]) -> Callable[[], None]:
    """A function that runs ``plan`` over new arrays; weights are packed here."""
    spec = plan.spec
    shapes = array_shapes(spec, plan.direction).values()
    arrays = [_memory(*both, spec) for both in zip(shapes, layouts, strict=True)]
    bias = np.ones(max(spec.channels_in, spec.channels_out), spec.sums)
    kept, scratch = (aligned(layout(part)[1]) for part in (plan.work.kept, plan.work.scratch))
    own = bias.ctypes.data, kept.ctypes.data, scratch.ctypes.data
    addresses = *(address for _, address in arrays), *own
    threads, region = (
        plan.threads(threads_to_use()),
        plan.region("all" if plan.work.packs else "run"),
    )
    plan.region("prepare").run(addresses, threads)

    def call(alive: Any = (arrays, bias, kept, scratch)) -> None:
        region.run(addresses, threads)

    return call


def _memory(shape: Sequence[int], strides: Strides, spec: ConvSpec) -> tuple[Bytes, int]:
    """Memory of ones for an array with these strides, and the address of its first entry."""
    ends = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    before, after = (abs(sum(sign(0, end) for end in ends)) for sign in (min, max))
    memory = aligned((before + after + 1) * spec.itemsize)
    memory.view(spec.dtype)[...] = 1
    return memory, int(memory.ctypes.data) + before * spec.itemsize


# Remembering --------------------------------------------------------------------------------------


def _question(plan: Plan, policy: Policy, layouts: Sequence[Strides]) -> tuple[str, ...]:
    """What a choice depends on: not the batch stride, which does not affect a sample."""
    (_, *x), w, (_, *out) = layouts
    one: Machine = replace(plan.machine, cores=1)
    spec = replace(plan.spec, batch=1)
    return (str(spec), plan.direction, policy.precision, repr((x, w, out)), repr(one))


def _key(asked: Sequence[str]) -> str | None:
    return disk.key("choice", *asked, llvm.versions())


def _load(asked: Sequence[str]) -> str | None:
    key = _key(asked)
    payload = None if key is None else disk.load(key, "choice")
    found = None if payload is None else _read(payload)
    return None if found is None else str(found["method"])


def _read(payload: bytes) -> dict[str, Any] | None:
    """A stored choice; None if it is not one."""
    if len(payload) > MAX_CHOICE_BYTES:
        return None
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or set(found) != {"method", "direction", "spec", "us"}:
        return None
    texts = (found[name] for name in ("method", "direction", "spec"))
    if not all(isinstance(text, str) and text.isascii() and text.isprintable() for text in texts):
        return None
    table = WEIGHT_GRAD if found["direction"] == "weight_grad" else FORWARD
    times = found["us"]
    if found["method"] not in ("auto", *table) or not isinstance(times, dict):
        return None
    known = all(name in ("auto", *table) for name in times)
    numbers = all(type(value) in (int, float) for value in times.values())
    return found if known and numbers else None


def _store(asked: Sequence[str], method: str, times: dict[str, float]) -> None:
    key = _key(asked)
    if key is not None:
        found = {
            "method": method,
            "direction": asked[1],
            "spec": asked[0],
            "us": {name: round(1e6 * seconds, 2) for name, seconds in times.items()},
        }
        disk.store(key, json.dumps(found, sort_keys=True).encode(), "choice")


def remembered() -> list[dict[str, Any]]:
    """The valid choices on disk: method, direction, spec, microseconds."""
    payloads = (disk.load(name, "choice") for name in disk.names("choice"))
    found = (None if payload is None else _read(payload) for payload in payloads)
    return sorted((f for f in found if f is not None), key=lambda f: (f["spec"], f["direction"]))
