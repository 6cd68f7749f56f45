"""Plans found or made, and run on arrays: what every function here does last."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.jit.target import current
from faltung.methods.base.correlation import Strides
from faltung.methods.base.step import Work
from faltung.ops.arguments import Array, address
from faltung.plan import choose
from faltung.plan.binding import layout
from faltung.plan.build import build_input_grad, build_weight_grad
from faltung.plan.choose import Policy
from faltung.plan.plan import Plan
from faltung.plan.tune import tuned, wanted
from faltung.plan.words import MethodName, Precision
from faltung.runtime.buffers import workspace
from faltung.runtime.threads import threads_to_use

R = TypeVar("R")

# Plans that are remembered; each holds its tables and a few addresses, not the code.
KEPT = 512


def forget(found: dict[Hashable, Any], most: int) -> list[Any]:
    """Take the oldest entries out of a mapping that should have ``most``."""
    return [found.pop(old, None) for old in list(found)[: max(0, len(found) - most)]]


class Recent(Generic[R]):
    """A mapping that forgets its oldest entries. ``R``: what it holds, such as plans.

    Safe for several threads without a lock, which a fork could leave closed for ever: two threads
    may make the same entry, and one of the two is kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[Hashable, R] = {}

    def get(self, key: Hashable, make: Callable[[], R]) -> R:
        """The entry of ``key``, made at the first call."""
        found = self._found.get(key)
        if found is None:
            found = self._found.setdefault(key, make())
            forget(self._found, self._most)
        return found


plans: Recent[Plan] = Recent(KEPT)


def policy_of(precision: Precision, method: MethodName, tune: bool | None) -> Policy:
    """What the arguments say, and FALTUNG_TUNE where ``tune`` says nothing."""
    return choose.policy_of(precision, method, wanted() if tune is None else tune)


def planned(
    build: Callable[..., Plan],
    spec: ConvSpec,
    layouts: tuple[Strides, ...],
    policy: Policy,
    **options: bool,
) -> Plan:
    """The plan that ``build`` makes for arrays in these layouts, remembered.

    All pack the weights at every call. In the price that is for gradients alone: ``conv`` gives the
    bits of a ``Conv``.
    """
    machine, policy = current(), replace(policy, packs=True, priced=build is build_input_grad)
    key = build.__name__, spec, layouts, *options.values(), policy, machine
    return plans.get(key, lambda: built(build, spec, layouts, policy, **options))


def planned_local(
    build: Callable[..., Plan], spec: ConvSpec, layouts: tuple[Strides, ...], bias: bool
) -> Plan:
    """The same for a local layer, which has one method."""
    machine = current()
    key = "local", build.__name__, spec, layouts, bias, machine
    return plans.get(key, lambda: build(spec, layouts, bias, machine))


def planned_pool(
    build: Callable[..., Plan], spec: PoolSpec, layouts: tuple[Strides | None, ...]
) -> Plan:
    """The same for a pooling; ``layouts``: of input, result and indices."""
    machine = current()
    key = build.__name__, spec, layouts, machine
    return plans.get(key, lambda: build(spec, *layouts, machine))


def built(
    build: Callable[..., Plan],
    spec: ConvSpec,
    layouts: tuple[Strides, ...],
    policy: Policy,
    **options: bool,
) -> Plan:
    """The plan that ``build`` makes, measured where the policy says so."""
    machine = current()

    def make(policy: Policy) -> Plan:
        return build(spec, *layouts, **options, machine=machine, policy=policy)

    if not policy.tune:
        return make(policy)
    x, second, third = layouts
    # A gradient for the weight is given the output gradient before its result.
    return tuned(make, policy, (x, third, second) if build is build_weight_grad else layouts)


def scratch_bytes(work: Work, *, kept: bool) -> tuple[int, int]:
    """Bytes kept and borrowed; ``kept`` where the caller holds the packed weights itself."""
    held = 0 if kept or not work.kept else layout(work.kept)[1]
    return held, layout(work.scratch)[1] if work.scratch else 0


def run(
    plan: Plan, x: Array, w: Array, out: Array, bias: Array | None = None, kept: int | None = None
) -> None:
    """Run ``plan``; ``kept``: the address of weights packed before, else they are packed first."""
    region = plan.region("all" if kept is None else "run")
    held, borrowed = scratch_bytes(plan.work, kept=kept is not None)
    threads = plan.threads(threads_to_use())
    operands = address(x), address(w), address(out), address(bias)
    if not held + borrowed:
        region.run((*operands, kept or 0, 0), threads)
        return
    with workspace.borrow(held + borrowed) as block:
        start = block.address
        region.run((*operands, start if kept is None else kept, start + held), threads)
