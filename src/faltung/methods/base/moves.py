"""Code that moves segments of values into and out of a buffer, for ``fft`` and ``signal``."""

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.costs import LINE_BYTES
from faltung.machine.table import Machine
from faltung.methods.base.epilogue import finish, tile_arguments
from faltung.methods.base.epilogue_arrays import EpilogueKernel

# Vectors that one iteration copies.
UNROLLED_VECTORS = 4


def write_fill(
    module: Module, machine: Machine, dtype: str, contiguous: bool, *, prefetch: bool = False
) -> None:
    """``blank`` (to, count): zeros, a whole number of vectors. ``fill`` (to, from, count, step,
    ahead): elements of memory; ``contiguous``: the step is 1; ``prefetch``: what lies ``ahead``
    elements further on.
    """
    f = module.function("blank", [("ptr", "to"), ("i64", "count")])
    v = Vectors(f, machine, dtype)
    with f.loop(0, "%count", step=v.lanes) as place:
        v.store(v.zero, v.at("%to", place.index))
    numbers = [("i64", name) for name in ("count", "step", "ahead")]
    f = module.function("fill", [("ptr", "to"), ("ptr", "from"), *numbers])
    v = Vectors(f, machine, dtype)
    if not contiguous:
        _fill_singly(v, "0")
        return
    start = "0"
    for many in (UNROLLED_VECTORS, 1):
        step = many * v.lanes
        stop = f.mul(f.divmod("%count", step)[0], step)
        with f.loop(start, stop, step=step) as place:
            for i in range(many):
                at = f.add(place.index, i * v.lanes)
                here = v.at("%from", at)
                if prefetch and i * v.lanes * v.bytes % LINE_BYTES == 0:
                    f.prefetch(v.at(here, "%ahead"))
                v.store(v.load(here), v.at("%to", at))
        start = stop
    rest = f.value(f"icmp slt i64 {start}, %count")
    with f.when(rest):
        some = f.value(f"icmp sge i64 %count, {v.lanes}")
        last = f.sub("%count", v.lanes)

        def whole() -> None:
            v.store(v.load(v.at("%from", last)), v.at("%to", last))

        f.choose(some, whole, lambda: _fill_singly(v, start))


def write_spread(module: Module, machine: Machine, dtype: str, stride: int) -> None:
    """``spread`` (to, from, count, step): from a step to ``stride`` elements apart."""
    arguments = [("ptr", "to"), ("ptr", "from"), ("i64", "count"), ("i64", "step")]
    _fill_singly(Vectors(module.function("spread", arguments), machine, dtype), "0", stride)


def _fill_singly(v: Vectors, start: str, stride: int = 1) -> None:
    f = v.function
    with f.loop(start, "%count") as i:
        source = v.at("%from", f.mul(i.index, "%step"))
        v.store_one(v.load_one(source), v.at("%to", f.mul(i.index, stride)))


def put_arguments(aux: int) -> list[tuple[str, str]]:
    """What ``put`` takes, with ``aux`` arrays of an epilogue."""
    arrays = [("ptr", name) for name in ("from", "bias", "out")]
    numbers = [("i64", name) for name in ("count", "ahead", "out_position")]
    return [*arrays, *numbers, *tile_arguments(aux)]


def write_put(
    module: Module,
    machine: Machine,
    kernel: EpilogueKernel,
    *,
    contiguous: bool,
    bias: bool,
    pitch: int = 1,
    prefetch: bool = False,
) -> None:
    """``put``: a segment of outputs, ``pitch`` elements apart in the buffer, with bias and epilogue
    of ``kernel``. ``contiguous``: outputs are; ``prefetch`` as in ``write_fill``.
    """
    f = module.function("put", put_arguments(len(kernel.aux_contiguous)))
    v = Vectors(f, machine, kernel.dtype)
    added = v.broadcast("%bias") if bias else ""
    whole, rest = f.divmod("%count", v.lanes)

    def vector(first: str, mask: str | None) -> None:
        at = v.at("%from", f.mul(first, pitch))
        value = v.load(at, mask) if pitch == 1 else v.gather(at, pitch, mask)
        if added:
            value = v.add(value, added)
        end = finish(v, kernel.epilogue, kernel.aux_contiguous).moved("position", first)
        value = end.value(value, "position", mask)
        if contiguous:
            to = v.at("%out", first)
            if prefetch:
                f.prefetch(v.at(to, "%ahead"), write=True)
            v.store(value, to, mask)
        else:
            to = v.at("%out", f.mul(first, "%out_position"))
            v.scatter(value, to, "%out_position", mask)

    with f.loop(0, whole) as number:
        vector(f.mul(number.index, v.lanes), None)

    def tail() -> None:
        vector(f.mul(whole, v.lanes), v.below(rest))

    with f.when(f.value(f"icmp sgt i64 {rest}, 0")):
        if kernel.aux_contiguous:  # one of them may be the output: nothing is computed twice
            tail()
        else:
            several = f.value(f"icmp sgt i64 {whole}, 0")
            again = f.sub("%count", v.lanes)
            f.choose(several, lambda: vector(again, None), tail)
