"""Which array each address of a kernel points into, and what the kernel does with each array.

Addresses are ``getelementptr`` of arguments, and elements are loaded and stored by a handful of
instructions. So one pass over the text of a module follows each address through loops, branches,
calls and local memory. ``codegen/storage.py`` writes the module for other arrays.
"""

import re
from collections.abc import Iterable

from faltung.geometry.record import dataclass

# An origin: ("word", n), the n-th word of the block of arguments; ("array", n), an address in the
# array that the n-th word points to; ("odd", n), one that was computed in other elements; ("local",
# n), memory of the n-th ``alloca``; ("?", -1), anything else.
Origin = tuple[str, int]
Origins = frozenset[Origin]
_ELSE: Origin = ("?", -1)

_HEAD = re.compile(r"define (?:internal )?(.+?) @(\w+)\((.*)\) nounwind")
RESULT = re.compile(r"  (%[\w.]+) = (\w+)")
_ELEMENT = re.compile(r"getelementptr (.+?), ptr (\S+), (.+)$")
_LOAD = re.compile(r"load (volatile )?(.+?), ptr (\S+), align \d+$")
_STORE = re.compile(r"  store (<.*?>|\w+) (.+), ptr (\S+), align \d+$")
_MASKED_LOAD = re.compile(
    r"call <(\d+) x float> @llvm\.masked\.load\.\S+?\(ptr (\S+), i32 \d+, <\d+ x i1> (.*), "
    r"<\d+ x float> zeroinitializer\)$"
)
_MASKED_STORE = re.compile(
    r"call void @llvm\.masked\.store\.\S+?\(<(\d+) x float> (\S+|<.*>|splat \(.*?\)), ptr (\S+), "
    r"i32 \d+, <\d+ x i1> (.*)\)$"
)
_GATHER = re.compile(
    r"call <(\d+) x float> @llvm\.masked\.gather\.\S+?\(<\d+ x ptr> (\S+), i32 \d+, "
    r"<\d+ x i1> (.*), <\d+ x float> zeroinitializer\)$"
)
_SCATTER = re.compile(
    r"call void @llvm\.masked\.scatter\.\S+?\(<(\d+) x float> (\S+), <\d+ x ptr> (\S+), "
    r"i32 \d+, <\d+ x i1> (.*)\)$"
)
_KEPT = re.compile(r"  store ptr (\S+), ptr (\S+), align \d+$")
_CALL = re.compile(r"call [^@]+ @(\w+)\((.*)\)$")
# An argument of a call: a type, which may be a vector, and what follows it up to the next one.
_GIVEN = re.compile(r"(ptr|i\d+|float|<\d+ x [\w.]+>) (.*?)(?:, (?=ptr |i\d+ |float |<\d+ x )|$)")
PHI = re.compile(r"\[(\S+), %([\w.]+)\]")
_POINTERS = re.compile(r"(?:ptr|x ptr>) (%[\w.]+)")
_FLOATS = re.compile(r"(?:<(\d+) x float>|float)$")


@dataclass
class Access:
    """What a kernel does with one of its arrays. fits: it can be stored otherwise. with_: the words
    of arrays that must be stored alike. single: elements are read one at a time.
    """

    reads: bool = False
    writes: bool = False
    fits: bool = True
    single: bool = False
    with_: frozenset[int] = frozenset()


@dataclass
class Code:
    """A function: the names of its arguments that are addresses, by position, and its lines."""

    name: str
    arguments: list[str]
    lines: list[str]


# Where addresses point ----------------------------------------------------------------------------


def functions(text: str) -> dict[str, Code]:
    found: dict[str, Code] = {}
    for line in text.split("\n"):
        if line.startswith("define"):
            head = _HEAD.match(line)
            assert head is not None, line
            names = [part.split()[-1] for part in head[3].split(", ") if part]
            code = found[head[2]] = Code(head[2], names, [])
        if not line.startswith(("declare", "@")) and found:
            code.lines.append(line)
    return found


class Analysis:
    """Where the addresses of a module point: the least sets of origins that agree with every
    instruction.
    """

    def __init__(self, code: dict[str, Code], symbol: str) -> None:
        self.code = code
        self.lines = [
            (function.name, line)
            for function in code.values()
            for line in function.lines
            if ("ptr" in line and not line.startswith("define")) or " alloca " in line
        ]
        self._known: dict[tuple[str, str], Origins] = {
            (symbol, code[symbol].arguments[0]): frozenset([("word", 0)])
        }
        # The addresses that are kept in local memory.
        self._held: dict[Origin, Origins] = {}
        self._locals: dict[tuple[str, str], Origin] = {}
        self._changed = True
        while self._changed:
            self._changed = False
            for name, line in self.lines:
                self._flow(name, line)
        self._groups: dict[Origin, Origin] = {}
        self._uses: dict[Origin, Access] = {}
        for name, line in self.lines:
            self._note(name, line)

    def of(self, name: str, value: str) -> Origins:
        """The origins of an address of the function ``name``."""
        if value.startswith("@"):
            return frozenset([_ELSE])
        return self._known.get((name, value), frozenset())

    def group(self, origins: Iterable[Origin]) -> frozenset[int]:
        """The arrays that must be stored as what has these origins."""
        roots = {self._root(origin) for origin in origins}
        every = (o for o in self._uses if o[0] == "array" and self._root(o) in roots)
        return frozenset(number for _, number in every)

    def arrays(self) -> dict[int, Access]:
        """What is done with each array."""
        unfit = {
            self._root(origin)
            for origin, use in self._uses.items()
            if not use.fits or (origin[0] == "local" and use.reads and use.writes)
        }
        found = {}
        for origin, use in self._uses.items():
            if origin[0] == "array":
                use.fits = self._root(origin) not in unfit
                use.with_ = self.group([origin]) - {origin[1]}
                found[origin[1]] = use
        return found

    # Where addresses come from --------------------------------------------------------------------

    def _add(self, where: tuple[str, str], more: Iterable[Origin]) -> None:
        before = self._known.get(where, frozenset())
        after = before.union(more)
        if len(after) > len(before):
            self._known[where] = after
            self._changed = True

    def _flow(self, name: str, line: str) -> None:
        """Take down what an instruction says about the origins of addresses."""
        result = RESULT.match(line)
        if result is None or result[2] == "call":
            call = _CALL.search(line)
            if call is not None and call[1] in self.code:
                given = _GIVEN.findall(call[2])
                for (kind, one), own in zip(given, self.code[call[1]].arguments, strict=True):
                    if kind == "ptr":
                        self._add((call[1], own), self.of(name, one))
            elif line.startswith("  store ptr "):
                self._keep(name, line)
            return
        to, kind = (name, result[1]), result[2]
        if kind == "getelementptr":
            element = _ELEMENT.search(line)
            assert element is not None, line
            self._add(to, (_moved(o, element[1], element[3]) for o in self.of(name, element[2])))
        elif kind == "load":
            load = _LOAD.search(line)
            if load is not None and load[2] == "ptr":
                for origin in self.of(name, load[3]):
                    self._add(to, self._pointed(origin))
        elif kind == "phi" and " phi ptr " in line:
            for value, _ in PHI.findall(line):
                self._add(to, self.of(name, value))
        elif kind == "select" and ", ptr " in line:
            for value in _POINTERS.findall(line):
                self._add(to, self.of(name, value))
        elif kind == "alloca":
            self._add(to, [self._locals.setdefault(to, ("local", len(self._locals)))])
        elif kind not in ("icmp", "call"):
            self._add(to, [_ELSE])

    def _keep(self, name: str, line: str) -> None:
        """An address is stored: in local memory it is found again."""
        stored = _KEPT.match(line)
        assert stored is not None, line
        for origin in self.of(name, stored[2]):
            before = self._held.get(origin, frozenset())
            after = before | self.of(name, stored[1])
            if len(after) > len(before):
                self._held[origin] = after
                self._changed = True

    def _pointed(self, origin: Origin) -> Origins:
        """The origins of an address that is loaded from a place."""
        if origin[0] == "word":
            return frozenset([("array", origin[1])])
        return self._held.get(origin, frozenset()) if origin[0] == "local" else frozenset([_ELSE])

    # What is done with them -----------------------------------------------------------------------

    def _root(self, origin: Origin) -> Origin:
        while origin in self._groups:
            origin = self._groups[origin]
        return origin

    def _join(self, origins: Iterable[Origin]) -> None:
        """One instruction may access any of these."""
        first, *others = (self._root(origin) for origin in origins)
        for other in others:
            if self._root(other) != self._root(first):
                self._groups[self._root(other)] = self._root(first)

    def _note(self, name: str, line: str) -> None:
        """Take down what an instruction does with arrays and local memory."""
        result = RESULT.match(line)
        kind = result[2] if result else line.split()[0]
        if kind in ("getelementptr", "phi", "select", "alloca") or "@llvm.prefetch" in line:
            return
        if kind == "call" and "@llvm." not in line:
            return
        memory = accessed(line)
        for value in _POINTERS.findall(line):
            origins = self.of(name, value)
            places = [o for o in origins if o[0] in ("array", "local")]
            odd = [("array", number) for o, number in origins if o == "odd"]
            if memory is not None and value == memory.address:
                if places or odd:
                    self._access(memory, places, odd, _ELSE in origins)
            elif line.startswith("  store ptr ") and self._kept_well(name, line):
                continue
            else:
                for origin in (*places, *odd):
                    self._uses.setdefault(origin, Access()).fits = False

    def _access(
        self, memory: "Memory", places: list[Origin], odd: list[Origin], others: bool
    ) -> None:
        self._join([*places, *odd])
        for origin in (*places, *odd):
            use = self._uses.setdefault(origin, Access())
            # Tables of addresses in local memory are not floats, and none of our business.
            if origin[0] == "array" or memory.floats:
                use.fits &= origin not in odd and memory.floats and not others
            use.reads |= not memory.stores
            use.writes |= memory.stores
            use.single |= memory.single and not memory.stores

    def _kept_well(self, name: str, line: str) -> bool:
        """Whether an address is stored where it is found again: in local memory alone."""
        stored = _KEPT.match(line)
        assert stored is not None, line
        return all(kind == "local" for kind, _ in self.of(name, stored[2]))


def _moved(origin: Origin, element: str, offset: str) -> Origin:
    """Of an address so many elements further on."""
    kind, number = origin
    if kind == "word":
        words = offset.split()[-1]
        if element == "i64" and words.isdecimal():
            return kind, number + int(words)
        return _ELSE
    if kind == "array" and element != "float":
        return "odd", number
    return origin


# Accesses to memory -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """An instruction that reads or writes memory. lanes: 0 for a single element."""

    address: str
    stores: bool
    floats: bool
    single: bool = False
    lanes: int = 0
    mask: str | None = None
    vector: str = ""
    several: bool = False


def accessed(line: str) -> Memory | None:
    """The access to memory that an instruction is, if it is one."""
    if " call " in line:
        return _masked(line)
    load = _LOAD.search(line) if " load " in line else None
    if load is not None:
        floats = _FLOATS.match(load[2])
        plain = floats is not None and not load[1]
        lanes = int(floats[1] or 0) if floats else 0
        return Memory(load[3], False, plain, single=lanes == 0, lanes=lanes)
    store = _STORE.match(line)
    if store is not None:
        floats = _FLOATS.match(store[1])
        lanes = int(floats[1] or 0) if floats else 0
        return Memory(store[3], True, floats is not None, lanes == 0, lanes, vector=store[2])
    return None


def _masked(line: str) -> Memory | None:
    if found := _MASKED_LOAD.search(line):
        return Memory(found[2], False, True, lanes=int(found[1]), mask=found[3])
    if found := _MASKED_STORE.search(line):
        lanes = int(found[1])
        return Memory(found[3], True, True, lanes=lanes, mask=found[4], vector=found[2])
    if found := _GATHER.search(line):
        return Memory(found[2], False, True, lanes=int(found[1]), mask=found[3], several=True)
    if found := _SCATTER.search(line):
        return Memory(
            found[3], True, True, lanes=int(found[1]), mask=found[4], vector=found[2], several=True
        )
    return None
