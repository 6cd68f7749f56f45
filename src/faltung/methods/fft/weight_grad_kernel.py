"""The code of ``fft_grad``: blocks of input and output gradient transformed, their products added
up, the sums transformed back.

A block's imaginary plane holds a second stretch, as in ``fft_kernel``. Of ``(X1 + i X2)`` times the
conjugate of ``(G1 + i G2)`` the real part, transformed back, is the sum of both correlations.
"""

from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.base.moves import write_fill
from faltung.methods.fft.moves import BLOCK, OUT, TAPS, Code, load_block, runs
from faltung.methods.fft.passes import (
    add,
    lanes_back,
    load,
    store,
    times,
    write_lanes,
    write_passes,
)

BANDS_POINTERS = ("x", "grad", "sums", "scratch", "blocks", "ins", "outs")
BANDS_NUMBERS = (
    *("bands", "units", "pairs", "channels_in", "channels_out", "slot", "kernels"),
    *("x_batch", "x_group", "x_channel", "x_position", "x_row", "row_in", "row_out"),
    *("grad_batch", "grad_group", "grad_channel", "grad_position", "out_row"),
)
BACK_POINTERS = ("sums", "w", "taps", "scale")
BACK_NUMBERS = ("bands", "channels_in", "channels_out", "w_group", "w_out", "w_in", "runs", "band")


@dataclass(frozen=True)
class FftBands:
    """Items are (group, band): a stretch of units (sample, pair of blocks) whose products are added
    up. ``near``: inputs are neighbours in memory; ``stride``: entries between outputs.
    """

    dtype: str
    near: bool
    stride: int

    @property
    def symbol(self) -> str:
        return f"fft_bands_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        write_fill(module, machine, self.dtype, self.near)
        write_passes(module, machine, self.dtype, inverse=False)
        write_lanes(module, machine, self.dtype)
        _spread(module, machine, self)
        _add_products(module, machine, self.dtype)
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        self._items(Code(f, BANDS_POINTERS, BANDS_NUMBERS))
        return str(module)

    def _items(self, code: Code) -> None:
        f, word, element = code.f, code.word, ELEMENTS[self.dtype][0]
        with f.loop("%begin", "%end") as item:
            group, band = f.divmod(item.index, word["bands"])
            scratch = f.at(word["scratch"], f.mul(item.index, word["slot"]), element)
            size = f.mul(word["kernels"], word["buffer"])
            sums = f.at(word["sums"], f.mul(item.index, size), element)
            f.call("blank", [("ptr", sums), ("i64", size)])
            first, stop = (
                f.divmod(f.mul(at, word["units"]), word["bands"])[0]
                for at in (band, f.add(band, 1))
            )
            with f.loop(first, stop) as unit:
                self._unit(code, scratch, sums, group, unit.index)

    def _unit(self, code: Code, scratch: str, sums: str, group: str, unit: str) -> None:
        f, word, element = code.f, code.word, ELEMENTS[self.dtype][0]
        batch, pair = f.divmod(unit, word["pairs"])
        blocks = [
            f.at(word["blocks"], f.mul(f.add(f.mul(pair, 2), i), BLOCK), "i64") for i in range(2)
        ]

        def place(name: str) -> str:
            at = f.add(f.mul(batch, word[f"{name}_batch"]), f.mul(group, word[f"{name}_group"]))
            return f.at(word[name], at, element)

        x, grad = place("x"), place("grad")
        with f.loop(0, word["channels_in"]) as ci:
            buffer = f.at(scratch, f.mul(ci.index, word["buffer"]), element)
            here = f.at(x, f.mul(ci.index, word["x_channel"]), element)
            for block, to in zip(blocks, code.planes(buffer, element), strict=True):
                load_block(code, self.dtype, here, to, block)
            code.forward(buffer)
        grads = f.at(scratch, f.mul(word["channels_in"], word["buffer"]), element)
        with f.loop(0, word["channels_out"]) as co:
            here = f.at(grad, f.mul(co.index, word["grad_channel"]), element)
            for block, to in zip(blocks, code.planes(grads, element), strict=True):
                self._load_grad(code, here, to, block)
            code.forward(grads)
            with f.loop(0, word["channels_in"]) as ci:
                z = f.at(scratch, f.mul(ci.index, word["buffer"]), element)
                number = f.add(f.mul(co.index, word["channels_in"]), ci.index)
                to = f.at(sums, f.mul(number, word["buffer"]), element)
                given = [("ptr", z), ("ptr", grads), ("ptr", to)]
                numbers = [("i64", word["plane"]), ("i64", word["size"])]
                f.call("add_products", [*given, *numbers])

    def _load_grad(self, code: Code, grad: str, to: str, block: str) -> None:
        """The outputs of one block, zeros between and behind them."""
        f, element = code.f, ELEMENTS[self.dtype][0]
        f.call("blank", [("ptr", to), ("i64", code.word["plane"])])

        def each(run: str) -> None:
            place, source = f.at(to, f.word(run, 0), element), f.at(grad, f.word(run, 3), element)
            numbers = [("i64", f.word(run, 1)), ("i64", code.word["grad_position"])]
            with f.loop(0, f.word(run, 2), [("ptr", place), ("ptr", source)]) as row:
                place, source = row.values
                f.call("spread", [("ptr", place), ("ptr", source), *numbers])
                steps = zip(row.values, ("row_out", "out_row"), strict=True)
                row.carry([f.at(at, code.word[step], element) for at, step in steps])

        runs(f, code.word["outs"], OUT, f.word(block, 3), f.word(block, 4), each)


def _spread(module: Module, machine: Machine, recipe: FftBands) -> None:
    """``spread`` (to, from, count, step): from a step to the stride of the outputs."""
    arguments = [("ptr", "to"), ("ptr", "from"), ("i64", "count"), ("i64", "step")]
    f = module.function("spread", arguments)
    v = Vectors(f, machine, recipe.dtype)
    with f.loop(0, "%count") as turn:
        source = v.at("%from", f.mul(turn.index, "%step"))
        one = f.value(f"load {v.element}, ptr {source}, align {v.bytes}")
        place = v.at("%to", f.mul(turn.index, recipe.stride))
        f.emit(f"store {v.element} {one}, ptr {place}, align {v.bytes}")


def _add_products(module: Module, machine: Machine, dtype: str) -> None:
    """``add_products`` (z, y, to, plane, size): ``to += z * conj(y)``."""
    arrays = [("ptr", name) for name in ("z", "y", "to")]
    f = module.function("add_products", [*arrays, ("i64", "plane"), ("i64", "size")])
    v = Vectors(f, machine, dtype)
    carried = [("ptr", f"%{name}") for name in ("z", "y", "to")]
    with f.loop(0, "%size", carried, runs=True) as turn:
        z, y, to = turn.values
        made = times(v, load(v, z, "%plane"), load(v, y, "%plane"), conjugate=True)
        store(v, add(v, load(v, to, "%plane"), made), to, "%plane")
        turn.carry([v.at(at, v.lanes) for at in turn.values])


@dataclass(frozen=True)
class FftBack:
    """Items are kernels (group, output channel, input channel): their bands added up in order,
    transformed back, and their taps written.
    """

    dtype: str

    @property
    def symbol(self) -> str:
        return f"fft_back_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        write_passes(module, machine, self.dtype, inverse=True)
        _add_bands(module, machine, self.dtype)
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        self._items(Code(f, BACK_POINTERS, BACK_NUMBERS))
        return str(module)

    def _items(self, code: Code) -> None:
        f, word = code.f, code.word
        element, size, _ = ELEMENTS[self.dtype]
        scale = f.value(f"load {element}, ptr {word['scale']}, align {size}")
        kernels = f.mul(word["channels_in"], word["channels_out"])
        with f.loop("%begin", "%end") as item:
            group, kernel = f.divmod(item.index, kernels)
            co, ci = f.divmod(kernel, word["channels_in"])
            first = f.mul(f.mul(group, word["bands"]), word["band"])
            at = f.add(first, f.mul(kernel, word["buffer"]))
            sums = f.at(word["sums"], at, element)
            numbers = [("i64", word[name]) for name in ("plane", "turns", "bands", "band")]
            f.call("add_bands", [("ptr", sums), ("ptr", word["lanes"]), *numbers])
            code.transform("inverse", sums)
            place = f.add(f.mul(co, word["w_out"]), f.mul(ci, word["w_in"]))
            w = f.at(word["w"], f.add(place, f.mul(group, word["w_group"])), element)

            def each(row: str, w: str = w, sums: str = sums) -> None:
                to, place = f.at(w, f.word(row, 0), element), f.at(sums, f.word(row, 2), element)
                with f.loop(0, f.word(row, 4)) as tap:
                    here = f.at(place, f.mul(tap.index, f.word(row, 3)), element)
                    there = f.at(to, f.mul(tap.index, f.word(row, 1)), element)
                    one = f.value(f"load {element}, ptr {here}, align {size}")
                    scaled = f.value(f"fmul {element} {one}, {scale}")
                    f.emit(f"store {element} {scaled}, ptr {there}, align {size}")

            runs(f, word["taps"], TAPS, "0", word["runs"], each)


def _add_bands(module: Module, machine: Machine, dtype: str) -> None:
    """``add_bands``: the sums of all bands, added into the first, and the first part of the way
    back.
    """
    arrays = [("ptr", "sums"), ("ptr", "twiddles")]
    numbers = [("i64", name) for name in ("plane", "turns", "bands", "band")]
    f = module.function("add_bands", [*arrays, *numbers])
    v = Vectors(f, machine, dtype)
    step = v.lanes * v.lanes
    carried = [("ptr", "%sums"), ("ptr", "%twiddles")]
    with f.loop(0, "%turns", carried, runs=True) as turn:
        at, w = turn.values
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
        turn.carry([v.at(at, step), v.at(w, 2 * step)])
