"""Blocks in and out, for ``fft``: the tables of runs, and the code that moves them."""

from collections.abc import Callable

from faltung.codegen.ir import Function
from faltung.codegen.vectors import ELEMENTS
from faltung.methods.base.parameters import Words
from faltung.methods.fft import tables as fft_tables

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
