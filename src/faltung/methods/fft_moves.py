"""Blocks in and out, for ``fft``: the tables of runs, and the code that moves them."""

from collections.abc import Callable
from typing import Protocol

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods import fft_tables
from faltung.methods.epilogue import Epilogue, finish, tile_arguments
from faltung.methods.words import Words

# Columns of the tables: of blocks (first run in, how many, whether they fill it, first run out, how
# many), of runs in (source, place, entries, times), of runs out (place, entries, times, target,
# those of aux). A run of several ``times`` goes on a row further on each time.
BLOCK, IN, OUT = 5, 4, 4
# In place of "whether they fill it": 0 not, 1 they do, 2 they are its rows as they are in memory.
AS_IS = 2
# Rows that are asked for before they are needed.
AHEAD = 8
# Of taps: source, its step, place, its step, entries.
TAPS = 5

AUX = ("", "_batch", "_group", "_channel", "_position")


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
        self.lanes(x)

    def lanes(self, x: str) -> None:
        """The last part of the way forward."""
        names = ("plane", "turns", "lanes")
        kinds = ("i64", "i64", "ptr")
        given = [(kind, self.word[name]) for kind, name in zip(kinds, names, strict=True)]
        self.f.call("lanes", [("ptr", x), *given])


# Moving -------------------------------------------------------------------------------------------


def write_fill(
    module: Module, machine: Machine, dtype: str, near: bool, *, ask: bool = False
) -> None:
    """``blank`` (to, count): zeros, a whole number of vectors. ``fill`` (to, from, count, step,
    far); ``near``: the step is 1; ``ask``: what lies ``far`` further on is asked for.
    """
    f = module.function("blank", [("ptr", "to"), ("i64", "count")])
    v = Vectors(f, machine, dtype)
    with f.loop(0, "%count", step=v.lanes) as turn:
        v.store(v.zero, v.at("%to", turn.index))
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
        with f.loop(start, stop, step=step) as turn:
            for i in range(many):
                at = f.add(turn.index, i * v.lanes)
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
    with f.loop(start, "%count") as turn:
        source = v.at("%from", f.mul(turn.index, "%step"))
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
    f, element, word = code.f, ELEMENTS[dtype][0], code.word
    whole = f.value(f"icmp eq i64 {f.word(block, 2)}, 0")
    with f.when(whole):
        f.call("blank", [("ptr", to), ("i64", word["plane"])])

    def each(run: str) -> None:
        source, place = f.at(x, f.word(run, 0), element), f.at(to, f.word(run, 1), element)
        count, times = f.word(run, 2), f.word(run, 3)
        far = f.mul(word["x_row"], AHEAD)
        sizes = [("i64", count), ("i64", word["x_position"]), ("i64", far)]
        with f.loop(0, times, [("ptr", source), ("ptr", place)]) as row:
            source, place = row.values
            f.call("fill", [("ptr", place), ("ptr", source), *sizes])
            row.carry([f.at(source, word["x_row"], element), f.at(place, word["row_in"], element)])

    runs(f, word["ins"], IN, f.word(block, 0), f.word(block, 1), each)


def put_arguments(aux: int) -> list[tuple[str, str]]:
    arrays = [("ptr", name) for name in ("from", "bias", "out")]
    numbers = [("i64", name) for name in ("count", "far", "out_position")]
    return [*arrays, *numbers, *tile_arguments(aux)]


def write_put(module: Module, machine: Machine, recipe: Stored, *, ask: bool = False) -> None:
    """``put``: a run of outputs, with bias and epilogue; ``ask`` as in ``write_fill``."""
    f = module.function("put", put_arguments(len(recipe.loads)))
    v = Vectors(f, machine, recipe.dtype)
    bias = v.broadcast("%bias") if recipe.bias else ""
    whole, rest = f.divmod("%count", v.lanes)

    def vector(first: str, mask: str | None) -> None:
        at = v.at("%from", f.mul(first, recipe.pitch))
        value = v.load(at, mask) if recipe.pitch == 1 else v.gather(at, recipe.pitch, mask)
        if bias:
            value = v.add(value, bias)
        end = finish(v, recipe.epilogue, recipe.loads).moved("position", first)
        value = end.value(value, "position", mask)
        if recipe.beside:
            to = v.at("%out", first)
            if ask:
                f.prefetch(v.at(to, "%far"), write=True)
            v.store(value, to, mask)
        else:
            to = v.at("%out", f.mul(first, "%out_position"))
            v.scatter(value, to, "%out_position", mask)

    with f.loop(0, whole) as turn:
        vector(f.mul(turn.index, v.lanes), None)

    def tail() -> None:
        vector(f.mul(whole, v.lanes), v.below(rest))

    with f.when(f.value(f"icmp sgt i64 {rest}, 0")):
        if recipe.loads:  # one of them may be the output: nothing is computed twice
            tail()
        else:
            several = f.value(f"icmp sgt i64 {whole}, 0")
            again = f.sub("%count", v.lanes)
            f.switch(f.value(f"zext i1 {several} to i64"), [tail, lambda: vector(again, None)])
