"""Programs that keep values and weights in 16 bits, or levels in 8 (``integers.py``).

A node is lowered to steps as for float32. Then every array that a step reads or writes and that is
kept in fewer bits is read and written so by the kernel itself (``codegen/storage.py``), with the
same sums and formulas in float32. Where a kernel cannot, because it adds to what it has written or
keeps addresses where they cannot be followed, the array gets a float32 version that lives as long
as the node: it is widened before, or rounded after. Either way a value is rounded once, when it is
complete.

What a node packs of its weights is kept in 16 bits too where packing only copies. Transformed
weights (Winograd, FFT, Strassen) are results of formulas, and stay in float32.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from faltung.codegen.addresses import Access
from faltung.codegen.storage import ROUNDED
from faltung.geometry.conv import NARROW
from faltung.geometry.expr import operand
from faltung.geometry.record import dataclass
from faltung.graph.cost import macs
from faltung.graph.ops import Attention
from faltung.graph.ops_integer import ConvolveInteger
from faltung.graph.value import Node, Value
from faltung.methods.base.kernel import Kernel
from faltung.methods.base.step import Operand, Step, Work, relocated, waiting
from faltung.methods.base.stored import accesses_of, stored
from faltung.methods.copies.kernel import Copy
from faltung.methods.elementwise import elementwise
from faltung.program.derived_weights import Weights
from faltung.program.lower import lower
from faltung.program.lowering import Lowered, Lowering
from faltung.program.places import Place, Places

# Vectors of results that a number meets when it is loaded alone, about. Instructions for a vector
# of numbers that are widened beforehand, and for the step that does it.
SINGLE_VECTORS = 2
WIDEN_VECTOR, WIDEN_STEP = 4, 1000


@dataclass(frozen=True)
class Halves:
    """What is kept in fewer bits. kind: "float16" or "bfloat16", of packed weights, or "". kinds:
    of values and parameters, by name: these, or after ``ROUNDED`` where their numbers are kept in
    float32, or "uint8", "int8" for levels. weights: of values that hold numbers of 16 bits in
    float32.
    """

    kind: str
    kinds: Mapping[str, str]
    weights: frozenset[str]


# Bytes of a number.
ITEMS = {"float16": 2, "bfloat16": 2, "uint8": 1, "int8": 1}


def item(kind: str) -> int:
    """Bytes of a number; those of other kinds are in float32."""
    return ITEMS.get(kind, 4)


@dataclass(frozen=True, slots=True)
class _Marked:
    """A value of the node being lowered: where it really is, and its kind if it is narrow."""

    value: Value
    name: str
    place: Place
    narrow: str


def lowered(
    low: Lowering, halves: Halves, nodes: Sequence[Node]
) -> tuple[list[Lowered | None], Halves]:
    """The steps of all nodes, and what is kept in fewer bits in the end: not a value in 16 bits of
    which all that read it would make a float32 version.
    """
    made = [_lower(low, halves, node) for node in nodes]
    there = {name for name, kind in halves.kinds.items() if kind in NARROW} & low.places.made
    for node, (one, wide) in zip(nodes, made, strict=True):
        if one is not None:
            read = [v for v in node.inputs if v.name not in wide]
            there -= {low.places.root(value).name for value in read}
    read_at_all = {low.places.root(value).name for node in nodes for value in node.inputs}
    there &= read_at_all
    final = replace(halves, kinds={**halves.kinds, **dict.fromkeys(there, ROUNDED + halves.kind)})
    found: list[Lowered | None] = []
    for node, (one, _) in zip(nodes, made, strict=True):
        roots = {low.places.root(value).name for value in (*node.inputs, *node.outputs)}
        found.append(_lower(low, final, node)[0] if roots & there else one)
    return found, final


def _lower(low: Lowering, halves: Halves, node: Node) -> tuple[Lowered | None, set[str]]:
    """The steps of a node over values of which some are kept in fewer bits, None for a view; and
    the names of values that have float32 versions.
    """
    if isinstance(node.op, ConvolveInteger):  # which knows
        return lower(low, node), set()
    wide: set[str] = set()
    while True:
        marks = _marks(low, halves, node)
        with low.places.elsewhere(
            {m.value: _marked_place(m, m.name in wide) for m in marks.values()}
        ):
            made = lower(low, node)
        if made is None:
            return None, set()
        choice = _Choice(low, halves, made, marks, wide)
        if not choice.wide:
            return choice.finished(), {marks[name].value.name for name in wide}
        wide |= choice.wide


def _marks(low: Lowering, halves: Halves, node: Node) -> dict[str, _Marked]:
    """The values of a node by the names that their buffers have while it is lowered."""
    found: dict[str, _Marked] = {}
    for value in (*node.inputs, *node.outputs):
        place, number = low.places.place(value), value.kind == "float"
        name = f"value {value.name}"
        narrow = halves.kinds.get(place.buffer, "") if number else ""
        if narrow.startswith(ROUNDED) and value not in node.outputs:
            narrow = ""  # it is read as any other
        found[name] = _Marked(value, name, place, narrow)
    return found


def _marked_place(mark: _Marked, wide: bool) -> Place:
    pitch = mark.value.channels if wide and not mark.place.first else mark.place.pitch
    return replace(mark.place, buffer=mark.name, channel=0, pitch=pitch)


class _Choice:
    """How each array of a node's steps is stored. ``wide``: marks that must have float32 versions
    besides those that have one.
    """

    def __init__(
        self,
        low: Lowering,
        halves: Halves,
        made: Lowered,
        marks: Mapping[str, _Marked],
        wide: Collection[str],
    ) -> None:
        self.low, self.halves, self.made, self.marks = low, halves, made, marks
        self.widened = frozenset(wide)
        held = {m.name: m.narrow for m in marks.values() if m.narrow and m.name not in wide}
        self.rounded = {name for name, kind in held.items() if kind.startswith(ROUNDED)}
        self.narrow = held.keys() - self.rounded
        self.kept = self._copied(made)
        self.wide = self._unfit() | self._busy()

    def _copied(self, made: Lowered) -> set[str]:
        """The packed arrays that only copies fill, with numbers of 16 bits."""
        if not self.halves.kind:
            return set()
        found, other = set[str](), set[str]()
        for step in (*made.prepare, *made.steps):
            read, written = self._used(step)
            for name in written & made.kept.keys():
                exact = isinstance(step.recipe, Copy) and all(map(self._exact, read))
                (found if exact else other).add(name)
        return found - other

    def _exact(self, name: str) -> bool:
        mark = self.marks.get(name)
        return mark is not None and (
            mark.name in self.narrow or mark.value.name in self.halves.weights
        )

    def _used(self, step: Step) -> tuple[set[str], set[str]]:
        """The arrays that a step reads and writes."""
        read, written = set[str](), set[str]()
        for word, access in accesses_of(step.recipe, self.low.machine).items():
            argument = step.arguments[word]
            if isinstance(argument, Operand):
                if access.reads:
                    read.add(argument.name)
                if access.writes:
                    written.add(argument.name)
        return read, written

    def _unfit(self) -> set[str]:
        """The marks that some step cannot access in 16 bits; takes from ``kept`` what cannot."""
        steps = (*self.made.prepare, *self.made.steps)
        uses = [self._used(step) for step in steps]
        written = set[str]().union(*(w for _, w in uses))
        read = set[str]().union(*(r for r, _ in uses))
        # What a node reads of what it has written are sums in the making.
        unfit = (self.narrow | self.rounded) & read & written
        changed = True
        while changed:
            changed = False
            for step in steps:
                for name in self._clashing(step) - unfit:
                    unfit.add(name)
                    self.kept.discard(name)
                    changed = True
        return unfit & self.marks.keys()

    def _busy(self) -> set[str]:
        """The marks that are multiplied so often that it takes less time to widen them first: where
        a step multiplies two arrays, it converts a number at each load.
        """
        node, low = self.made.node, self.low
        products = macs(node) * low.batch
        if not products:
            return set()
        lanes = low.machine.lanes(low.dtype)
        factors = node.inputs[: 3 if isinstance(node.op, Attention) else 2]
        names = {f"value {v.name}": self._size(v) for v in factors if low.computed(v)}
        found = set[str]()
        for step in self.made.steps:
            read = self._multiplied(step)
            if len(read) < 2:
                continue
            for name in read.keys() & names.keys() & self.narrow:
                met = SINGLE_VECTORS * lanes if read[name].single else lanes
                if products / met > names[name] * WIDEN_VECTOR / lanes + WIDEN_STEP:
                    found.add(name)
        return found

    def _multiplied(self, step: Step) -> dict[str, Access]:
        """The values and weights that a step reads, if it does more than copy."""
        read: dict[str, Access] = {}
        if isinstance(step.recipe, Copy):
            return read
        for word, access in accesses_of(step.recipe, self.low.machine).items():
            argument = step.arguments[word]
            name = argument.name if isinstance(argument, Operand) else ""
            if access.reads and (name in self.marks or name in self.made.kept):
                read[name] = access
        return read

    def _clashing(self, step: Step) -> set[str]:
        """Arrays held in 16 bits that a step cannot access so, or not beside others."""
        found = set[str]()
        used = accesses_of(step.recipe, self.low.machine)
        for word, access in used.items():
            name, kind = self._name(step, word), self._kind(step, word, access)
            if not kind:
                continue
            beside = {other: used[other] for other in access.with_}
            if name in self.rounded:
                # Others in the same instructions must neither be rounded nor be narrow.
                alike = not any(o.writes or self._kind(step, n, o) for n, o in beside.items())
            else:
                alike = all(self._kind(step, n, o) == kind for n, o in beside.items())
            if not access.fits or (access.reads and access.writes) or not alike:
                found.add(name)
        return found

    def _name(self, step: Step, word: int) -> str:
        argument = step.arguments[word]
        return argument.name if isinstance(argument, Operand) else ""

    def _kind(self, step: Step, word: int, access: Access) -> str:
        """How a step reads or writes an array; "": as float32."""
        name = self._name(step, word)
        return "" if name in self.rounded and not access.writes else self._held(name)

    def _held(self, name: str) -> str:
        """How an array is held; "": as float32."""
        if name in self.narrow or name in self.rounded:
            return self.marks[name].narrow
        return self.halves.kind if name in self.kept else ""

    # Steps ----------------------------------------------------------------------------------------

    def finished(self) -> Lowered:
        """The steps over the real arrays, with conversions around them."""
        made, marks = self.made, self.marks
        before, after, packs = list[Step](), list[Step](), list[Step]()
        outputs = {f"value {value.name}" for value in made.node.outputs}
        for name in sorted(self.widened):
            mark, size = marks[name], 4 * self._size(marks[name].value)
            if name in outputs:
                made.scratch[name] = size
                after += self._conversion(mark, out=True)
            elif mark.value.name in self.low.weights and not self.low.computed(mark.value):
                made.kept[name] = size
                packs += self._conversion(mark, out=False)
            else:
                made.scratch[name] = size
                before += self._conversion(mark, out=False)
        steps = [self._narrowed(step) for step in made.steps]
        prepare = [self._narrowed(step) for step in made.prepare]
        made.steps = _joined(_joined(before, steps), after)
        made.prepare = _joined(packs, prepare)
        for name in self.kept:
            made.kept[name] = -(-made.kept[name] // 2)
        own = self._own_names()
        made.steps = [relocated(step, own) for step in made.steps]
        made.prepare = [relocated(step, own) for step in made.prepare]
        made.kept = {own[name].name: size for name, size in made.kept.items()}
        made.scratch = {own[name].name: size for name, size in made.scratch.items()}
        return made

    def _own_names(self) -> dict[str, Operand]:
        """Where all arrays are."""
        every = {
            word.name
            for step in (*self.made.steps, *self.made.prepare)
            for word in step.arguments
            if isinstance(word, Operand)
        }
        found = {name: Operand(name) for name in (*every, *self.made.kept, *self.made.scratch)}
        for name, mark in self.marks.items():
            place, size = mark.place, item(mark.narrow)
            if name in self.widened:
                found[name] = Operand(f"{self.low.number()} wide {name}")
            else:
                found[name] = Operand(place.buffer, place.channel * size)
            found[f"narrow {name}"] = Operand(place.buffer, place.channel * size)
        return found

    def _size(self, value: Value) -> int:
        return self.low.samples(value) * value.channels * value.positions

    def _narrowed(self, step: Step) -> Step:
        """The same step over arrays in 16 bits."""
        used = accesses_of(step.recipe, self.low.machine)
        words = {word: self._kind(step, word, access) for word, access in used.items()}
        words = {word: kind for word, kind in words.items() if kind}
        arguments = list(step.arguments)
        for word, argument in enumerate(arguments):
            kind = self._held(argument.name) if isinstance(argument, Operand) else ""
            if isinstance(argument, Operand) and kind:
                offset = argument.offset // self.low.itemsize * item(kind)
                arguments[word] = replace(argument, offset=offset)
        if not words:
            return replace(step, arguments=tuple(arguments))
        assert isinstance(step.recipe, Kernel)
        recipe = stored(step.recipe, words)
        return replace(step, recipe=recipe, arguments=tuple(arguments))

    def _conversion(self, mark: _Marked, *, out: bool) -> list[Step]:
        """Steps that fill the float32 version, or round it into the result."""
        low, value, work = self.low, mark.value, Work()
        rows, width, pitch = low.samples(value) * value.positions, value.channels, mark.place.pitch
        if mark.place.first or pitch == width or value.name in low.weights:
            rows, width, pitch = 1, self._size(value), self._size(value)
        ends = [(Operand(f"narrow {mark.name}"), pitch), (Operand(mark.name), width)]
        source, target = reversed(ends) if out else ends
        elementwise.formulas(
            work,
            low.dtype,
            low.machine,
            samples=1,
            positions=rows,
            channels=width,
            inputs=[elementwise.Input("full", *source)],
            outputs=[elementwise.Output(operand(0), *target)],
            sums=[],
            title="round result" if out else "widen",
        )
        made = []
        for step in work.steps:
            words = {
                word: mark.narrow
                for word in accesses_of(step.recipe, low.machine)
                if isinstance(step.arguments[word], Operand)
                and step.arguments[word].name.startswith("narrow ")  # type: ignore[union-attr]
            }
            assert isinstance(step.recipe, Kernel)
            made.append(replace(step, recipe=stored(step.recipe, words)))
        return made


def _joined(first: list[Step], then: list[Step]) -> list[Step]:
    """Steps, and others that wait for them."""
    if not first or not then:
        return [*first, *then]
    return [*first, waiting(then[0], True), *then[1:]]


def halves_of(
    kind: str,
    nodes: Sequence[Node],
    places: Places,
    kept: Iterable[Value],
    weights: Weights,
    levels: Mapping[str, str],
) -> Halves | None:
    """What a program keeps in 16 bits: what its nodes make, except for results, and the parameters
    that are kept so anyway; or in 8: ``levels``. None: nothing.
    """
    if not kind:
        return Halves("", levels, frozenset()) if levels else None
    results = {places.root(value).name for value in kept}
    made = {places.root(v).name for node in nodes for v in node.outputs if v.kind == "float"}
    # A result, or an input that something is joined with, stays as it is, and what lies in it.
    made = {name for name in made & places.made if name not in results}
    exact = {name for name, d in weights.derived.items() if d.kind == "weight"}
    return Halves(kind, dict.fromkeys(made | set(weights.numbers.halves), kind), frozenset(exact))
