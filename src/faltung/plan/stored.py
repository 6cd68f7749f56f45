"""Plans for 16-bit arrays: the float32 plan, with conversions around it.

If the float32 plan only copies an array (weights to pack, an input to pad), that copy converts it.
Any other array is converted to float32 before, or rounded after, in memory of the plan. So sums are
float32 whatever the method, and are rounded once.
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
    """A plan over arrays of 16-bit floats; a bias is float32.

    ``layouts``: strides of the arrays "x", "w" and "out". ``result``: the one that is written.
    ``make`` plans a float32 spec over arrays with given strides.
    """
    wide: dict[str, Strides] = {}
    while True:
        plan = make(replace(spec, dtype="float32"), {**layouts, **wide})
        steps = (*plan.work.prepare, *plan.work.steps)
        computed = {name for step in steps for name in _computed(step)} - wide.keys()
        # In the order of the layouts: the order of a set differs between processes.
        more = [name for name in layouts if name in computed]
        if not more:
            break
        shapes = array_shapes(spec, plan.direction)
        wide |= {name: contiguous(shapes[name], layouts[name][1] == 1) for name in more}
    return _converted(plan, spec, layouts, wide, result)


def _computed(step: Step) -> Iterable[str]:
    """The arrays that a step accesses, unless it is a copy."""
    if isinstance(step.recipe, Copy):
        return ()
    return [argument.name for argument in step.arguments if isinstance(argument, Operand)]


def _converted(plan: Plan, spec: ConvSpec, layouts: Layouts, wide: Layouts, result: str) -> Plan:
    """``plan`` over 16-bit arrays; those in ``wide`` also have a float32 version."""
    work, shapes = plan.work, array_shapes(spec, plan.direction)
    places: dict[str, Operand] = {}
    for name in wide:
        size = 4 * prod(shapes[name])
        own = work.keep if name == "w" != result else work.borrow
        places[name] = own(f"wide {name}", size)
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
    """Insert ``step`` before all others; the first of them that computes waits for it."""
    if steps and not steps[0].title.startswith("widen"):
        steps[0] = replace(steps[0], barrier=True)
    steps.insert(0, step)


def _moved(step: Step, narrow: Layouts, places: Mapping[str, Operand], dtype: str) -> Step:
    """The same step, over the float32 version of an array if it has a place, else over it."""
    recipe = step.recipe
    arguments: list[Argument] = []
    for i, argument in enumerate(step.arguments):
        if isinstance(argument, Operand) and argument.name in places:
            argument = replace(argument, name=places[argument.name].name)
        elif isinstance(argument, Operand) and argument.name in narrow and isinstance(recipe, Copy):
            side = "source" if recipe.names[i] == "src" else "target"
            recipe = replace(recipe, **{side: dtype})  # type: ignore[arg-type]
            argument = replace(argument, offset=argument.offset // 2)
        arguments.append(argument)
    return replace(step, recipe=recipe, arguments=arguments)
