"""What a plan or a program does, as short hashes that do not depend on names.

Registers, labels, functions of a module, scratch arrays and titles may be renamed: they are
numbered in the order in which they first appear. Parameters may be reordered in their block, and
loaded earlier or later. Everything else counts: each instruction of each kernel, each number, table
and address of each step, items, barriers, and the position of each array.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import blake2b
from itertools import count

import numpy as np

from faltung.jit.compile import Recipe, identity
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Code, Operand, Step, recipes
from faltung.plan.binding import Places, places
from faltung.plan.plan import Plan

# A register or a label, where it is used and where it is defined.
_NAME = re.compile(r"(?:%|^(?=\w+:$))([\w.]+)", re.MULTILINE)
_HEAD = re.compile(r"^define [^@]*@(\w+)\(([^)]*)\)", re.MULTILINE)
_CALL = re.compile(r"call void @(\w+)\(([^)]*)\)")
_PLACE = re.compile(r"  %(\S+) = getelementptr i64, ptr %(\S+), i64 (\d+)$")
_READ = re.compile(r"  %(\S+) = load (?:i64|ptr), ptr %(\S+), align 8$")
_texts: dict[tuple[str, Machine], tuple[str, list[int]]] = {}


def digest(*parts: object) -> str:
    """A hash of eight hexadecimal digits."""
    return blake2b("\0".join(map(str, parts)).encode(), digest_size=4).hexdigest()


def canonical(text: str) -> tuple[str, list[int]]:
    """The text of a kernel with numbers for local names, and the parameters that it reads.

    The loads of parameters are left out, and their positions in the block returned in the order in
    which the text needs them. So neither the position of a parameter nor the moment when it is
    loaded matters.
    """
    head, *functions = re.split(r"^(?=define )", text, flags=re.MULTILINE)
    heads = [_HEAD.match(function) for function in functions]
    names = [match[1] for match in heads if match]
    arguments = [
        [argument.split(" %")[1] for argument in match[2].split(", ")] for match in heads if match
    ]
    blocks = _blocks(functions, names, arguments)
    order: dict[int, int] = {}
    made = [
        _numbered(function, blocks.get(name, {}), order)
        for name, function in zip(names, functions, strict=True)
    ]
    whole = "\n".join([*sorted(head.splitlines()), *made])
    for i, name in enumerate(names):
        whole = re.sub(rf"@{name}\b", f"@f{i}", whole)
    return whole, list(order)


def _blocks(
    functions: Sequence[str], names: Sequence[str], arguments: Sequence[Sequence[str]]
) -> dict[str, dict[str, int]]:
    """For each function, the names that point into the parameter block, and where they point."""
    public = next(i for i, f in enumerate(functions) if not f.startswith("define internal"))
    found = {names[public]: {arguments[public][0]: 0}}
    waiting = [public]
    while waiting:
        number = waiting.pop()
        places = found[names[number]]
        for line in functions[number].splitlines():
            if (place := _PLACE.match(line)) and place[2] in places:
                places[place[1]] = places[place[2]] + int(place[3])
            elif (call := _CALL.search(line)) and call[1] in names:
                callee = names.index(call[1])
                for name, given in zip(arguments[callee], call[2].split(", "), strict=True):
                    at = places.get(given.partition("%")[2])
                    if at is not None:
                        if found.setdefault(call[1], {}).setdefault(name, at) != at:
                            raise AssertionError(f"{call[1]}: one place in the block, or none")
                        waiting += [callee] * (callee not in waiting and callee != number)
    return found


def _numbered(function: str, places: dict[str, int], order: dict[int, int]) -> str:
    """The text of one function; ``order``: the number of each parameter, by first use."""
    reads: dict[str, int] = {}
    kept = []
    for line in function.splitlines(keepends=True):
        bare = line.rstrip("\n")
        if (read := _READ.match(bare)) and read[2] in places:
            reads[read[1]] = places[read[2]]
        elif not ((place := _PLACE.match(bare)) and place[2] in places):
            kept.append(line)
    pieces = _NAME.split("".join(kept))
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    pieces[1::2] = [
        f"#{order.setdefault(reads[name], len(order))}"
        if name in reads
        else f"&{order.setdefault(places[name], len(order)) if places[name] else ''}"
        if name in places
        else f"%{numbers[name]}"
        for name in pieces[1::2]
    ]
    return "".join(pieces)


def kernel_text(recipe: Recipe, machine: Machine) -> tuple[str, list[int]]:
    """The hash of the text of a kernel, and the positions of the parameters that it reads."""
    key = identity(recipe), machine
    if key not in _texts:
        text, order = canonical(str(recipe.emit(machine)))
        _texts[key] = digest(text), order
    return _texts[key]


def steps_hash(steps: Iterable[Step], where: Places, machine: Machine) -> str:
    """The hash of everything that steps pass to their kernels."""
    return digest(*(_step(step, where, machine) for step in steps if step.items))


def _step(step: Step, where: Places, machine: Machine) -> tuple[object, ...]:
    _, order = kernel_text(step.recipe, machine)
    if any(isinstance(word, Code) for word in step.arguments):  # read by those that it calls
        order = list(range(len(step.arguments)))
    words = (_word(step.arguments[i], where, machine) for i in order)
    return step.items, step.barrier, *words


def _word(word: Argument, where: Places, machine: Machine) -> str:
    if isinstance(word, Code):
        return kernel_text(word.recipe, machine)[0]
    if isinstance(word, Operand):
        slot, start = where[word.name]
        return f"{slot}+{start + word.offset}"
    if isinstance(word, np.ndarray):
        return digest(word.shape, word.tobytes().hex())
    return str(int(word))


@cache
def _shared(texts: tuple[str, ...]) -> str:
    return digest(*texts)


def kernels_hash(steps: Sequence[Step], machine: Machine) -> str:
    """The hash of the text of all kernels that have items, in the order of their steps."""
    every = (recipe for step in steps if step.items for recipe in recipes(step))
    return _shared(tuple(kernel_text(recipe, machine)[0] for recipe in every))


def plan_hash(plan: Plan) -> str:
    """The chosen methods, then a hash of the steps and one of the kernels."""
    steps = [*plan.work.prepare, *plan.work.steps]
    chosen = dict.fromkeys(candidates[0].name for _, candidates in plan.reasons)
    order = [[(o.name, o.stage) for o in candidates] for _, candidates in plan.reasons]
    where = places(plan.work, plan.aux)
    arrays = sorted(where.values()), sum(plan.work.scratch.values()), len(plan.work.prepare)
    head = "+".join(chosen) or "none"
    text = kernels_hash(steps, plan.machine)
    return f"{head}:{digest(order, arrays, steps_hash(steps, where, plan.machine))}:{text}"
