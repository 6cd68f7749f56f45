"""Whole programs on disk: a network that was compiled once starts without being planned again.

A file has what is left of a program when it is planned: the sizes of its memories, its steps as
numbers, where values lie, what is derived from parameters, and the names of its kernels. There is
no address in it, no code, and nothing that is executed. It is found by all that the program follows
from: the graph, the batch, the options, the machine with its number of cores, the versions of the
compiler, and the source. When a file is believed, and where it is, is said in ``jit/cache.py``;
what is in it is checked once more before it is used, and whatever does not fit is not there: the
program is planned again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.fold import Derived
from faltung.graph.value import Value
from faltung.jit import cache, llvm
from faltung.jit.compile import linked
from faltung.machine.table import Machine
from faltung.plan.binding import HEADER, Laid, Region
from faltung.plan.written import Unreadable, Written, values_written
from faltung.program.derived_weights import Weights
from faltung.program.running import OWN, Running
from faltung.runtime.buffers import aligned
from faltung.runtime.layout import BARRIER, WHOLE
from faltung.runtime.memory import require

Array = npt.NDArray[Any]

KIND = "program"
# The stages whose source decides what a program is, beside those that decide what a kernel is.
_STAGES = ("graph", "program", "runtime")
# The most programs that a process writes: pictures may all have other sizes, and programs must not
# drive out kernels.
MOST_FILES = 16
_written = 0


# Names --------------------------------------------------------------------------------------------


def key(machine: Machine, *parts: object) -> str | None:
    """The name of the program that follows from ``parts``; None where it is not kept."""
    # Where code is kept under its text, the source of programs may change at any time.
    source = None if cache.by_text() or cache.where() is None else cache.fingerprint(_STAGES)
    if source is None:
        return None
    try:
        text = described(parts, {})
    except Unreadable:
        return None
    return cache.key(KIND, source, repr(machine), llvm.versions(), text)


_PLAIN = frozenset((int, str, float, bool, type(None)))


def described(value: Any, known: dict[int, str]) -> str:
    """All of a value in words: of frozen dataclasses the fields that are compared. known: words of
    objects, by where they are. Unreadable: something else is in it.
    """
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if kind is tuple and _PLAIN.issuperset(map(type, value)):
        return repr(value)
    if kind is list or isinstance(value, tuple):
        return f"({','.join([described(part, known) for part in value])})"
    if kind in (set, frozenset):
        return f"{{{','.join(sorted(described(part, known) for part in value))}}}"
    if kind is dict:
        return f"<{','.join([described(pair, known) for pair in value.items()])}>"
    found = known.get(id(value))
    if found is None:
        name, own = _classes.get(kind) or _compared(kind)
        parts = [described(getattr(value, field), known) for field in own]
        found = known[id(value)] = f"{name}({','.join(parts)})"
    return found


# Names of classes, and the fields of their objects that are compared.
_classes: dict[type, tuple[str, list[str]]] = {}


def _compared(kind: type) -> tuple[str, list[str]]:
    if not is_dataclass(kind):
        raise Unreadable
    own = [field.name for field in fields(kind) if field.compare]
    return _classes.setdefault(kind, (f"{kind.__module__}.{kind.__qualname__}", own))


# Writing ------------------------------------------------------------------------------------------


def keep(
    name: str | None,
    program: Running,
    *,
    feed: Mapping[int, Array],
    about: Mapping[str, Any],
    weights: Weights | None = None,
    groups: Sequence[tuple[Sequence[str], Laid]] = (),
) -> bool:
    """Keep a program under its name; False: it is not, for any reason.

    feed: constants, by their offsets. about: values of its owner. weights, groups: what is derived
    from parameters, and how it is packed.
    """
    global _written
    if name is None or _written >= MOST_FILES:
        return False
    sizes = {memory: array.nbytes for memory, array in program.memories.items()}
    slots = [*sizes.values(), 0 if weights is None else weights.passing]
    arrays = {made: _place(program, array) for made, array in program.asked.items()}
    derived = () if weights is None else tuple(weights.derived.values())
    laid = [program.laid, *(each for _, each in groups)]
    names = [_numbers(each) for each in laid]
    try:
        for each in laid:
            check(each, slots)
        if None in names:
            return False
        data = values_written(
            {
                "memories": sizes,
                "feed": [(at, _words(array)) for at, array in feed.items()],
                "arrays": arrays,
                "cycles": float(program.cycles),
                "derived": derived,
                "lasting": () if weights is None else weights.lasting,
                "every": names[0],
                "groups": [
                    (tuple(own), made) for (own, _), made in zip(groups, names[1:], strict=True)
                ],
                "about": dict(about),
            }
        )
    except (FaltungError, Unreadable):
        return False
    _written += 1
    return cache.store(name, data, KIND)


def _place(program: Running, array: Array) -> tuple[str, int, str, Any, Any]:
    """Where an array lies: its memory, the byte in it, dtype, shape and strides."""
    at = int(array.__array_interface__["data"][0])
    for memory, start in zip(program.memories, program.addresses, strict=False):
        size = program.memories[memory].nbytes
        if start <= at < start + size or (not array.size and start == at):
            return memory, at - start, array.dtype.str, array.shape, array.strides
    raise Unreadable


def _words(array: Array) -> Array:
    raw = array.reshape(-1).view(np.uint8)
    made = np.zeros(-(-raw.size // 8) * 8, np.uint8)
    made[: raw.size] = raw
    return made.view(np.int64)


def _numbers(laid: Laid) -> tuple[Any, ...] | None:
    """Steps for a file; None: a kernel of them is not on disk."""
    codes = tuple((code.key, code.symbol) for code in laid.kernels)
    if any(place is None for place, _ in codes):
        return None
    numbers = laid.words, laid.places, laid.functions, laid.tables
    return laid.steps, *numbers, codes, tuple(laid.arrays)


# Reading ------------------------------------------------------------------------------------------


class Restored(Running):
    """A program from disk. about: what its owner kept with it."""

    def __init__(
        self,
        memories: Mapping[str, Array],
        found: Mapping[str, Any],
        every: Region,
        weights: Weights | None,
        groups: Sequence[tuple[Sequence[str], Region]],
    ) -> None:
        super().__init__(memories)
        self.about: Mapping[str, Any] = found["about"]
        self.cycles = found["cycles"]
        # NumPy refuses what would lie outside.
        self._arrays = {
            name: np.ndarray(shape, dtype, self.memories[own].view(np.uint8).data, at, strides)
            for name, (own, at, dtype, shape, strides) in found["arrays"].items()
        }
        self._made = every
        self._weights, self._groups = weights, groups

    def every(self) -> Region:
        return self._made

    def _view(self, value: Value) -> Array:
        return self._arrays[value.name]

    def prepare(self, threads: int) -> None:
        assert self._weights is not None
        self._weights.pack(self._groups, self.addresses[:-1], threads)


def restored(
    name: str | None,
    outside: Mapping[str, Array],
    *,
    weigh: Callable[[Sequence[Derived]], Weights] | None = None,
    what: str = "batch",
    memory: Callable[[int], Array] = aligned,
) -> Restored | None:
    """The program that is kept under a name; None: it is not, or cannot be used.

    outside: memories of the caller, by name. weigh: weights of what is derived from parameters.
    MemoryError: there is no room for it.
    """
    data = None if name is None else cache.load(name, KIND)
    if data is None:
        return None
    try:
        return _restored(data, outside, weigh, what, memory)
    except MemoryError:
        raise
    except (Unreadable, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _restored(
    data: bytes,
    outside: Mapping[str, Array],
    weigh: Callable[[Sequence[Derived]], Weights] | None,
    what: str,
    memory: Callable[[int], Array],
) -> Restored:
    file = Written(data)
    names = ("memories", "feed", "arrays", "cycles", "derived", "lasting", "every", "groups")
    found = {part: file.value(part) for part in (*names, "about")}
    sizes: dict[str, int] = found["memories"]
    if min(sizes.values(), default=0) < 0:
        raise Unreadable
    require(sizes["arena"] + sizes["packed"], f"{what}: the program of this network")
    weights, groups = None, [(own, _laid(each)) for own, each in found["groups"]]
    given = dict(outside)
    if weigh is not None:
        weights = weigh(found["derived"])
        weights.place(found["lasting"], [own for own, _ in groups])
        given |= weights.memories
    slots = [*sizes.values(), 0 if weights is None else weights.passing]
    every = _laid(found["every"])
    for each in (every, *(laid for _, laid in groups)):
        check(each, slots)
    own = {*OWN, *found["about"].get("lent", {}).values()}
    if any(n not in own and (n not in given or given[n].nbytes != sizes[n]) for n in sizes):
        raise Unreadable
    memories = {n: given[n] if n in given else _memory(n, sizes[n], memory) for n in sizes}
    for at, words in found["feed"]:
        memories["feed"][at : at + words.nbytes] = words.view(np.uint8)
    region = Region.of(every, len(slots))
    regions = [(own, Region.of(laid, len(slots))) for own, laid in groups]
    return Restored(memories, found, region, weights, regions)


def _memory(name: str, size: int, memory: Callable[[int], Array]) -> Array:
    if name == "arena":
        return memory(size)
    return aligned(size, zeros=name != "packed")


def _laid(given: tuple[Any, ...]) -> Laid:
    steps, words, places, functions, tables, codes, arrays = given
    kernels = [linked(place, symbol) for place, symbol in codes]
    found = tuple(code for code in kernels if code is not None)
    if len(found) < len(kernels):
        raise Unreadable
    return Laid(steps, words, places, functions, tables, found, tuple(arrays))


def check(laid: Laid, slots: Sequence[int]) -> None:
    """Unreadable: numbers that are no steps over memories of so many bytes."""
    head, count = HEADER * laid.steps, len(laid.words)
    rows = (laid.places, 3), (laid.functions, 2), (laid.tables, 2)
    fits = laid.words.ndim == 1 and 0 <= head <= count
    fits = fits and all(each.shape == (len(each), width) for each, width in rows)
    if not fits:
        raise Unreadable
    heads = laid.words[:head].reshape(-1, HEADER)
    first = np.sort(laid.functions[:, 0])[: laid.steps]
    positions = np.concatenate([laid.functions[:, 0], laid.places[:, 0], laid.tables[:, 0]])
    sizes = np.array(slots, np.int64)
    if not (
        _within(heads[:, 1], count - head + 1)
        and heads[:, 2].min(initial=1) > 0
        and not (heads[:, 3] & ~(BARRIER | WHOLE)).any()
        and np.array_equal(first, np.arange(0, head, HEADER))
        and _within(positions, count)
        and (np.sort(positions)[laid.steps :] >= head).all()
        and np.bincount(positions, minlength=1).max() <= 1
        and _within(laid.functions[:, 1], len(laid.kernels))
        and _within(laid.tables[:, 1], len(laid.arrays))
        and _within(laid.places[:, 1], len(sizes))
        and (laid.places[:, 2] >= 0).all()
        and (laid.places[:, 2] <= sizes[laid.places[:, 1]]).all()
    ):
        raise Unreadable


def _within(numbers: Array, end: int) -> bool:
    return bool(((numbers >= 0) & (numbers < end)).all())
