"""The code of overlap-save: blocks in, transformed, multiplied, transformed back, out.

A block's real plane holds one block of the signal, its imaginary plane the next: with a real filter
the two go through one complex transform and do not mix.
"""

from collections.abc import Sequence

from faltung.codegen.copies import write_fill
from faltung.codegen.ir import parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.costs import PREFETCH_DISTANCE_COPIED_ROWS
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.epilogue_arrays import EpilogueKernel
from faltung.methods.base.kernel import Arguments, part
from faltung.methods.base.moves import put_arguments, write_put
from faltung.methods.fft.kernel import AS_IS, IN, OUT, Code, FftKernel
from faltung.methods.fft.passes import (
    Complex,
    lanes_back,
    load,
    times,
    write_first,
    write_lanes,
    write_last,
    write_passes,
)


@dataclass(frozen=True)
class FftSums(FftKernel, EpilogueKernel):
    """Items are some of the pairs of blocks (sample, group, pair), with scratch of their own.

    ``x_contiguous``, ``out_contiguous``: inputs are contiguous, outputs; ``aux_steps``: what
    arrays of the epilogue are along positions; ``pitch``: entries of a block between outputs;
    ``single``: there is one input channel. ``radix``: of the first pass where blocks are rows of an
    array (see ``passes``), else 0.
    """

    name = "fft"
    pointers = ("x", "bias", "spectra", "scratch", "blocks", "ins", "outs")
    numbers = (
        *("item_count", "all_pairs", "pairs", "groups", "channels_in", "channels_out"),
        *("item_scratch", "result", "rows", "width"),
        *("x_batch", "x_group", "x_channel", "x_position", "x_row", "row_in", "row_out"),
    )
    output_numbers = ("batch", "group", "channel", "position", "row")

    dtype: str
    x_contiguous: bool
    pitch: int
    out_contiguous: bool
    single: bool
    bias: bool
    epilogue: Epilogue | None = None
    aux_steps: tuple[int, ...] = ()
    radix: int = 0

    def functions(self, code: Functions) -> None:
        write_fill(code, self.x_contiguous, prefetch=self.radix > 0)
        write_passes(code, inverse=False)
        write_passes(code, inverse=True)
        write_lanes(code)
        if self.radix:
            write_first(code, self.radix)
            write_last(code, self.radix)
        _write_product(code, self.single)
        write_put(
            code,
            self,
            contiguous=self.out_contiguous,
            bias=self.bias,
            pitch=self.pitch,
            prefetch=self.radix > 0,
        )

    def body(self, v: Vectors, given: Arguments) -> None:
        f, code = v.function, Code(v, given)
        with f.loop("%begin", "%end") as item:
            first, stop = part(f, given["all_pairs"], given["item_count"], item.index)
            scratch = v.at(given["scratch"], f.mul(item.index, given["item_scratch"]))
            with f.loop(first, stop) as pair:
                self._pair(code, scratch, pair.index)

    def _pair(self, code: Code, scratch: str, number: str) -> None:
        v, f, given = code.v, code.v.function, code.given
        rest, pair = f.divmod(number, given["pairs"])
        batch, group = f.divmod(rest, given["groups"])
        blocks = code.blocks(pair)
        x = code.array("x", batch, group)
        with f.loop(0, given["channels_in"]) as ci:
            buffer = v.at(scratch, f.mul(ci.index, given["buffer"]))
            here = v.at(x, f.mul(ci.index, given["x_channel"]))
            self._load(code, blocks, here, buffer)
            code.lanes(buffer)
        arrays = {name: code.array(name, batch, group) for name in self.outputs}
        with f.loop(0, given["channels_out"]) as co:
            channel = f.add(f.mul(group, given["channels_out"]), co.index)
            spectra = f.mul(f.mul(channel, given["channels_in"]), given["buffer"])
            h = v.at(given["spectra"], spectra)
            result = v.at(scratch, given["result"])
            numbers = [given[name] for name in ("plane", "lane_groups", "channels_in", "buffer")]
            code.call("product", [scratch, h, result, given["lanes"]], numbers)
            to = {
                name: v.at(at, f.mul(co.index, given[f"{name}_channel"]))
                for name, at in arrays.items()
            }
            to["bias"] = v.at(given["bias"], channel)
            store = self._store_rows if self.radix else self._store
            store(code, blocks, result, to)

    def _load(self, code: Code, blocks: Sequence[str], x: str, buffer: str) -> None:
        """Both planes in, and over their vectors forward."""
        v, f, given = code.v, code.v.function, code.given
        planes = code.planes(buffer)
        if not self.radix:
            for block, to in zip(blocks, planes, strict=True):
                code.load_block(x, to, block)
            code.transform("forward", buffer)
            return
        sources, steps = [], []
        for block, to in zip(blocks, planes, strict=True):
            as_is = f.value(f"icmp eq i64 {f.word(block, 2)}, {AS_IS}")
            with f.when(f.value(f"xor i1 {as_is}, true")):
                code.load_block(x, to, block)
            segment = f.at(given["ins"], f.mul(f.word(block, 0), IN), "i64")
            there = v.at(x, f.word(segment, 0))
            sources.append(f.value(f"select i1 {as_is}, ptr {there}, ptr {to}"))
            step = f"select i1 {as_is}, i64 {given['x_row']}, i64 {given['width']}"
            steps.append(f.value(step))
        arguments = [("ptr", buffer), ("i64", given["plane"]), ("i64", given["rows"])]
        arguments += [("i64", given["width"]), ("ptr", given["passes"])]
        arguments += [*(("ptr", at) for at in sources), *(("i64", step) for step in steps)]
        f.call("first", arguments)
        self._parts(code, "forward", buffer)

    def _parts(self, code: Code, name: str, x: str) -> str:
        """``name`` ("forward", "inverse") of each part of a block in rows; elements of a part."""
        v, f, given = code.v, code.v.function, code.given
        size = f.divmod(given["size"], self.radix)[0]
        length = f.divmod(f.mul(given["rows"], given["width"]), self.radix)[0]
        roots = v.at(given["passes"], f.mul(size, 2 * (self.radix - 1)))
        for p in range(self.radix):
            at = v.at(x, f.mul(length, p))
            f.call(name, [("ptr", at), ("i64", given["plane"]), ("i64", size), ("ptr", roots)])
        return length

    def _store(self, code: Code, blocks: Sequence[str], z: str, to: dict[str, str]) -> None:
        """Back over the vectors of ``z``, and the outputs of both planes."""
        v, f, given = code.v, code.v.function, code.given
        code.transform("inverse", z)
        for block, plane in zip(blocks, code.planes(z), strict=True):

            def each(segment: str, plane: str = plane) -> None:
                places = [v.at(plane, f.word(segment, 0)), *self._places(code, segment, to)]
                steps = [given["row_out"], *(given[f"{name}_row"] for name in self.outputs)]
                moving = list(zip(places, steps, strict=True))
                with v.walk(0, f.word(segment, 2), moving) as row:
                    count = f.word(segment, 1)
                    self._put(code, count, to["bias"], row.values, PREFETCH_DISTANCE_COPIED_ROWS)

            columns = OUT + len(self.aux_steps)
            code.segments("outs", columns, f.word(block, 3), f.word(block, 4), each)

    def _store_rows(self, code: Code, blocks: Sequence[str], z: str, to: dict[str, str]) -> None:
        """The same row after row. Every block has one segment, from its first entry on, or none."""
        v, f, given = code.v, code.v.function, code.given
        part = self._parts(code, "inverse", z)
        count = f.divmod(given["rows"], self.radix)[0]
        known = []
        for block, plane in zip(blocks, code.planes(z), strict=True):
            columns = OUT + len(self.aux_steps)
            segment = f.at(given["outs"], f.mul(f.word(block, 3), columns), "i64")
            some = f.value(f"icmp sgt i64 {f.word(block, 4)}, 0")
            times = f.value(f"select i1 {some}, i64 {f.word(segment, 2)}, i64 0")
            known.append((plane, f.word(segment, 1), times, self._places(code, segment, to)))
        per_row = f.mul(f.divmod(given["size"], given["rows"])[0], 2 * (self.radix - 1))
        with f.loop(0, count) as first_row:
            first = f.mul(first_row.index, given["width"])
            roots = v.at(given["passes"], f.mul(first_row.index, per_row))
            arguments = [("ptr", v.at(z, first)), ("i64", given["plane"]), ("i64", part)]
            f.call("last", [*arguments, ("i64", given["width"]), ("ptr", roots)])
            for p in range(self.radix):
                row = f.add(first_row.index, f.mul(count, p))
                for plane, entries, times, places in known:
                    with f.when(f.value(f"icmp slt i64 {row}, {times}")):
                        here = [v.at(plane, f.mul(row, given["width"]))]
                        for name, place in zip(self.outputs, places, strict=True):
                            here.append(v.at(place, f.mul(row, given[f"{name}_row"])))
                        self._put(code, entries, to["bias"], here, 2)

    def _places(self, code: Code, segment: str, to: dict[str, str]) -> list[str]:
        """Where a segment begins in the output and in the arrays of the epilogue."""
        v, f = code.v, code.v.function
        return [v.at(to[name], f.word(segment, 3 + i)) for i, name in enumerate(self.outputs)]

    def _put(self, code: Code, count: str, bias: str, places: Sequence[str], distance: int) -> None:
        """One row of outputs. ``places``: in the block, then in each of ``outputs``; ``distance``:
        rows to the one that is prefetched.
        """
        f, given = code.v.function, code.given
        here = {**given, **dict(zip(("from", *self.outputs), places, strict=True))}
        here |= {"count": count, "bias": bias, "ahead": f.mul(given["out_row"], distance)}
        f.call_with("put", put_arguments(len(self.aux_steps)), here)


# The product --------------------------------------------------------------------------------------


def _write_product(code: Functions, single: bool) -> None:
    """``product``: spectra of all input channels times those of their filters, added up, and the
    first part of the way back.
    """
    numbers = "plane", "lane_groups", "channels", "buffer"
    v = code.open("product", parameters(["z", "h", "to", "twiddles"], numbers))
    f = v.function
    step = v.lanes * v.lanes

    def one(z: str, h: str) -> Complex:
        return times(v, load(v, z, "%plane"), load(v, h, "%plane"))

    def row(z: str, h: str) -> Complex:
        total = one(z, h)
        if single:
            return total
        carried = [("ptr", z), ("ptr", h), (v.type, total[0]), (v.type, total[1])]
        with f.loop(1, "%channels", carried) as ci:
            z, h = (v.at(at, "%buffer") for at in ci.values[:2])
            made = one(z, h)
            sums = [v.add(a, b) for a, b in zip(ci.values[2:], made, strict=True)]
            ci.carry([z, h, *sums])
        return ci.results[2], ci.results[3]

    moving = [*((f"%{name}", step) for name in ("z", "h", "to")), ("%twiddles", 2 * step)]
    with v.walk(0, "%lane_groups", moving, runs=True) as group:
        z, h, to, w = group.values
        rows = [row(v.at(z, i * v.lanes), v.at(h, i * v.lanes)) for i in range(v.lanes)]
        lanes_back(v, rows, to, "%plane", w)
