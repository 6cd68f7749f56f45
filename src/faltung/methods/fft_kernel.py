"""The code of ``fft``: blocks in, transformed, multiplied, transformed back, out.

A block's real plane holds one stretch of the signal, its imaginary plane the next: with a real
kernel the two go through one complex transform and do not mix.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods import fft_tables
from faltung.methods.epilogue import Epilogue, finish, tile_arguments
from faltung.methods.fft_passes import Complex, lanes_back, times, write_lanes, write_passes
from faltung.methods.words import Words

# Columns of the tables: of blocks (first run in, how many, whether they fill it, first run out, how
# many), of runs in (source, place, entries), of runs out (place, entries, target, those of aux).
BLOCK, IN, OUT = 5, 3, 3
# Of taps: source, its step, place, its step, entries.
TAPS = 5

SUMS_POINTERS = ("x", "out", "bias", "spectra", "scratch", "blocks", "ins", "outs")
SUMS_NUMBERS = (
    *("slots", "units", "pairs", "groups", "channels_in", "channels_out", "slot", "result"),
    *("x_batch", "x_group", "x_channel", "x_position"),
    *("out_batch", "out_group", "out_channel", "out_position"),
)
AUX = ("", "_batch", "_group", "_channel", "_position")
KERNEL_POINTERS = ("w", "spectra", "taps", "scale")
KERNEL_NUMBERS = ("channels_in", "channels_out", "w_group", "w_out", "w_in", "runs")


class Stored(Protocol):
    """What ``write_put`` asks of a recipe."""

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
    def loads(self) -> tuple[bool, ...]: ...


class Code:
    """A public function over items, with the words of a transform behind its own."""

    def __init__(self, f: Function, pointers: tuple[str, ...], numbers: tuple[str, ...]) -> None:
        self.f = f
        names = (*pointers, *numbers, *fft_tables.WORDS)
        words = Words(f, names)
        addresses = {*pointers, *fft_tables.ADDRESSES}
        self.word = {
            name: words.pointer(name) if name in addresses else words.number(name) for name in names
        }

    def planes(self, x: str, element: str) -> tuple[str, str]:
        """Where the real and the imaginary parts of a buffer begin."""
        return x, self.f.at(x, self.word["plane"], element)

    def transform(self, name: str, x: str) -> None:
        """``forward`` or ``inverse`` over the vectors at ``x``."""
        given = [("ptr", x), ("i64", self.word["plane"]), ("i64", self.word["size"])]
        given.append(("ptr", self.word["passes"]))
        calls = [lambda n=n: self.f.call(n, given) for n in (name, f"{name}_twice")]
        self.f.switch(self.word["twice"], calls)

    def forward(self, x: str) -> None:
        """All of the way forward."""
        self.transform("forward", x)
        names = ("plane", "turns", "lanes")
        kinds = ("i64", "i64", "ptr")
        given = [(kind, self.word[name]) for kind, name in zip(kinds, names, strict=True)]
        self.f.call("lanes", [("ptr", x), *given])


# Moving -------------------------------------------------------------------------------------------


def write_fill(module: Module, machine: Machine, dtype: str, near: bool) -> None:
    """``blank`` (to, count): zeros, a whole number of vectors. ``fill`` (to, from, count, step);
    ``near``: the step is 1.
    """
    f = module.function("blank", [("ptr", "to"), ("i64", "count")])
    v = Vectors(f, machine, dtype)
    with f.loop(0, "%count", step=v.lanes) as turn:
        v.store(v.zero, v.at("%to", turn.index))
    f = module.function("fill", [("ptr", "to"), ("ptr", "from"), ("i64", "count"), ("i64", "step")])
    v = Vectors(f, machine, dtype)
    start = "0"
    if near:
        start = f.mul(f.divmod("%count", v.lanes)[0], v.lanes)
        with f.loop(0, start, step=v.lanes) as turn:
            v.store(v.load(v.at("%from", turn.index)), v.at("%to", turn.index))
    with f.loop(start, "%count") as turn:
        source = v.at("%from", turn.index if near else f.mul(turn.index, "%step"))
        one = f.value(f"load {v.element}, ptr {source}, align {v.bytes}")
        f.emit(f"store {v.element} {one}, ptr {v.at('%to', turn.index)}, align {v.bytes}")


def runs(
    f: Function, table: str, columns: int, first: str, count: str, each: Callable[[str], None]
) -> None:
    """``each`` of ``count`` rows of a table."""
    with f.loop(0, count) as turn:
        each(f.at(table, f.mul(f.add(first, turn.index), columns), "i64"))


def load_block(code: Code, dtype: str, x: str, to: str, block: str) -> None:
    """One plane of a block."""
    f, element = code.f, ELEMENTS[dtype][0]
    whole = f.value(f"icmp eq i64 {f.word(block, 2)}, 0")
    with f.when(whole):
        f.call("blank", [("ptr", to), ("i64", code.word["plane"])])

    def each(row: str) -> None:
        source, place = f.at(x, f.word(row, 0), element), f.at(to, f.word(row, 1), element)
        sizes = [("i64", f.word(row, 2)), ("i64", code.word["x_position"])]
        f.call("fill", [("ptr", place), ("ptr", source), *sizes])

    runs(f, code.word["ins"], IN, f.word(block, 0), f.word(block, 1), each)


# The kernel's spectrum ----------------------------------------------------------------------------


@dataclass(frozen=True)
class FftKernel:
    """Items are kernels: (group, output channel, input channel). Each becomes a spectrum, divided
    by the length of the transform.
    """

    dtype: str

    @property
    def symbol(self) -> str:
        return f"fft_kernel_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        write_fill(module, machine, self.dtype, True)
        write_passes(module, machine, self.dtype, inverse=False)
        write_lanes(module, machine, self.dtype)
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        self._items(Code(f, KERNEL_POINTERS, KERNEL_NUMBERS))
        return str(module)

    def _items(self, code: Code) -> None:
        f, word = code.f, code.word
        element, size, _ = ELEMENTS[self.dtype]
        scale = f.value(f"load {element}, ptr {word['scale']}, align {size}")
        with f.loop("%begin", "%end") as item:
            rest, ci = f.divmod(item.index, word["channels_in"])
            g, co = f.divmod(rest, word["channels_out"])
            at = f.add(f.mul(g, word["w_group"]), f.mul(co, word["w_out"]))
            w = f.at(word["w"], f.add(at, f.mul(ci, word["w_in"])), element)
            to = f.at(word["spectra"], f.mul(item.index, word["buffer"]), element)
            f.call("blank", [("ptr", to), ("i64", word["buffer"])])

            def each(row: str, w: str = w, to: str = to) -> None:
                source, place = f.at(w, f.word(row, 0), element), f.at(to, f.word(row, 2), element)
                with f.loop(0, f.word(row, 4)) as tap:
                    here = f.at(source, f.mul(tap.index, f.word(row, 1)), element)
                    there = f.at(place, f.mul(tap.index, f.word(row, 3)), element)
                    one = f.value(f"load {element}, ptr {here}, align {size}")
                    scaled = f.value(f"fmul {element} {one}, {scale}")
                    f.emit(f"store {element} {scaled}, ptr {there}, align {size}")

            runs(f, word["taps"], TAPS, "0", word["runs"], each)
            code.forward(to)


# The sums -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FftSums:
    """Items are slots: stretches of units (sample, group, pair of blocks) with scratch of their
    own.

    ``near``: inputs are neighbours in memory; ``pitch``: entries of a block between neighbouring
    outputs; ``beside``: outputs are neighbours in memory; ``loads``: likewise in each array of the
    epilogue; ``single``: there is one input channel.
    """

    dtype: str
    near: bool
    pitch: int
    beside: bool
    single: bool
    bias: bool
    epilogue: Epilogue | None = None
    loads: tuple[bool, ...] = ()

    @property
    def symbol(self) -> str:
        return f"fft_{self.dtype}"

    @property
    def pointers(self) -> tuple[str, ...]:
        return (*SUMS_POINTERS, *(f"aux{i}" for i in range(len(self.loads))))

    @property
    def numbers(self) -> tuple[str, ...]:
        more = (f"aux{i}{name}" for i in range(len(self.loads)) for name in AUX[1:])
        return (*SUMS_NUMBERS, *more)

    def emit(self, machine: Machine) -> str:
        module = Module()
        write_fill(module, machine, self.dtype, self.near)
        write_passes(module, machine, self.dtype, inverse=False)
        write_passes(module, machine, self.dtype, inverse=True)
        write_lanes(module, machine, self.dtype)
        _product(module, machine, self.dtype, self.single)
        write_put(module, machine, self)
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
            for block, to in zip(
                blocks, (buffer, f.at(buffer, word["plane"], element)), strict=True
            ):
                load_block(code, self.dtype, here, to, block)
            code.forward(buffer)
        outputs = {name: place(name) for name in ("out", *self.pointers[len(SUMS_POINTERS) :])}
        with f.loop(0, word["channels_out"]) as co:
            channel = f.add(f.mul(where["group"], word["channels_out"]), co.index)
            spectra = f.mul(f.mul(channel, word["channels_in"]), word["buffer"])
            h = f.at(word["spectra"], spectra, element)
            result = f.at(scratch, word["result"], element)
            given = [scratch, h, result, word["lanes"]]
            numbers = [word[name] for name in ("plane", "turns", "channels_in", "buffer")]
            f.call("product", [*(("ptr", g) for g in given), *(("i64", n) for n in numbers)])
            code.transform("inverse", result)
            here_of = {
                name: f.at(at, f.mul(co.index, word[f"{name}_channel"]), element)
                for name, at in outputs.items()
            }
            bias = f.at(word["bias"], channel, element)
            for block, at in zip(
                blocks, (result, f.at(result, word["plane"], element)), strict=True
            ):
                self._out(code, block, at, bias, here_of)

    def _out(self, code: Code, block: str, at: str, bias: str, to: dict[str, str]) -> None:
        """The outputs of one block."""
        f, word, element = code.f, code.word, ELEMENTS[self.dtype][0]

        def each(row: str) -> None:
            given = {"from": f.at(at, f.word(row, 0), element), "count": f.word(row, 1)}
            given |= {"bias": bias}
            for i, (name, base) in enumerate(to.items()):
                given[name] = f.at(base, f.word(row, 2 + i), element)
                given[f"{name}_position"] = word[f"{name}_position"]
                given[f"{name}_channel"] = word[f"{name}_channel"]
            f.call("put", [(kind, given[name]) for kind, name in put_arguments(len(self.loads))])

        columns = OUT + len(self.loads)
        runs(f, word["outs"], columns, f.word(block, 3), f.word(block, 4), each)


def put_arguments(aux: int) -> list[tuple[str, str]]:
    arrays = [("ptr", name) for name in ("from", "bias", "out")]
    numbers = [("i64", name) for name in ("count", "out_position")]
    return [*arrays, *numbers, *tile_arguments(aux)]


def write_put(module: Module, machine: Machine, recipe: Stored) -> None:
    """``put``: a run of outputs, with bias and epilogue."""
    f = module.function("put", put_arguments(len(recipe.loads)))
    v = Vectors(f, machine, recipe.dtype)
    bias = v.broadcast("%bias") if recipe.bias else ""
    whole, rest = f.divmod("%count", v.lanes)

    def vector(turn: str, mask: str | None) -> None:
        first = f.mul(turn, v.lanes)
        at = v.at("%from", f.mul(first, recipe.pitch))
        value = v.load(at, mask) if recipe.pitch == 1 else v.gather(at, recipe.pitch, mask)
        if bias:
            value = v.add(value, bias)
        end = finish(v, recipe.epilogue, recipe.loads).moved("position", first)
        value = end.value(value, "position", mask)
        if recipe.beside:
            v.store(value, v.at("%out", first), mask)
        else:
            to = v.at("%out", f.mul(first, "%out_position"))
            v.scatter(value, to, "%out_position", mask)

    with f.loop(0, whole) as turn:
        vector(turn.index, None)
    with f.when(f.value(f"icmp sgt i64 {rest}, 0")):
        vector(whole, v.below(rest))


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
