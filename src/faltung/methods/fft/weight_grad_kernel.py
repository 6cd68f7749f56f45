"""The code of the weight gradient: blocks of input and output gradient, their products, and back.

A block's imaginary plane holds a second block, as in ``sums``. Of ``(X1 + i X2)`` times the
conjugate of ``(G1 + i G2)`` the real part, transformed back, is the sum of both correlations.
"""

from faltung.codegen.copies import write_fill, write_spread
from faltung.codegen.ir import parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, part
from faltung.methods.fft.kernel import OUT, Code, FftKernel
from faltung.methods.fft.passes import (
    add,
    lanes_back,
    load,
    store,
    times,
    write_lanes,
    write_passes,
)


@dataclass(frozen=True)
class FftBands(FftKernel):
    """Items are (group, band): some of the pairs of blocks (sample, pair), whose products are added
    up. ``x_contiguous``: inputs are contiguous; ``stride``: entries between outputs.
    """

    name = "fft_bands"
    pointers = ("x", "grad", "sums", "scratch", "blocks", "ins", "outs")
    numbers = (
        *("bands", "all_pairs", "pairs", "channels_in", "channels_out", "item_scratch", "kernels"),
        *("x_batch", "x_group", "x_channel", "x_position", "x_row", "row_in", "row_out"),
        *("grad_batch", "grad_group", "grad_channel", "grad_position", "grad_row"),
    )

    dtype: str
    x_contiguous: bool
    stride: int

    def functions(self, code: Functions) -> None:
        write_fill(code, self.x_contiguous)
        write_passes(code, inverse=False)
        write_lanes(code)
        write_spread(code, self.stride)
        _write_add_products(code)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, code = v.function, Code(v, given)
        with f.loop("%begin", "%end") as item:
            group, band = f.divmod(item.index, given["bands"])
            scratch = v.at(given["scratch"], f.mul(item.index, given["item_scratch"]))
            size = f.mul(given["kernels"], given["buffer"])
            sums = v.at(given["sums"], f.mul(item.index, size))
            code.call("blank", [sums], [size])
            first, stop = part(f, given["all_pairs"], given["bands"], band)
            with f.loop(first, stop) as pair:
                self._pair(code, scratch, sums, group, pair.index)

    def _pair(self, code: Code, scratch: str, sums: str, group: str, number: str) -> None:
        v, f, given = code.v, code.v.function, code.given
        batch, pair = f.divmod(number, given["pairs"])
        blocks = code.blocks(pair)
        x, grad = (code.array(name, batch, group) for name in ("x", "grad"))
        with f.loop(0, given["channels_in"]) as ci:
            buffer = v.at(scratch, f.mul(ci.index, given["buffer"]))
            here = v.at(x, f.mul(ci.index, given["x_channel"]))
            for block, to in zip(blocks, code.planes(buffer), strict=True):
                code.load_block(here, to, block)
            code.transform("forward", buffer)
            code.lanes(buffer)
        grads = v.at(scratch, f.mul(given["channels_in"], given["buffer"]))
        with f.loop(0, given["channels_out"]) as co:
            here = v.at(grad, f.mul(co.index, given["grad_channel"]))
            for block, to in zip(blocks, code.planes(grads), strict=True):
                _load_grad(code, here, to, block)
            code.transform("forward", grads)
            code.lanes(grads)
            with f.loop(0, given["channels_in"]) as ci:
                z = v.at(scratch, f.mul(ci.index, given["buffer"]))
                kernel = f.add(f.mul(co.index, given["channels_in"]), ci.index)
                to = v.at(sums, f.mul(kernel, given["buffer"]))
                code.call("add_products", [z, grads, to], [given["plane"], given["size"]])


def _load_grad(code: Code, grad: str, to: str, block: str) -> None:
    """The outputs of one block, zeros between and behind them."""
    v, f, given = code.v, code.v.function, code.given
    code.call("blank", [to], [given["plane"]])

    def each(segment: str) -> None:
        place, source = v.at(to, f.word(segment, 0)), v.at(grad, f.word(segment, 3))
        numbers = f.word(segment, 1), given["grad_position"]
        moving = [(place, given["row_out"]), (source, given["grad_row"])]
        with v.walk(0, f.word(segment, 2), moving) as row:
            code.call("spread", row.values, numbers)

    code.segments("outs", OUT, f.word(block, 3), f.word(block, 4), each)


def _write_add_products(code: Functions) -> None:
    """``add_products`` (z, y, to, plane, size): ``to += z * conj(y)``."""
    v = code.open("add_products", parameters(["z", "y", "to"], ["plane", "size"]))
    moving = [(f"%{name}", v.lanes) for name in ("z", "y", "to")]
    with v.walk(0, "%size", moving, runs=True) as vector:
        z, y, to = vector.values
        made = times(v, load(v, z, "%plane"), load(v, y, "%plane"), conjugate=True)
        store(v, add(v, load(v, to, "%plane"), made), to, "%plane")


@dataclass(frozen=True)
class FftBandSums(FftKernel):
    """Items are kernels (group, output channel, input channel): their bands added up in order,
    transformed back, and their taps written.
    """

    name = "fft_band_sums"
    pointers = ("sums", "w", "taps", "scale")
    numbers = (
        *("bands", "band", "channels_in", "channels_out"),
        *("w_group", "w_out", "w_in", "segments"),
    )

    dtype: str

    def functions(self, code: Functions) -> None:
        write_passes(code, inverse=True)
        _write_add_bands(code)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, code = v.function, Code(v, given)
        scale = v.load_one(given["scale"])
        kernels = f.mul(given["channels_in"], given["channels_out"])
        with f.loop("%begin", "%end") as item:
            group, kernel = f.divmod(item.index, kernels)
            co, ci = f.divmod(kernel, given["channels_in"])
            first = f.mul(f.mul(group, given["bands"]), given["band"])
            sums = v.at(given["sums"], f.add(first, f.mul(kernel, given["buffer"])))
            numbers = [given[name] for name in ("plane", "lane_groups", "bands", "band")]
            code.call("add_bands", [sums, given["lanes"]], numbers)
            code.transform("inverse", sums)
            place = f.add(f.mul(co, given["w_out"]), f.mul(ci, given["w_in"]))
            w = v.at(given["w"], f.add(place, f.mul(group, given["w_group"])))
            code.scale_taps(w, sums, scale, back=True)


def _write_add_bands(code: Functions) -> None:
    """``add_bands``: the sums of all bands, added into the first, and the first part of the way
    back.
    """
    numbers = "plane", "lane_groups", "bands", "band"
    v = code.open("add_bands", parameters(["sums", "twiddles"], numbers))
    f = v.function
    step = v.lanes * v.lanes
    with v.walk(0, "%lane_groups", [("%sums", step), ("%twiddles", 2 * step)], runs=True) as group:
        at, w = group.values
        rows = []
        for i in range(v.lanes):
            first = v.at(at, i * v.lanes)
            real, imaginary = load(v, first, "%plane")
            totals = [("ptr", first), (v.type, real), (v.type, imaginary)]
            with f.loop(1, "%bands", totals) as band:
                here = v.at(band.values[0], "%band")
                z = load(v, here, "%plane")
                band.carry([here, *add(v, (band.values[1], band.values[2]), z)])
            rows.append((band.results[1], band.results[2]))
        lanes_back(v, rows, at, "%plane", w)
