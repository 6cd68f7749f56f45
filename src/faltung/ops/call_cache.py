"""Remembered calls: what checks, plans and tables found for arrays of one layout is found once.

A convolution or pooling of a small map takes a few microseconds, its checks five times as long. A
key says everything about a call except where its arrays lie; with it is kept what a call needs.
"""

from collections.abc import Callable, Hashable, Sequence
from operator import is_
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from faltung.geometry.record import dataclass
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.ops.arguments import Array, address
from faltung.ops.options import hashable
from faltung.ops.run import forget, run, scratch_bytes
from faltung.plan.binding import Region
from faltung.plan.plan import Plan
from faltung.runtime.buffers import Bytes, workspace
from faltung.runtime.threads import threads_to_use

Key = tuple[Hashable, ...]
Inputs = tuple[Any, ...]  # arrays as they are given, None for one that is missing

R = TypeVar("R")

# Calls that are remembered; the oldest are forgotten.
KEPT = 256


class Prepared(NamedTuple):
    """A call that is checked and planned.

    ``operands``: the arrays in the places of input, weight, output and bias. ``inputs``: the given
    arrays as kernels read them, themselves or copies. ``indices``: a second result. ``packed``: the
    weight of a layer, packed before.
    """

    plan: Plan
    operands: tuple[Array, Array, Array, Array | None]
    inputs: tuple[Array | None, ...]
    result: Array
    indices: Array | None = None
    packed: Bytes | None = None

    def run(self) -> Any:
        """The result, or both."""
        plan, operands, _, result, indices, packed = self
        run(plan, *operands, None if packed is None else address(packed))
        return result if indices is None else (result, indices)


def key_of(what: str, inputs: Inputs, options: Hashable, out: Array | None) -> Key | None:
    """All of a call except where its arrays lie; None where that does not say everything: for
    other things than plain arrays, unaligned ones, and an ``out`` that is read-only or may overlap.
    """
    key: Key = what, options
    for one in inputs if out is None else (*inputs, out):
        if one is None:
            key += (None,)
        elif type(one) is np.ndarray and one.flags.aligned:
            key += one.shape, one.strides, one.dtype
        else:
            return None
    if out is not None:
        if not out.flags.writeable:
            return None
        for one in inputs:
            if one is not None and np.may_share_memory(out, one):
                return None
    return key


def same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether equal arguments have equal types, too: 1, 1.0 and True are not all legal."""
    return all(map(is_, a, b)) or all(
        [one is two or hashable(one) == hashable(two) for one, two in zip(a, b, strict=True)]
    )


@dataclass(frozen=True, slots=True)
class Call:
    """A plan, and the shapes and dtypes of its results.

    ``weight_grad``: the result is in the weight's place. ``held``: bytes of packed weights, the
    first of those that are ``borrowed``. ``indices``: the dtype of a second result, in the weight's
    place. ``options``: as given. ``layer``: the addresses of a layer's weight and bias, and
    ``kept`` that of its packed weight; ``alive``: these arrays.
    """

    plan: Plan
    region: Region
    weight_grad: bool
    held: int
    borrowed: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    indices: np.dtype[Any] | None
    machine: Machine
    options: tuple[Any, ...]
    layer: tuple[int, int] | None
    kept: int
    alive: tuple[Array | None, ...]

    def run(self, out: Array | None, x: Array, w: Any = None, bias: Array | None = None) -> Any:
        """The call with these arrays, laid out as its key says; the result, or both. ``w`` of a
        gradient for the weight, which is the result: the output gradient.
        """
        made = np.empty(self.shape, self.dtype) if out is None else out
        to = address(made)
        if self.layer is not None:
            operands = address(x), self.layer[0], to, self.layer[1]
        else:
            if self.indices is not None:
                w = np.empty(self.shape, self.indices)
            second, third = (to if w is None else address(w)), to
            if self.weight_grad:
                second, third = third, second
            operands = address(x), second, third, address(bias)
        threads = self.plan.threads(threads_to_use())
        if not self.borrowed:
            self.region.run((*operands, self.kept, 0), threads)
        else:
            with workspace.borrow(self.borrowed) as block:
                start = block.address
                self.region.run((*operands, self.kept or start, start + self.held), threads)
        return made if self.indices is None else (made, w)


class Calls(Generic[R]):
    """Calls by their keys, the oldest forgotten; without a lock, which a fork could leave closed:
    two threads may find out the same, and one of the two is kept. ``R``: what the calls return.
    """

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._found: dict[Hashable, Call] = {}

    def run(
        self,
        what: str,
        prepare: Callable[[Inputs, Any, Array | None], Prepared],
        inputs: Inputs,
        options: tuple[Any, ...],
        out: Array | None,
    ) -> R:
        """The result of a call. ``prepare(inputs, options, out)`` is asked unless there was such a
        call before, with arrays of the same layout.
        """
        key = key_of(what, inputs, options, out)
        try:
            call = self._found.get(key)
        except TypeError:  # an option that cannot be hashed: a list, an array
            key = call = None
        if (
            call is not None
            and call.machine is current()
            and (call.options is options or same(call.options, options))
        ):
            again: R = call.run(out, *inputs)
            return again
        made = prepare(inputs, options, out)
        found: R = made.run()
        # Not where a copy of an array was read: the next one would have to be copied, too.
        if key is not None and all(map(is_, inputs, made.inputs)):
            self._keep(key, made, options)
        return found

    def _keep(self, key: Key, made: Prepared, options: tuple[Any, ...]) -> None:
        """Remember a call that has been checked and run."""
        plan, packed = made.plan, made.packed
        held, scratch = scratch_bytes(plan.work, kept=packed is not None)
        _, weight, _, bias = made.operands
        self._found[key] = Call(
            plan=plan,
            region=plan.region("all" if packed is None else "run"),
            weight_grad=plan.direction == "weight_grad",
            held=held,
            borrowed=held + scratch,
            shape=made.result.shape,
            dtype=made.result.dtype,
            indices=None if made.indices is None else made.indices.dtype,
            machine=current(),
            options=options,
            layer=None if packed is None else (address(weight), address(bias)),
            kept=address(packed),
            alive=() if packed is None else (weight, bias, packed),
        )
        forget(self._found, self._most)
