"""The questions of the golden pages: one per line, with a fingerprint for each way to ask it.

A line is computed when it is called. Nothing is compiled, so the pages are the same on every
computer, also for processors that it does not have.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any, ClassVar

import pytest
from goldens.fingerprint import kernels_hash, plan_hash, steps_hash
from graph.networks import TABLE, build
from laws.methods import DIRECTIONS
from pools import pools

from benchmarks.layers import LAYERS
from cases import CASES
from faltung import nets
from faltung.geometry import ConvSpec, parse
from faltung.geometry.pool import PoolSpec
from faltung.graph.differentiate import differentiate
from faltung.graph.value import Graph
from faltung.machine.table import ROWS, Machine
from faltung.methods.base.correlation import contiguous
from faltung.methods.base.step import Step
from faltung.methods.filters.separable import Along, passes
from faltung.ops.lines import SLOTS
from faltung.plan.binding import Places
from faltung.plan.build import build_forward, build_input_grad, build_weight_grad
from faltung.plan.choose import FORWARD, WEIGHT_GRAD, Policy
from faltung.plan.local import build_local, build_local_input_grad, build_local_weight_grad
from faltung.plan.plan import Plan
from faltung.plan.pool import build_pool, build_pool_grad
from faltung.program.inference import Inference
from faltung.program.optimizer import AdamW
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep

# ``generic`` has no triple here: it comes from the computer, and kernels do not depend on it.
MACHINES = {row.name: row for row in ROWS}

Lines = Iterator[tuple[str, Callable[[], list[str]]]]


def pages() -> dict[str, Lines]:
    """The lines of each page, by its name."""
    return {
        "chosen": _chosen(),
        "layouts": _layouts(),
        "methods": _methods(),
        "layers": _layers(),
        "dtypes": _dtypes(),
        "pools": _pools(),
        "local": _local(),
        "filters": _filters(),
        "networks": _networks(),
    }


def _plan(
    direction: str, spec: ConvSpec, last: bool, machine: Machine, policy: Policy, bias: bool = True
) -> Plan:
    """The plan of a direction for contiguous arrays."""
    x, out = (contiguous(shape, last) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    if direction == "forward":
        return build_forward(spec, x, w, out, bias=bias, machine=machine, policy=policy)
    if direction == "input_grad":
        return build_input_grad(spec, out, w, x, bias=False, machine=machine, policy=policy)
    return build_weight_grad(spec, x, out, w, machine=machine, policy=policy)


def _row(plans: Callable[..., Iterator[Plan | None]], *given: Any) -> Callable[[], list[str]]:
    return lambda: [plan_hash(plan) if plan else "-" for plan in plans(*given)]


def _chosen() -> Lines:
    """The choice of the policy for each case on every machine.

    Alternately as a layer with channels last, and as a function with channels first, which packs
    the weights at every call.
    """

    def plans(number: int, spec: ConvSpec, direction: str) -> Iterator[Plan]:
        packed = Policy(packs=True, priced=direction == "input_grad")
        for turn, machine in enumerate(MACHINES.values(), number):
            last = bool(turn % 2)
            yield _plan(direction, spec, last, machine, Policy() if last else packed)

    for number, (case, direction) in enumerate(product(CASES, DIRECTIONS)):
        yield f"{case} {direction}", _row(plans, number, case.spec, direction)


def _layouts() -> Lines:
    """The same with the other layout, and with precision "strict"."""

    def plans(number: int, spec: ConvSpec, direction: str) -> Iterator[Plan]:
        for turn, machine in enumerate(MACHINES.values(), number):
            last = bool(turn % 2 == 0)
            policy = Policy("strict", packs=last)
            yield _plan(direction, spec, last, machine, policy)

    for number, (case, direction) in enumerate(product(CASES, DIRECTIONS)):
        yield f"{case} {direction}", _row(plans, number, case.spec, direction)


def _methods() -> Lines:
    """Every method by name, each case in one layout; "-" where it does not apply."""

    def plans(number: int, spec: ConvSpec, direction: str, policy: Policy) -> Iterator[Plan | None]:
        for row in ("avx512", "avx2", "neon"):
            yield _possible(direction, spec, number % 3 > 0, MACHINES[row], policy)

    for number, (case, direction) in enumerate(product(CASES, DIRECTIONS)):
        for name in WEIGHT_GRAD if direction == "weight_grad" else FORWARD:
            policy = Policy(method=name, packs=bool(number % 2))
            yield f"{case} {direction} {name}", _row(plans, number, case.spec, direction, policy)


# Problems too large for the table of cases, whose tables and patches are cut into many parts.
LARGE = (
    "n1 c20>20 300 k222 p111 g20",
    "n2 c256>256 1024 k7 p3 g64",
    "n1 c512>512 256x16 k7 p3 g512 f64",
    "n1 c96>96 2048 k3 p1 d4 g96",
    "n1 c128>128 20x4x256 k3 p1 g128",
    "n8 c64>64 500x30 k1x11 p0x5",
    "n3 c1>1 1000000 k1001 p500",
)


def _layers() -> Lines:
    """Layers of networks in their real size, and large problems: by the policy, in both layouts."""

    def plans(spec: ConvSpec, direction: str) -> Iterator[Plan]:
        for row, last in product(("avx512", "avx2", "neon"), (True, False)):
            policy = Policy(packs=not last, priced=not last and direction == "input_grad")
            yield _plan(direction, spec, last, MACHINES[row], policy)

    for text, direction in product((*(layer.text for layer in LAYERS), *LARGE), DIRECTIONS):
        yield f"{text} {direction}", _row(plans, parse(text), direction)


def _possible(
    direction: str, spec: ConvSpec, last: bool, machine: Machine, policy: Policy
) -> Plan | None:
    """A plan; None where the method does not apply."""
    try:
        return _plan(direction, spec, last, machine, policy, bias=last)
    except ValueError as refusal:
        if "must be one of" not in str(refusal):
            raise
        return None


def _dtypes() -> Lines:
    """The other dtypes: 16-bit floats, integers and complex numbers."""

    def plans(spec: ConvSpec, direction: str) -> Iterator[Plan]:
        for machine, last in product(MACHINES.values(), (False, True)):
            yield _plan(direction, spec, last, machine, Policy())

    problems = ("n2 c5>6 9x10 k3 p1", "n1 c8>8 7x9 k3 s2 p1 g8", "n1 c1>1 400 k31 p15")
    dtypes = ("f16", "bf16", "i32", "i64", "c64", "c128")
    for text, dtype, direction in product(problems, dtypes, DIRECTIONS):
        yield f"{text} {dtype} {direction}", _row(plans, parse(f"{text} {dtype}"), direction)


# Pooling and local layers -------------------------------------------------------------------------


def _pools() -> Lines:
    """Pooling with and without indices, and its gradients."""

    def plans(make: Callable[..., Plan], spec: PoolSpec, index: bool) -> Iterator[Plan]:
        for machine, last in product(MACHINES.values(), (False, True)):
            inner, outer = (contiguous(s, last) for s in (spec.input_shape, spec.output_shape))
            given = (inner, outer) if make is build_pool else (outer, inner)
            yield make(spec, *given, outer if index else None, machine)

    for spec in pools():
        for make, index in product((build_pool, build_pool_grad), (False, True)):
            # The gradient of max pooling needs the indices; average pooling has none.
            if index <= (spec.kind == "max") and (
                index or spec.kind != "max" or make is build_pool
            ):
                title = f"{make.__name__}{' index' * index}"
                yield f"{spec} {title}", _row(plans, make, spec, index)


def _local() -> Lines:
    """Locally connected layers and their gradients."""

    def plans(make: Callable[..., Plan], spec: ConvSpec) -> Iterator[Plan]:
        weight = contiguous((*spec.output, *spec.weight_shape), False)
        for machine, last in product(MACHINES.values(), (False, True)):
            x, out = (contiguous(s, last) for s in (spec.input_shape, spec.output_shape))
            given = (out, weight, x) if make is build_local_input_grad else (x, weight, out)
            yield make(spec, given, make is build_local, machine)

    builders = (build_local, build_local_input_grad, build_local_weight_grad)
    for case, make in product(CASES[::3], builders):
        if set(case.spec.padding_mode) == {"zeros"} and not case.spec.flip:
            yield f"{case} {make.__name__}", _row(plans, make, case.spec)


def _filters() -> Lines:
    """Sums along axes: fused, alone, long; in every dtype and parity."""
    pairs = (
        *(("float32", "float32"), ("float64", "float64"), ("uint8", "uint8")),
        *(("int16", "float64"), ("uint64", "uint64"), ("uint8", "float32")),
    )
    lines = {
        "sobel": ((0, 3, 1, "symmetric", "odd"), (1, 3, 1, "symmetric", "even")),
        "even 17": ((0, 17, 8, "constant", "even"), (1, 17, 8, "constant", "even")),
        "even 65": ((0, 65, 32, "reflect", "even"), (1, 65, 32, "reflect", "even")),
        "long": ((0, 301, 150, "symmetric", "even"), (1, 301, 150, "symmetric", "even")),
        "last first": ((1, 4, 2, "circular", ""), (0, 33, 16, "replicate", "")),
    }

    def made(how: Sequence[Along], source: str, target: str) -> Iterator[str]:
        work = "float32" if (source, target) == ("float32", "float32") else "float64"
        where = {name: (slot, 0) for slot, name in enumerate(SLOTS)}
        for machine in MACHINES.values():
            found = passes((70, 900), source, target, work, how, machine)
            steps = [one.step for one in found]
            yield f"{steps_hash(steps, where, machine)}:{kernels_hash(steps, machine)}"

    for (name, rows), (source, target) in product(lines.items(), pairs):
        how = [Along(*row) for row in rows]
        yield (
            f"{name} {source} {target}",
            partial(lambda *given: list(made(*given)), how, source, target),
        )


# Networks -----------------------------------------------------------------------------------------

FIELD = {
    "lenet5": (1, 28, 28),
    "alexnet": (3, 67, 67),
    "vgg16": (3, 32, 32),
    "googlenet": (3, 64, 64),
    "resnet18": (3, 32, 32),
    "resnet50": (3, 32, 32),
    "mobilenetv2": (3, 64, 64),
    "textcnn": (40,),
    "tcn": (2, 60),
    "c3d": (1, 8, 16, 16),
    "unet": (1, 32, 32),
}
KINDS = ("inference", "training")


def _networks() -> Lines:
    """Well-known networks, and small ones with every layer, as programs.

    Each for inference, and for a training step.
    """
    for name, kind in product(FIELD, KINDS):
        make = partial(nets.graph, name, classes=4, input_shape=FIELD[name])
        yield f"{name} {kind}", partial(_programs, make, kind)
    for name, kind in product(TABLE, KINDS):
        make = partial(build, name, dtype="float32")
        yield f"small {name} {kind}", partial(_programs, make, kind)


def _programs(make: Callable[..., Graph], kind: str) -> list[str]:
    graph = make(training=kind == "training")
    return [_program(graph, machine) for machine in MACHINES.values()]


class _Recorded:
    """Replaces a region: records its steps and compiles nothing."""

    steps: ClassVar[list[tuple[list[Step], Places]]] = []

    def __init__(self, steps: list[Step], where: Places, machine: Machine, slots: int) -> None:
        self.steps.append((list(steps), where))
        self.kernels: list[object] = []

    def bind(self, addresses: Sequence[int]) -> "_Recorded":
        return self

    movable = bind

    def run(self, threads: int) -> int:
        return threads


@contextmanager
def _recording() -> Iterator[list[tuple[list[Step], Places]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("faltung.program.assemble.Region", _Recorded)
        _Recorded.steps = []
        yield _Recorded.steps


def _program(graph: Graph, machine: Machine) -> str:
    """Hashes of the steps and the kernels of a program."""
    state = State(graph.parameters, graph.dtype)
    with _recording() as recorded:
        if graph.training:
            training = differentiate(graph, "cross_entropy")
            TrainingStep(training, state, Slots(state, AdamW()), 4, machine=machine)
        else:
            Inference(graph, state, 2, machine=machine)
    (run, where), *packing = recorded
    packs = [step for region, _ in packing for step in region]
    hashes = [steps_hash(steps, where, machine) for steps in (run, packs)]
    return f"{'+'.join(hashes)}:{kernels_hash([*run, *packs], machine)}"
