"""Calls made again: what checks, plans and tables found for arrays of one layout is found once.

A convolution or pooling of a small map takes a few microseconds, its checks five times as long. A
key says all of a call but where its arrays lie; under it stands what a call with such arrays needs.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.ops.arguments import Array, address
from faltung.ops.options import hashable
from faltung.ops.run import scratch_bytes
from faltung.plan.binding import Region
from faltung.plan.plan import Plan
from faltung.runtime.buffers import workspace
from faltung.runtime.threads import get_threads

# What is called, how its arrays lie, and its options.
Key = tuple[str, Hashable, tuple[Any, ...]]

# Calls that are remembered; the oldest are forgotten.
KEPT = 256


def arrangement(*arrays: npt.ArrayLike | None) -> Hashable | None:
    """All of the arrays that checks and plans look at but where they lie, of those that are there;
    None where that is not all there is to say: something else than plain arrays, unaligned ones.
    """
    found: list[Hashable] = []
    for one in arrays:
        if one is None:
            found.append(None)
            continue
        if type(one) is not np.ndarray or not one.flags.aligned:
            return None
        found.append((one.shape, one.strides, one.dtype))
    return tuple(found)


def apart(out: Array | None, *inputs: Any) -> bool:
    """Whether ``out``, where it is given, can be written and shares no memory with ``inputs``: a
    look at their bounds, which for neighbours in one array may say no though it is so.
    """
    if out is None:
        return True
    if not isinstance(out, np.ndarray) or not out.flags.writeable:
        return False
    return not any(np.may_share_memory(out, other) for other in inputs)


def key_of(
    what: str,
    inputs: Sequence[npt.ArrayLike | None],
    out: Array | None,
    options: tuple[Any, ...],
) -> Key | None:
    """All of a call but where its arrays lie; None where that cannot be said."""
    arrays = arrangement(*inputs, out)
    if arrays is None or not apart(out, *(one for one in inputs if one is not None)):
        return None
    return what, arrays, options


def same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether equal arguments are of the same types, too: 1, 1.0 and True are not all legal."""
    return all(map(is_, a, b)) or hashable(a) == hashable(b)


@dataclass(frozen=True, slots=True)
class Call:
    """A plan and its results: one of ``shape`` and ``dtype``; ``beside``: the dtype of a second
    array like it, in the place of the weight. ``held``, ``scratch``: bytes that it borrows.
    ``given``: the options that it was called with.
    """

    plan: Plan
    region: Region
    held: int
    scratch: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    beside: np.dtype[Any] | None
    machine: Machine
    given: tuple[Any, ...]

    def run(self, x: Array, w: Array | None, out: Array | None, bias: Array | None = None) -> Any:
        """The call with these arrays, laid out as the key says; the result, or both. ``w`` of a
        gradient for the weight, which is the result: the output gradient.
        """
        made = np.empty(self.shape, self.dtype) if out is None else out
        if self.beside is not None:
            w = np.empty(self.shape, self.beside)
        to = address(made)
        second, third = (to if w is None else address(w)), to
        if self.plan.direction == "weight_grad":
            second, third = third, second
        operands = address(x), second, third, address(bias)
        threads = self.plan.threads(get_threads())
        if not self.held + self.scratch:
            self.region.run((*operands, 0, 0), threads)
        else:
            with workspace.borrow(self.held + self.scratch) as block:
                start = block.address
                self.region.run((*operands, start, start + self.held), threads)
        return made if self.beside is None else (made, w)


class Calls:
    """Calls by their keys, the oldest forgotten; without a lock, which a fork could leave closed:
    two threads may find out the same, and one of the two is kept.
    """

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._found: dict[Hashable, Call] = {}

    def get(self, key: Key | None) -> Call | None:
        """The call that was remembered, for the machine of now."""
        if key is None:
            return None
        try:
            call = self._found.get(key)
        except TypeError:  # an option that cannot be hashed: a list, an array
            return None
        if call is None or call.machine is not current() or not same(call.given, key[-1]):
            return None
        return call

    def keep(self, key: Key | None, plan: Plan, made: Array, beside: Array | None = None) -> None:
        """Remember the plan of a call that has been checked and run."""
        if key is None:
            return
        held, scratch = scratch_bytes(plan.work, kept=False)
        call = Call(
            *(plan, plan.region("all"), held, scratch, made.shape, made.dtype),
            *(None if beside is None else beside.dtype, current(), key[-1]),
        )
        try:
            self._found[key] = call
        except TypeError:
            return
        for old in list(self._found)[: max(0, len(self._found) - self._most)]:
            self._found.pop(old, None)
