"""Code that stores segments of outputs from a buffer, for ``fft`` and ``signal``."""

from faltung.codegen.ir import parameters
from faltung.codegen.vectors import Functions
from faltung.methods.base.epilogue import finish, tile_arguments
from faltung.methods.base.epilogue_arrays import EpilogueKernel


def put_arguments(aux: int) -> list[tuple[str, str]]:
    """What ``put`` takes, with ``aux`` arrays of an epilogue."""
    own = parameters(["from", "bias", "out"], ["count", "ahead", "out_position"])
    return [*own, *tile_arguments(aux)]


def write_put(
    code: Functions,
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
    v = code.open("put", put_arguments(len(kernel.aux_steps)))
    f = v.function
    added = v.broadcast("%bias") if bias else ""
    whole, rest = f.divmod("%count", v.lanes)

    def vector(first: str, mask: str | None) -> None:
        at = v.at("%from", f.mul(first, pitch))
        value = v.load(at, mask) if pitch == 1 else v.gather(at, pitch, mask)
        if added:
            value = v.add(value, added)
        end = finish(v, kernel.epilogue, kernel.aux_steps).moved("position", first)
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
        if kernel.aux_steps:  # one of them may be the output: nothing is computed twice
            tail()
        else:
            several = f.value(f"icmp sgt i64 {whole}, 0")
            again = f.sub("%count", v.lanes)
            f.choose(several, lambda: vector(again, None), tail)
