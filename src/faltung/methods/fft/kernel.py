"""The code of ``fft``: blocks in, transformed, multiplied, transformed back, out.

A block's real plane holds one stretch of the signal, its imaginary plane the next: with a real
kernel the two go through one complex transform and do not mix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.moves import AUX, put_arguments, write_fill, write_put
from faltung.methods.fft.ends import parts, write_first, write_last
from faltung.methods.fft.moves import AHEAD, AS_IS, BLOCK, IN, OUT, Code, load_block, runs
from faltung.methods.fft.passes import (
    Complex,
    lanes_back,
    times,
    write_lanes,
    write_passes,
)

SUMS_POINTERS = ("x", "out", "bias", "spectra", "scratch", "blocks", "ins", "outs")
SUMS_NUMBERS = (
    *("slots", "units", "pairs", "groups", "channels_in", "channels_out", "slot", "result"),
    *("x_batch", "x_group", "x_channel", "x_position", "x_row", "row_in", "row_out"),
    *("rows", "width"),
    *("out_batch", "out_group", "out_channel", "out_position", "out_row"),
)


# The sums -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FftSums:
    """Items are slots: stretches of units (sample, group, pair of blocks) with scratch of their
    own.

    ``near``: inputs are neighbours in memory; ``pitch``: entries of a block between neighbouring
    outputs; ``beside``: outputs are neighbours in memory; ``aux_contiguous``: likewise in
    each array of the epilogue; ``single``: there is one input channel. ``radix``: of the first
    pass where blocks are rows of an array (see ``fft_ends``), else 0.
    """

    dtype: str
    near: bool
    pitch: int
    beside: bool
    single: bool
    bias: bool
    epilogue: Epilogue | None = None
    aux_contiguous: tuple[bool, ...] = ()
    radix: int = 0

    @property
    def symbol(self) -> str:
        return f"fft_{self.dtype}"

    @property
    def pointers(self) -> tuple[str, ...]:
        return (*SUMS_POINTERS, *(f"aux{i}" for i in range(len(self.aux_contiguous))))

    @property
    def numbers(self) -> tuple[str, ...]:
        more = (
            f"aux{i}{name}" for i in range(len(self.aux_contiguous)) for name in (*AUX[1:], "_row")
        )
        return (*SUMS_NUMBERS, *more)

    def emit(self, machine: Machine) -> str:
        module = Module()
        write_fill(module, machine, self.dtype, self.near, ask=self.radix > 0)
        write_passes(module, machine, self.dtype, inverse=False)
        write_passes(module, machine, self.dtype, inverse=True)
        write_lanes(module, machine, self.dtype)
        if self.radix:
            write_first(module, machine, self.dtype, self.radix)
            write_last(module, machine, self.dtype, self.radix)
        _product(module, machine, self.dtype, self.single)
        write_put(module, machine, self, ask=self.radix > 0)
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        self._slots(Code(f, self.pointers, self.numbers))
        return str(module)

    def _slots(self, code: Code) -> None:
        f, word = code.f, code.word
        with f.loop("%begin", "%end") as slot:
            first, stop = (
                f.divmod(f.mul(at, word["units"]), word["slots"])[0]
                for at in (slot.index, f.add(slot.index, 1))
            )
            element = ELEMENTS[self.dtype][0]
            scratch = f.at(word["scratch"], f.mul(slot.index, word["slot"]), element)
            with f.loop(first, stop) as unit:
                self._unit(code, scratch, unit.index)

    def _unit(self, code: Code, scratch: str, unit: str) -> None:
        f, word, element = code.f, code.word, ELEMENTS[self.dtype][0]
        rest, pair = f.divmod(unit, word["pairs"])
        where = dict(zip(("batch", "group"), f.divmod(rest, word["groups"]), strict=True))

        def place(name: str) -> str:
            terms = [f.mul(where[i], word[f"{name}_{i}"]) for i in where]
            return f.at(word[name], f.add(*terms), element)

        blocks = [
            f.at(word["blocks"], f.mul(f.add(f.mul(pair, 2), i), BLOCK), "i64") for i in range(2)
        ]
        x = place("x")
        with f.loop(0, word["channels_in"]) as ci:
            buffer = f.at(scratch, f.mul(ci.index, word["buffer"]), element)
            here = f.at(x, f.mul(ci.index, word["x_channel"]), element)
            self._load(code, blocks, here, buffer)
            code.lanes(buffer)
        outputs = {name: place(name) for name in ("out", *self.pointers[len(SUMS_POINTERS) :])}
        with f.loop(0, word["channels_out"]) as co:
            channel = f.add(f.mul(where["group"], word["channels_out"]), co.index)
            spectra = f.mul(f.mul(channel, word["channels_in"]), word["buffer"])
            h = f.at(word["spectra"], spectra, element)
            result = f.at(scratch, word["result"], element)
            given = [scratch, h, result, word["lanes"]]
            numbers = [word[name] for name in ("plane", "turns", "channels_in", "buffer")]
            f.call("product", [*(("ptr", g) for g in given), *(("i64", n) for n in numbers)])
            here_of = {
                name: f.at(at, f.mul(co.index, word[f"{name}_channel"]), element)
                for name, at in outputs.items()
            }
            bias = f.at(word["bias"], channel, element)
            store_blocks = self._store_rows if self.radix else self._store
            store_blocks(code, blocks, result, bias, here_of)

    def _load(self, code: Code, blocks: Sequence[str], x: str, buffer: str) -> None:
        """Both planes in, and over their vectors forward."""
        f, word, element = code.f, code.word, ELEMENTS[self.dtype][0]
        planes = code.planes(buffer, element)
        if not self.radix:
            for block, to in zip(blocks, planes, strict=True):
                load_block(code, self.dtype, x, to, block)
            code.transform("forward", buffer)
            return
        sources, steps = [], []
        for block, to in zip(blocks, planes, strict=True):
            as_is = f.value(f"icmp eq i64 {f.word(block, 2)}, {AS_IS}")
            with f.when(f.value(f"xor i1 {as_is}, true")):
                load_block(code, self.dtype, x, to, block)
            run = f.at(word["ins"], f.mul(f.word(block, 0), IN), "i64")
            there = f.at(x, f.word(run, 0), element)
            sources.append(f.value(f"select i1 {as_is}, ptr {there}, ptr {to}"))
            step = f"select i1 {as_is}, i64 {word['x_row']}, i64 {word['width']}"
            steps.append(f.value(step))
        given = [("ptr", buffer), ("i64", word["plane"]), ("i64", word["rows"])]
        given += [("i64", word["width"]), ("ptr", word["passes"])]
        given += [*(("ptr", at) for at in sources), *(("i64", step) for step in steps)]
        f.call("first", given)
        parts(f, word, element, "forward", buffer, self.radix)

    def _store(
        self, code: Code, blocks: Sequence[str], z: str, bias: str, to: dict[str, str]
    ) -> None:
        """Back over the vectors of ``z``, and the outputs of both planes."""
        f, word, element = code.f, code.word, ELEMENTS[self.dtype][0]
        code.transform("inverse", z)
        for block, plane in zip(blocks, code.planes(z, element), strict=True):

            def each(run: str, plane: str = plane) -> None:
                places = [f.at(plane, f.word(run, 0), element), *self._places(code, run, to)]
                steps = ["row_out", *(f"{name}_row" for name in to)]
                with f.loop(0, f.word(run, 2), [("ptr", place) for place in places]) as row:
                    self._put(code, f.word(run, 1), bias, row.values, list(to), AHEAD)
                    pairs = zip(row.values, steps, strict=True)
                    row.carry([f.at(here, word[step], element) for here, step in pairs])

            columns = OUT + len(self.aux_contiguous)
            runs(f, word["outs"], columns, f.word(block, 3), f.word(block, 4), each)

    def _store_rows(
        self, code: Code, blocks: Sequence[str], z: str, bias: str, to: dict[str, str]
    ) -> None:
        """The same row after row. Every block has one run, from its first entry on, or none."""
        f, word, element = code.f, code.word, ELEMENTS[self.dtype][0]
        part = parts(f, word, element, "inverse", z, self.radix)
        count = f.divmod(word["rows"], self.radix)[0]
        known = []
        for block, plane in zip(blocks, code.planes(z, element), strict=True):
            run = f.at(word["outs"], f.mul(f.word(block, 3), OUT + len(self.aux_contiguous)), "i64")
            some = f.value(f"icmp sgt i64 {f.word(block, 4)}, 0")
            times = f.value(f"select i1 {some}, i64 {f.word(run, 2)}, i64 0")
            known.append((plane, f.word(run, 1), times, self._places(code, run, to)))
        per_row = f.mul(f.divmod(word["size"], word["rows"])[0], 2 * (self.radix - 1))
        with f.loop(0, count) as turn:
            first = f.mul(turn.index, word["width"])
            roots = f.at(word["passes"], f.mul(turn.index, per_row), element)
            given = [("ptr", f.at(z, first, element)), ("i64", word["plane"]), ("i64", part)]
            f.call("last", [*given, ("i64", word["width"]), ("ptr", roots)])
            for p in range(self.radix):
                row = f.add(turn.index, f.mul(count, p))
                for plane, entries, times, places in known:
                    with f.when(f.value(f"icmp slt i64 {row}, {times}")):
                        here = [f.at(plane, f.mul(row, word["width"]), element)]
                        for name, place in zip(to, places, strict=True):
                            here.append(f.at(place, f.mul(row, word[f"{name}_row"]), element))
                        self._put(code, entries, bias, here, list(to), 2)

    def _places(self, code: Code, run: str, to: dict[str, str]) -> list[str]:
        """Where a run begins in the output and in the arrays of the epilogue."""
        element = ELEMENTS[self.dtype][0]
        return [
            code.f.at(base, code.f.word(run, 3 + i), element) for i, base in enumerate(to.values())
        ]

    def _put(
        self,
        code: Code,
        count: str,
        bias: str,
        places: Sequence[str],
        names: Sequence[str],
        ahead: int,
    ) -> None:
        """One row of outputs. ``places``: in the block, then in each of the arrays ``names``."""
        f, word = code.f, code.word
        given = {"from": places[0], "count": count, "bias": bias}
        given["far"] = f.mul(word["out_row"], ahead)
        for name, here in zip(names, places[1:], strict=True):
            given[name] = here
            given[f"{name}_position"] = word[f"{name}_position"]
            given[f"{name}_channel"] = word[f"{name}_channel"]
        f.call(
            "put", [(kind, given[name]) for kind, name in put_arguments(len(self.aux_contiguous))]
        )


# The product --------------------------------------------------------------------------------------


def _product(module: Module, machine: Machine, dtype: str, single: bool) -> None:
    """``product``: spectra of all input channels times those of a kernel, added up, and the first
    part of the way back.
    """
    arrays = [("ptr", name) for name in ("z", "h", "to", "twiddles")]
    numbers = [("i64", name) for name in ("plane", "turns", "channels", "buffer")]
    f = module.function("product", [*arrays, *numbers])
    v = Vectors(f, machine, dtype)
    step = v.lanes * v.lanes

    def one(z: str, h: str) -> Complex:
        a = v.load(z), v.load(v.at(z, "%plane"))
        return times(v, a, (v.load(h), v.load(v.at(h, "%plane"))))

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

    carried = [("ptr", f"%{name}") for name in ("z", "h", "to", "twiddles")]
    with f.loop(0, "%turns", carried, runs=True) as turn:
        z, h, to, w = turn.values
        rows = [row(v.at(z, i * v.lanes), v.at(h, i * v.lanes)) for i in range(v.lanes)]
        lanes_back(v, rows, to, "%plane", w)
        turn.carry([*(v.at(at, step) for at in (z, h, to)), v.at(w, 2 * step)])
