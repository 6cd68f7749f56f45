"""Plans for 16-bit arrays: the float32 plan, with conversions around it.

An array that the plan of float32 only copies (weights that are packed, an input that is padded) is
converted by that copy. Any other is made float32 first, or at the end rounded, in memory of the
plan. So a sum is kept in float32 whatever the method, and rounded once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.machine.costs import CONVERT_CYCLES
from faltung.methods.base.correlation import Strides, contiguous
from faltung.methods.base.step import Argument, Operand, Step
from faltung.methods.copies.kernel import Copy
from faltung.methods.copies.stage import rearrange
from faltung.plan.plan import Plan, array_shapes

Layouts = Mapping[str, Strides]


def stored(
    spec: ConvSpec, layouts: Layouts, result: str, make: Callable[[ConvSpec, Layouts], Plan]
) -> Plan:
    """A plan over arrays of 16 bits.

    layouts: strides of the arrays named "x", "w", "out"; ``result``: the one that is written; a
    bias is float32. ``make``: the plan of a spec of float32 over arrays with such strides.
    """
    wide: dict[str, Strides] = {}
    while True:
        plan = make(replace(spec, dtype="float32"), {**layouts, **wide})
        steps = (*plan.work.prepare, *plan.work.steps)
        computed = {name for step in steps for name in _computed(step)} - wide.keys()
        # In the order of the layouts: that of a set differs from process to process.
        more = [name for name in layouts if name in computed]
        if not more:
            break
        shapes = array_shapes(spec, plan.direction)
        wide |= {name: contiguous(shapes[name], layouts[name][1] == 1) for name in more}
    return _converted(plan, spec, layouts, wide, result)


def _computed(step: Step) -> Iterable[str]:
    """The arrays that a step reads or writes otherwise than by a copy."""
    if isinstance(step.recipe, Copy):
        return ()
    return [argument.name for argument in step.arguments if isinstance(argument, Operand)]


def _converted(plan: Plan, spec: ConvSpec, layouts: Layouts, wide: Layouts, result: str) -> Plan:
    """``plan`` with its arrays in 16 bits; those of ``wide`` stand beside them as float32."""
    work, shapes = plan.work, array_shapes(spec, plan.direction)
    places: dict[str, Operand] = {}
    for name in wide:
        size = 4 * prod(shapes[name])
        own = work.keep if name == "w" != result else work.borrow
        places[name] = Operand(own(f"wide {name}", size))
    for part in (work.prepare, work.steps):
        part[:] = [_moved(step, layouts, places, spec.dtype) for step in part]
    for name, strides in wide.items():
        if not prod(shapes[name]):
            continue
        outer, inner = (Operand(name), layouts[name]), (places[name], strides)
        ends = (*inner, *outer) if name == result else (*outer, *inner)
        title = "round result" if name == result else f"widen {name}"
        step = rearrange("float32", shapes[name], *ends, title, barrier=name == result)
        step = _moved(step, layouts, {}, spec.dtype)
        part = work.prepare if name == "w" != result else work.steps
        if name == result:
            part.append(step)
        else:
            _put_first(part, step)
        plan.cycles += CONVERT_CYCLES * prod(shapes[name])
    plan.spec = spec
    return plan


def _put_first(steps: list[Step], step: Step) -> None:
    """``step`` before all others: the first of them that computes waits for it."""
    if steps and not steps[0].title.startswith("widen"):
        steps[0] = replace(steps[0], barrier=True)
    steps.insert(0, step)


def _moved(step: Step, narrow: Layouts, places: Mapping[str, Operand], dtype: str) -> Step:
    """The same step, over float32 where an array has a place, else over what is stored."""
    recipe = step.recipe
    arguments: list[Argument] = []
    for i, argument in enumerate(step.arguments):
        if isinstance(argument, Operand) and argument.name in places:
            argument = replace(argument, name=places[argument.name].name)
        elif isinstance(argument, Operand) and argument.name in narrow and isinstance(recipe, Copy):
            # A copy's arguments begin with where it reads and where it writes.
            recipe = replace(recipe, source=dtype) if i == 0 else replace(recipe, target=dtype)
            argument = replace(argument, offset=argument.offset // 2)
        arguments.append(argument)
    return replace(step, recipe=recipe, arguments=arguments)
