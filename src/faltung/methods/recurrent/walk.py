"""What the kernels of recurrences share: items that walk along the steps of some samples.

An item is some tiles of ``rows`` samples of one direction. Hidden units go by in blocks of
``vectors`` vectors, which begin at multiples of their width, but for the last one: it ends with the
last unit, and computes some of the units before it once more. So nothing is masked, unless all
units together are less than a vector; ``narrow`` is then their number. States that one step reads
and writes lie in memory twice.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from faltung.codegen.ir import Index, parameters
from faltung.codegen.tile import Accumulators, accumulate, broadcast_product, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.geometry.recurrent import Cell
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel

SHARED = ("samples", "steps", "hidden", "pitch", "blocks", "tiles", "item_elements")


@dataclass(frozen=True)
class WalkKernel(Kernel):
    """``gates``: how many. ``lengths``: "" for none, "int" or "float". ``peepholes``: whether there
    are any.
    """

    dtype: str
    cell: Cell
    gates: int
    rows: int
    vectors: int
    narrow: int
    directions: int
    lengths: str
    peepholes: bool

    @property
    def arrays(self) -> tuple[str, ...]:
        """Pointers of a direction."""
        raise NotImplementedError

    @property
    def pitches(self) -> tuple[str, ...]:
        """Numbers of a direction."""
        raise NotImplementedError

    @property
    def planes(self) -> int:
        """Arrays of a row of ``pitch`` elements for each sample that an item has for itself."""
        raise NotImplementedError

    def spare(self, lanes: int) -> int:
        """Elements that an item has beside its planes."""
        raise NotImplementedError

    def elements(self, tiles: int, pitch: int, machine: Machine) -> int:
        """Elements of memory that an item has for itself, in whole vectors."""
        return self.planes * tiles * self.rows * pitch + self.spare(machine.lanes(self.dtype))

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        every = range(self.directions)
        pointers = ["state", *["lengths"] * bool(self.lengths)]
        pointers += [f"{name}{d}" for d in every for name in self.arrays]
        numbers = [*SHARED, *["lengths_count"] * bool(self.lengths)]
        numbers += [f"{name}{d}" for d in every for name in (*self.pitches, "reverse")]
        return tuple(pointers), tuple(numbers)

    def _inner(self) -> list[tuple[str, str]]:
        """The parameters of the function that walks: everything of one direction."""
        shared = ["lengths_count"] * bool(self.lengths)
        return parameters(
            ["state", *["lengths"] * bool(self.lengths), *self.arrays],
            [*SHARED, *shared, *self.pitches, "reverse", "first"],
        )

    def functions(self, code: Functions) -> None:
        self.walk(code.open("walk", self._inner()))

    def walk(self, v: Vectors) -> None:
        """Write the function for the samples from ``%first`` on."""
        raise NotImplementedError

    def body(self, v: Vectors, given: Arguments) -> None:
        f, inner = v.function, self._inner()
        with f.loop("%begin", "%end") as item:
            direction, block = f.divmod(item.index, given["blocks"])
            state = v.at(given["state"], f.mul(item.index, given["item_elements"]))
            samples = f.mul(given["tiles"], self.rows)
            own = {"state": state, "first": f.mul(block, samples)}
            for d in range(self.directions):
                mine = {name: given[f"{name}{d}"] for name in (*self.arrays, *self.pitches)}
                mine |= {"reverse": given[f"reverse{d}"]}
                with f.when(f.value(f"icmp eq i64 {direction}, {d}")):
                    f.call_with("walk", inner, {**given, **mine, **own})


class Walker:
    """Writes what both kernels need into the function that walks."""

    def __init__(self, kernel: WalkKernel, v: Vectors) -> None:
        self.kernel, self.v, self.f = kernel, v, v.function
        self.mask = v.first(kernel.narrow) if kernel.narrow else None
        self.count = self.f.mul("%tiles", kernel.rows)
        self.plane = self.f.mul("%pitch", self.count)
        self.down = [self.f.mul("%pitch", p) for p in range(kernel.rows)]

    def planes(self) -> list[str]:
        """The addresses of the planes, and of what follows them."""
        made = ["%state"]
        for _ in range(self.kernel.planes):
            made.append(self.v.at(made[-1], self.plane))
        return made

    @contextmanager
    def rows(self) -> Iterator[tuple[str, str]]:
        """A loop over the samples: number of the row, number of the sample."""
        with self.f.loop(0, self.count, runs=True) as row:
            yield row.index, self.sample(row.index)

    def sample(self, row: str) -> str:
        """The number of the sample in a row. Rows that the last item lacks are the last sample once
        more: they read and write what it does.
        """
        f = self.f
        return f.minimum(f.add("%first", row), f.sub("%samples", 1))

    @contextmanager
    def tiles(self) -> Iterator[str]:
        """A loop over the tiles: the first row of each."""
        with self.f.loop(0, self.count, step=self.kernel.rows, runs=True) as tile:
            yield tile.index

    @contextmanager
    def units(self, vectors: int) -> Iterator[tuple[str, str]]:
        """A loop over blocks of units: number of the block, its first unit."""
        if self.kernel.narrow:
            yield "0", "0"
            return
        f, width = self.f, vectors * self.v.lanes
        last = f.sub("%hidden", width)
        with f.loop(0, "%hidden", step=width, runs=True) as block:
            number = f.value(f"sdiv i64 {block.index}, {width}")
            yield number, f.minimum(block.index, last)

    def load(self, address: str) -> str:
        """A vector of a map or of a weight of units."""
        return self.v.load(address, self.mask)

    def store(self, vector: str, address: str) -> None:
        if self.kernel.narrow:
            self.v.store_first(vector, address, self.kernel.narrow)
        else:
            self.v.store(vector, address)

    def begin(
        self, states: Sequence[str], planes: Sequence[str], source: str, given: Sequence[str]
    ) -> None:
        """Fill the planes of the states: with those of ``given`` from the arguments that begin with
        ``source``, the others with zeros.
        """
        v, f = self.v, self.f
        with self.rows() as (row, sample):
            for name, plane in zip(states, planes, strict=True):
                base = self.of_sample(f"{source}_{name}", sample) if name in given else ""
                target = v.at(plane, f.mul(row, "%pitch"))
                with self.units(1) as (_, unit):
                    value = self.load(v.at(base, unit)) if base else v.zero
                    v.store(value, v.at(target, unit))

    def end(self, states: Sequence[str], planes: Sequence[str]) -> None:
        """Store the planes of the states in the arguments of their names."""
        v, f = self.v, self.f
        with self.rows() as (row, sample):
            for name, plane in zip(states, planes, strict=True):
                source = v.at(plane, f.mul(row, "%pitch"))
                target = v.at(f"%{name}", f.mul(sample, f"%{name}_pitch"))
                with self.units(1) as (_, unit):
                    self.store(v.load(v.at(source, unit)), v.at(target, unit))

    def product(
        self, a: str, down: Sequence[Index], b: str, count: Index, columns: int
    ) -> Accumulators:
        """``rows`` rows from ``a`` on times a panel of ``count`` rows of so many vectors."""
        v = self.v

        def update(acc: Accumulators, _: str, a: str, b: str) -> Accumulators:
            return broadcast_product(v, acc, a, down, b)

        start = zeros(v, self.kernel.rows, columns)
        moving = [(a, 1), (b, columns * v.lanes)]
        return accumulate(v, start, (0, count), moving, update, runs=True)[1]

    def of_sample(self, name: str, sample: str) -> str:
        """The row of a vector that each sample has of its own, or of which there are fewer."""
        f = self.f
        if f"{name}_count" in self.kernel.pitches:
            _, sample = f.divmod(sample, f"%{name}_count")
        return self.v.at(f"%{name}", f.mul(sample, f"%{name}_pitch"))

    def position(self, step: str, sample: str) -> tuple[str, str | None]:
        """The row of the maps that a sample is at, and whether its sequence goes so far."""
        f = self.f
        backwards = f.value("icmp ne i64 %reverse, 0")
        if not self.kernel.lengths:
            back = f.sub(f.sub("%steps", 1), step)
            at = f.value(f"select i1 {backwards}, i64 {back}, i64 {step}")
            return f.add(f.mul(sample, "%steps"), at), None
        length = self._length(sample)
        active = f.value(f"icmp slt i64 {step}, {length}")
        back = f.sub(f.sub(length, 1), step)
        turned = f.value(f"and i1 {active}, {backwards}")
        at = f.value(f"select i1 {turned}, i64 {back}, i64 {step}")
        return f.add(f.mul(sample, "%steps"), at), active

    def _length(self, sample: str) -> str:
        """From 0 to the number of steps, whatever the numbers are."""
        f, v = self.f, self.v
        _, number = f.divmod(sample, "%lengths_count")
        if self.kernel.lengths == "int":
            found = f.word("%lengths", number)
        else:
            real = v.load_one(v.at("%lengths", number))
            # Of a number that is no length, such as NaN, nothing is left.
            element = v.element
            callee = f.module.declare(f"llvm.fptosi.sat.i64.f{8 * v.bytes}", "i64", element)
            found = f.value(f"call i64 {callee}({element} {real})")
        return f.maximum(f.minimum(found, "%steps"), 0)

    def where(self, active: str | None, yes: str, no: str) -> str:
        """One of two vectors, by whether the sequence goes so far."""
        if active is None:
            return yes
        kind = self.v.type
        return self.f.value(f"select i1 {active}, {kind} {yes}, {kind} {no}")

    def peepholes(self, unit: str) -> list[str]:
        if not self.kernel.peepholes:
            return []
        f, v = self.f, self.v
        return [self.load(v.at("%peepholes", f.add(f.mul("%hidden", k), unit))) for k in range(3)]
