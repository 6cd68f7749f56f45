"""What a plan or a program would do, as short hashes that survive a change of names.

Registers, labels, functions of a module, scratch arrays and titles may be renamed: they are counted
in the order in which they first appear. All else counts: every instruction of every kernel, every
number, table and address of every step, items, barriers, and where each array lies.
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
from faltung.methods.step import Operand, Step, Word
from faltung.plan.binding import Places, places
from faltung.plan.plan import Plan

# A register or a label, where it is used and where it is defined.
_NAME = re.compile(r"(?:%|^(?=\w+:$))([\w.]+)", re.MULTILINE)
_DEFINED = re.compile(r"^define [^@]*@(\w+)", re.MULTILINE)
_texts: dict[tuple[str, Machine], str] = {}


def digest(*parts: object) -> str:
    """Eight hexadecimal digits."""
    return blake2b("\0".join(map(str, parts)).encode(), digest_size=4).hexdigest()


def canonical(text: str) -> str:
    """LLVM IR with every local name replaced by its number in its function."""
    functions = {name: f"@f{i}" for i, name in enumerate(_DEFINED.findall(text))}
    for name, number in functions.items():
        text = re.sub(rf"@{name}\b", number, text)
    return "\ndefine ".join(map(_numbered, text.split("\ndefine ")))


def _numbered(function: str) -> str:
    pieces = _NAME.split(function)
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    pieces[1::2] = [f"%{numbers[name]}" for name in pieces[1::2]]
    return "".join(pieces)


def kernel_text(recipe: Recipe, machine: Machine) -> str:
    """The hash of a kernel's text."""
    key = identity(recipe), machine
    if key not in _texts:
        _texts[key] = digest(canonical(str(recipe.emit(machine))))
    return _texts[key]


def steps_hash(steps: Iterable[Step], where: Places) -> str:
    """The hash of all that steps hand to their kernels."""
    return digest(*(_step(step, where) for step in steps))


def _step(step: Step, where: Places) -> tuple[object, ...]:
    return step.items, step.after, *(_word(word, where) for word in step.words)


def _word(word: Word, where: Places) -> str:
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
    """The hash of the text of all kernels that have work, in the order of their steps."""
    return _shared(tuple(kernel_text(step.recipe, machine) for step in steps if step.items))


def plan_hash(plan: Plan) -> str:
    """The methods chosen, then a hash of the steps and one of the kernels."""
    steps = [*plan.work.prepare, *plan.work.steps]
    chosen = dict.fromkeys(candidates[0].name for _, candidates in plan.reasons)
    order = [[(o.name, o.stage) for o in candidates] for _, candidates in plan.reasons]
    where = places(plan.work, plan.aux)
    arrays = sorted(where.values()), sum(plan.work.scratch.values()), len(plan.work.prepare)
    head = "+".join(chosen) or "none"
    text = kernels_hash(steps, plan.machine)
    return f"{head}:{digest(order, arrays, steps_hash(steps, where))}:{text}"
