"""Adds the partial sums of bands in order and stores them as a weight gradient.

Bands depend on spec and machine alone, and one item adds them in order, so that the bits do not
depend on the number of threads.
"""

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Operand, Step, table


@dataclass(frozen=True)
class BandSums(Kernel):
    """``channels``: lanes in use in a vector; ``contiguous``: whether they are, in the weight."""

    name = "band_sums"
    pointers = ("sums", "w", "taps")
    numbers = ("blocks", "bands", "band", "width", "w_block", "w_channel")

    dtype: str
    channels: int
    contiguous: bool

    def body(self, v: Vectors, given: Arguments) -> None:
        f, mask = v.function, v.first(self.channels)
        with f.loop("%begin", "%end") as item:
            tap, block = f.divmod(item.index, given["blocks"])
            line = f.add(f.mul(tap, given["width"]), f.mul(block, v.lanes))
            start = [("ptr", v.at(given["sums"], line)), (v.type, v.zero)]
            with f.loop(0, given["bands"], start) as band:
                at, total = band.values
                band.carry([v.at(at, given["band"]), v.add(total, v.load(at))])
            offset = f.add(f.word(given["taps"], tap), f.mul(block, given["w_block"]))
            if self.contiguous:
                v.store(band.results[1], v.at(given["w"], offset), mask)
            else:
                v.scatter(band.results[1], v.at(given["w"], offset), given["w_channel"], mask)


def store_sum(v: Vectors, later: str, value: str, at: str, mask: str | None = None) -> None:
    """Store the sum of a band, added to what is there if this is a ``later`` band."""
    total = v.add(v.load(at, mask), value)
    chosen = f"select i1 {later}, {v.type} {total}, {v.type} {value}"
    v.store(v.function.value(chosen), at, mask)


def band_sums(
    c: Correlation, sums: Operand, w: Operand, bands: int, blocks: int, channels: int, width: int
) -> Step:
    """Add ``bands`` bands of (tap, input channel, output channel), and store them in the weight.

    Blocks of ``channels`` output channels of all groups fill a vector each; ``width``: elements per
    input channel in ``sums``.
    """
    stride = c.w[0] if c.channels_out == 1 else c.w[1]
    offsets = [[tap + ci * c.w[2]] for tap in c.tap_offsets for ci in range(c.channels_in)]
    return BandSums(c.dtype, channels, stride == 1).step(
        len(offsets) * blocks,
        "add bands",
        barrier=True,
        sums=sums,
        w=w,
        taps=table(offsets, 1),
        blocks=blocks,
        bands=bands,
        band=len(offsets) * width,
        width=width,
        w_block=channels * stride,
        w_channel=stride,
    )
