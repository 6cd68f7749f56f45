"""The largest or smallest entries along an axis, in order, and where they are.

What it is.  Every entry of a line becomes a key: its value so mapped that whole numbers are in the
  same order, above its number. No two keys are equal, so that sorting needs no care for ties. Few
  entries are kept in order while the line goes by. Otherwise what may be among the first is
  collected, and now and then sorted by merging (D. E. Knuth, "The Art of Computer Programming",
  volume 3, 5.2.4) and cut off behind the last that counts.
When it applies.  Always.
What it costs.  Some ten cycles for each entry and each halving of the line; for few entries little
  more than reading it.
"""

from collections.abc import Sequence
from math import prod

from faltung.codegen.ir import Function
from faltung.codegen.vectors import ELEMENTS, Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Work
from faltung.methods.elementwise.bands import up
from faltung.methods.reduce.axes import Strided, kept_strides, merged
from faltung.methods.reduce.kernel import kept_numbers, outer_offsets

# So many at most are kept in order while a line goes by.
FEW = 16
# Keys that are collected at least before they are sorted.
LEAST_ROOM = 64
# Items at most, each of which has memory of its own, and bytes of all that memory.
MOST_ITEMS, MOST_BYTES = 64, 1 << 26


@dataclass(frozen=True)
class TopKKernel(Kernel):
    """Items are groups of lines; ``few``: ``k`` entries, kept in order, otherwise 0."""

    name = "top_k"
    pointers = ("x", "values", "numbers", "memory")
    numbers = ("lines", "item_lines", "length", "k", "capacity", "x_step", "out_step", "room")

    dtype: str
    largest: bool
    kept: int
    few: int

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.pointers, (*self.numbers, *kept_numbers(("x", "out"), self.kept))

    def functions(self, code: Functions) -> None:
        if not self.few:
            _write_sort(code)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, keys = v.function, _Keys(v, self.largest)
        with f.loop("%begin", "%end") as item:
            memory = f.at(given["memory"], f.mul(item.index, given["room"]), keys.kind)
            first = f.mul(item.index, given["item_lines"])
            last = f.minimum(f.add(first, given["item_lines"]), given["lines"])
            with f.loop(first, last) as line:
                at = outer_offsets(f, given, ("x", "out"), self.kept, line.index)
                x = v.at(given["x"], at["x"])
                find = self._few if self.few else self._many
                find(v, keys, x, memory, given)
                with f.loop(0, given["k"]) as place:
                    number = keys.number(keys.load(memory, place.index))
                    value = v.load_one(v.at(x, f.mul(number, given["x_step"])))
                    to = f.add(at["out"], f.mul(place.index, given["out_step"]))
                    v.store_one(value, v.at(given["values"], to))
                    whole = f.value(f"sitofp i64 {number} to {v.element}")
                    v.store_one(whole, v.at(given["numbers"], to))

    def _few(self, v: Vectors, keys: "_Keys", x: str, memory: str, given: Arguments) -> None:
        """The first keys, in order, are always there; a smaller one pushes the last out."""
        f = v.function
        for i in range(self.few):
            keys.store("-1", memory, i)
        with f.loop(0, given["length"]) as entry:
            key = keys.key(v.load_one(v.at(x, f.mul(entry.index, given["x_step"]))), entry.index)
            last = keys.load(memory, self.few - 1)
            with f.when(f.value(f"icmp ult {keys.kind} {key}, {last}")):
                before = [keys.load(memory, i) for i in range(self.few)]
                for i, old in enumerate(before):
                    made = keys.of_two("umin", key, old)
                    keys.store(keys.of_two("umax", made, before[i - 1]) if i else made, memory, i)

    def _many(self, v: Vectors, keys: "_Keys", x: str, memory: str, given: Arguments) -> None:
        """Keys below the last of those that count are collected. When there is no more room they
        are sorted, and only the first ``k`` stay.
        """
        f, kind, k = v.function, keys.kind, given["k"]
        # One place more than there are keys: it may be written and read, and counts for nothing.
        half = f.at(memory, f.add(given["capacity"], 1), kind)
        begin = [("i64", "0"), (kind, "-1")]
        with f.loop(0, given["length"], begin) as entry:
            count, bound = entry.values
            value = v.load_one(v.at(x, f.mul(entry.index, given["x_step"])))
            key = keys.key(value, entry.index)
            keys.store(key, memory, count)
            below = f.value(f"icmp ult {kind} {key}, {bound}")
            count = f.add(count, f.value(f"zext i1 {below} to i64"))
            full = f.value(f"icmp eq i64 {count}, {given['capacity']}")
            more = f.value(f"icmp slt i64 {entry.index}, {f.sub(given['length'], 1)}")
            full = f.value(f"and i1 {full}, {more}")

            def cut(count: str = count) -> str:
                f.call(SORT, [("ptr", memory), ("ptr", half), ("i64", count)])
                return keys.load(memory, f.add(k, -1))

            bound = f.either(full, kind, cut, lambda bound=bound: bound)  # type: ignore[misc]
            count = f.value(f"select i1 {full}, i64 {k}, i64 {count}")
            entry.carry([count, bound])
        f.call(SORT, [("ptr", memory), ("ptr", half), ("i64", entry.results[0])])


SORT = "sort"


def _write_sort(code: Functions) -> None:
    """A function that sorts ``count`` keys: runs of 1, 2, 4, ... are merged from one memory to the
    other and back.
    """
    v = code.open(SORT, [("ptr", "memory"), ("ptr", "half"), ("i64", "count")])
    f, keys = v.function, _Keys(v, True)
    # As many passes as it takes to come back: pairs of them, of 1 and 2, 4 and 8, ... keys.
    less = f.maximum(f.sub("%count", 1), 1)
    callee = f.module.declare("llvm.ctlz.i64", "i64", "i64", "i1")
    bits = f.sub(64, f.value(f"call i64 {callee}(i64 {less}, i1 false)"))
    pairs = f.value(f"lshr i64 {f.add(bits, 1)}, 1")
    with f.loop(0, pairs, [("i64", "1")]) as pair:
        (width,) = pair.values
        for source, target in (("%memory", "%half"), ("%half", "%memory")):
            both = f.mul(width, 2)
            with f.loop(0, "%count", step=both) as run:
                middle = f.minimum(f.add(run.index, width), "%count")
                end = f.minimum(f.add(run.index, both), "%count")
                _merge(f, keys, source, target, (run.index, middle, end))
            width = both
        pair.carry([width])


def _merge(
    f: Function, keys: "_Keys", source: str, target: str, ends: tuple[str, str, str]
) -> None:
    first, middle, end = ends
    with f.loop(first, end, [("i64", first), ("i64", middle)]) as place:
        left, right = place.values
        a, b = keys.load(source, left), keys.load(source, right)
        smaller = f.value(f"icmp ult {keys.kind} {a}, {b}")
        done = f.value(f"icmp sge i64 {right}, {end}")
        more = f.value(f"icmp slt i64 {left}, {middle}")
        take = f.value(f"and i1 {more}, {f.value(f'or i1 {done}, {smaller}')}")
        key = f.value(f"select i1 {take}, {keys.kind} {a}, {keys.kind} {b}")
        keys.store(key, target, place.index)
        step = f.value(f"zext i1 {take} to i64")
        place.carry([f.add(left, step), f.sub(f.add(right, 1), step)])


class _Keys:
    """Keys twice as wide as an element: in the upper half its value, in the lower its number."""

    def __init__(self, v: Vectors, largest: bool) -> None:
        self.v, self.f, self.largest = v, v.function, largest
        self.half, self.bits = v.integer, 8 * v.bytes
        self.kind = f"i{2 * self.bits}"

    def key(self, value: str, number: str) -> str:
        """Smaller for what comes first. Zeros are equal; every NaN is above everything."""
        f, v, half = self.f, self.v, self.half
        zero = f.value(f"fcmp oeq {v.element} {value}, 0.0")
        bits = f.value(f"bitcast {v.element} {value} to {half}")
        bits = f.value(f"select i1 {zero}, {half} 0, {half} {bits}")
        # Negative numbers are in reverse order.
        sign = f.value(f"ashr {half} {bits}, {self.bits - 1}")
        flip = f.value(f"or {half} {sign}, {-(1 << (self.bits - 1))}")
        ordered = f.value(f"xor {half} {bits}, {flip}")
        nan = f.value(f"fcmp uno {v.element} {value}, 0.0")
        ordered = f.value(f"select i1 {nan}, {half} -1, {half} {ordered}")
        if self.largest:
            ordered = f.value(f"xor {half} {ordered}, -1")
        wide = f.value(f"zext {half} {ordered} to {self.kind}")
        upper = f.value(f"shl {self.kind} {wide}, {self.bits}")
        if self.bits < 64:
            return f.value(f"or {self.kind} {upper}, {number}")
        return f.value(f"or {self.kind} {upper}, {f.value(f'zext i64 {number} to {self.kind}')}")

    def number(self, key: str) -> str:
        f, kind = self.f, self.kind
        if self.bits == 64:
            return f.value(f"trunc {kind} {key} to i64")
        return f.value(f"and i64 {key}, {(1 << self.bits) - 1}")

    def of_two(self, name: str, a: str, b: str) -> str:
        kind = self.kind
        callee = self.f.module.declare(f"llvm.{name}.{kind}", kind, kind, kind)
        return self.f.value(f"call {kind} {callee}({kind} {a}, {kind} {b})")

    def load(self, memory: str, place: str | int) -> str:
        return self.f.value(f"load {self.kind}, ptr {self.f.at(memory, place, self.kind)}, align 8")

    def store(self, key: str, memory: str, place: str | int) -> None:
        self.f.emit(f"store {self.kind} {key}, ptr {self.f.at(memory, place, self.kind)}, align 8")


def top_k(
    work: Work,
    dtype: str,
    machine: Machine,
    *,
    sizes: Sequence[int],
    axis: int,
    k: int,
    x: Strided,
    values: Strided,
    numbers: Strided,
    largest: bool = True,
    title: str,
) -> None:
    """Add the step that finds the first ``k`` entries of ``x`` along an axis, in order.

    values, numbers: of equal strides; the latter are where the entries are, as numbers of the
    dtype.
    """
    length = sizes[axis]
    lines = [(n, x.strides[i], values.strides[i]) for i, n in enumerate(sizes) if i != axis]
    kept = merged(lines)
    count = prod(one.size for one in kept)
    few = k if k <= FEW else 0
    capacity = min(length, max(2 * k, LEAST_ROOM))
    room = few or 2 * (capacity + 1)
    bytes_each = room * 2 * ELEMENTS[dtype][1]
    items = max(1, min(count, MOST_ITEMS, MOST_BYTES // bytes_each))
    item_lines = up(count, items)
    items = up(count, item_lines)
    step = TopKKernel(dtype, largest, len(kept), few).step(
        items,
        title,
        barrier=False,
        x=x.operand,
        values=values.operand,
        numbers=numbers.operand,
        memory=work.borrow("keys", items * bytes_each),
        lines=count,
        item_lines=item_lines,
        length=length,
        k=k,
        capacity=capacity,
        x_step=x.strides[axis],
        out_step=values.strides[axis],
        room=room,
        **kept_strides(kept, ["x", "out"]),
    )
    work.steps.append(step)


# The gradient -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScatteredKernel(Kernel):
    """Items are lines: zeros, and then each of ``k`` gradients at its place."""

    name = "scattered"
    pointers = ("grad", "places", "out")
    numbers = ("k", "size", "grad_step", "places_step", "out_step")

    dtype: str
    kept: int

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.pointers, (*self.numbers, *kept_numbers(self.pointers, self.kept))

    def body(self, v: Vectors, given: Arguments) -> None:
        f, size = v.function, given["size"]
        short = ELEMENTS[self.dtype][2]
        callee = f.module.declare(f"llvm.fptosi.sat.i64.{short}", "i64", v.element)
        with f.loop("%begin", "%end") as line:
            at = outer_offsets(f, given, self.pointers, self.kept, line.index)
            grad, places, out = (v.at(given[name], at[name]) for name in self.pointers)
            with f.loop(0, size) as entry:
                to = v.at(out, f.mul(entry.index, given["out_step"]))
                v.store_one("0.0", to)
            with f.loop(0, given["k"]) as entry:
                whole = v.load_one(v.at(places, f.mul(entry.index, given["places_step"])))
                place = f.value(f"call i64 {callee}({v.element} {whole})")
                # Nothing outside the line is ever written.
                inside = f.value(f"icmp ult i64 {place}, {size}")
                value = v.load_one(v.at(grad, f.mul(entry.index, given["grad_step"])))
                with f.when(inside):
                    v.store_one(value, v.at(out, f.mul(place, given["out_step"])))


def scattered(
    work: Work,
    dtype: str,
    machine: Machine,
    *,
    sizes: Sequence[int],
    axis: int,
    size: int,
    grad: Strided,
    places: Strided,
    out: Strided,
    title: str,
) -> None:
    """Add the step that puts gradients at their places along an axis of ``size`` entries, and zeros
    elsewhere. sizes: of the gradient.
    """
    arrays = {"grad": grad, "places": places, "out": out}
    lines = [
        (n, *(array.strides[i] for array in arrays.values()))
        for i, n in enumerate(sizes)
        if i != axis
    ]
    kept = merged(lines)
    step = ScatteredKernel(dtype, len(kept)).step(
        prod(one.size for one in kept),
        title,
        barrier=False,
        k=sizes[axis],
        size=size,
        **{name: array.operand for name, array in arrays.items()},
        **{f"{name}_step": array.strides[axis] for name, array in arrays.items()},
        **kept_strides(kept, list(arrays)),
    )
    work.steps.append(step)
