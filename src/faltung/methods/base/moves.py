"""Code that moves segments of values into and out of a buffer, for ``fft`` and ``signal``."""

from typing import Protocol

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.base.epilogue import Epilogue, finish, tile_arguments

AUX = ("", "_batch", "_group", "_channel", "_position")


class Stored(Protocol):
    """What ``write_put`` needs from a recipe; ``pitch``: elements between outputs in the buffer."""

    @property
    def dtype(self) -> str: ...
    @property
    def pitch(self) -> int: ...
    @property
    def beside(self) -> bool: ...
    @property
    def bias(self) -> bool: ...
    @property
    def epilogue(self) -> Epilogue | None: ...
    @property
    def aux_contiguous(self) -> tuple[bool, ...]: ...


def write_fill(
    module: Module, machine: Machine, dtype: str, near: bool, *, ask: bool = False
) -> None:
    """Write two functions that fill a buffer.

    ``blank`` (to, count) stores zeros, in whole vectors. ``fill`` (to, from, count, step, far)
    copies elements ``step`` apart; ``near``: the step is 1; ``ask``: prefetch what is ``far``
    elements further on.
    """
    f = module.function("blank", [("ptr", "to"), ("i64", "count")])
    v = Vectors(f, machine, dtype)
    with f.loop(0, "%count", step=v.lanes) as loop:
        v.store(v.zero, v.at("%to", loop.index))
    numbers = [("i64", name) for name in ("count", "step", "far")]
    f = module.function("fill", [("ptr", "to"), ("ptr", "from"), *numbers])
    v = Vectors(f, machine, dtype)
    if not near:
        _fill_singly(v, "0")
        return
    start = "0"
    for many in (4, 1):
        step = many * v.lanes
        stop = f.mul(f.divmod("%count", step)[0], step)
        with f.loop(start, stop, step=step) as loop:
            for i in range(many):
                at = f.add(loop.index, i * v.lanes)
                here = v.at("%from", at)
                if ask and i * v.lanes * v.bytes % 64 == 0:
                    f.prefetch(v.at(here, "%far"))
                v.store(v.load(here), v.at("%to", at))
        start = stop
    rest = f.value(f"icmp slt i64 {start}, %count")
    with f.when(rest):
        some = f.value(f"icmp sge i64 %count, {v.lanes}")
        last = f.sub("%count", v.lanes)

        def whole() -> None:
            v.store(v.load(v.at("%from", last)), v.at("%to", last))

        f.switch(f.value(f"zext i1 {some} to i64"), [lambda: _fill_singly(v, start), whole])


def _fill_singly(v: Vectors, start: str) -> None:
    f = v.function
    with f.loop(start, "%count") as loop:
        source = v.at("%from", f.mul(loop.index, "%step"))
        one = f.value(f"load {v.element}, ptr {source}, align {v.bytes}")
        f.emit(f"store {v.element} {one}, ptr {v.at('%to', loop.index)}, align {v.bytes}")


def put_arguments(aux: int) -> list[tuple[str, str]]:
    arrays = [("ptr", name) for name in ("from", "bias", "out")]
    numbers = [("i64", name) for name in ("count", "far", "out_position")]
    return [*arrays, *numbers, *tile_arguments(aux)]


def write_put(module: Module, machine: Machine, recipe: Stored, *, ask: bool = False) -> None:
    """Write ``put``, which stores a segment of outputs, with bias and epilogue.

    ``ask``: as for ``write_fill``.
    """
    f = module.function("put", put_arguments(len(recipe.aux_contiguous)))
    v = Vectors(f, machine, recipe.dtype)
    bias = v.broadcast("%bias") if recipe.bias else ""
    whole, rest = f.divmod("%count", v.lanes)

    def vector(first: str, mask: str | None) -> None:
        at = v.at("%from", f.mul(first, recipe.pitch))
        value = v.load(at, mask) if recipe.pitch == 1 else v.gather(at, recipe.pitch, mask)
        if bias:
            value = v.add(value, bias)
        end = finish(v, recipe.epilogue, recipe.aux_contiguous).moved("position", first)
        value = end.value(value, "position", mask)
        if recipe.beside:
            to = v.at("%out", first)
            if ask:
                f.prefetch(v.at(to, "%far"), write=True)
            v.store(value, to, mask)
        else:
            to = v.at("%out", f.mul(first, "%out_position"))
            v.scatter(value, to, "%out_position", mask)

    with f.loop(0, whole) as loop:
        vector(f.mul(loop.index, v.lanes), None)

    def tail() -> None:
        vector(f.mul(whole, v.lanes), v.below(rest))

    with f.when(f.value(f"icmp sgt i64 {rest}, 0")):
        if recipe.aux_contiguous:  # one may be the output itself: compute nothing twice
            tail()
        else:
            several = f.value(f"icmp sgt i64 {whole}, 0")
            again = f.sub("%count", v.lanes)
            f.switch(f.value(f"zext i1 {several} to i64"), [tail, lambda: vector(again, None)])
