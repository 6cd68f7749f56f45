"""LLVM IR as text: modules, functions, integers, addresses and loops.

It is text because the builder of llvmlite refuses vectors in ``llvm.fma`` and has no bfloat type,
and because writing text takes a fifth of the time. A value is a name (``"%12"``) or a constant
(``"7"``); integers are ``i64``, addresses ``ptr``. Every method that creates a value returns its
name.

Offsets are in elements and go through ``getelementptr``: LLVM may miscompile addresses that are
computed as integers.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from functools import partial
from itertools import chain, zip_longest
from typing import TypeVar

from faltung.geometry.record import dataclass

Index = str | int
T = TypeVar("T")


def parameters(pointers: Iterable[str], numbers: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The (type, name) pairs of a function that takes addresses, then integers."""
    return [*(("ptr", name) for name in pointers), *(("i64", name) for name in numbers)]


class Module:
    """The text of one LLVM module: declarations of intrinsics, then functions."""

    def __init__(self) -> None:
        self._declarations: dict[str, str] = {}
        self._functions: list[Function] = []
        self._shared: dict[Hashable, str] = {}

    def declare(self, name: str, result: str, *arguments: str) -> str:
        """Declare an external function by the types of its result and arguments, once."""
        self._declarations[name] = f"declare {result} @{name}({', '.join(arguments)})"
        return f"@{name}"

    def words(self, name: str, words: Sequence[int]) -> str:
        """The address of a constant table of 64-bit integers, which is there once."""
        given = ", ".join(f"i64 {word}" for word in words)
        kind = f"[{len(words)} x i64]"
        self._declarations[name] = f"@{name} = internal constant {kind} [{given}]"
        return f"@{name}"

    def function(
        self,
        name: str,
        arguments: Sequence[tuple[str, str]],
        *,
        public: bool = False,
        returns: str = "void",
    ) -> "Function":
        """Open a function; ``arguments`` are (type, name) pairs, ``%name`` inside. One that
        ``returns`` something has it as ``result`` at the end.
        """
        made = Function(self, name, arguments, public, returns)
        self._functions.append(made)
        return made

    def shared(self, what: Hashable, write: Callable[[str], None]) -> str:
        """The name of the function that does ``what``; written the first time, under that name."""
        if what not in self._shared:
            self._shared[what] = f"shared{len(self._shared)}"
            write(self._shared[what])
        return self._shared[what]

    @property
    def declared(self) -> list[str]:
        """What is declared so far."""
        return list(self._declarations.values())

    def __str__(self) -> str:
        return "\n".join([*self.declared, *map(str, self._functions)]) + "\n"


@dataclass
class Loop:
    """A loop: its index, the values carried into this iteration, and, once closed, the results."""

    index: str
    values: list[str]
    label: str
    results: list[str] = field(default_factory=list)
    _next: list[str] | None = None

    def carry(self, values: Sequence[str]) -> None:
        """Pass these values to the next iteration."""
        self._next = list(values)


class Function:
    """One function under construction; instructions are appended to the current block."""

    _letter = "v"  # names of values begin with it

    def __init__(
        self,
        module: Module,
        name: str,
        arguments: Sequence[tuple[str, str]],
        public: bool,
        returns: str = "void",
    ) -> None:
        self.module = module
        self.name = name
        self.returns = returns
        self.result = ""
        self._head = (
            f"define {'' if public else 'internal '}{returns} @{name}"
            f"({', '.join(f'{kind} %{label}' for kind, label in arguments)})"
            f"{' nounwind' if public else ' nounwind noinline'} {{"
        )
        self._lines = ["entry:"]
        self._block = "entry"
        self._count = 0

    def __str__(self) -> str:
        return "\n".join([self._head, *self._lines, f"  ret {self.returns} {self.result}", "}"])

    def emit(self, text: str) -> None:
        """Append an instruction without a result."""
        self._lines.append("  " + text)

    def value(self, text: str) -> str:
        """Append an instruction and return the name of its result."""
        self._count += 1
        name = f"%{self._letter}{self._count}"
        self._lines.append(f"  {name} = {text}")
        return name

    def call(self, callee: str, arguments: Sequence[tuple[str, Index]]) -> None:
        self.emit(
            f"call void @{callee}({', '.join(f'{kind} {value}' for kind, value in arguments)})"
        )

    def call_with(
        self, callee: str, parameters: Sequence[tuple[str, str]], given: Mapping[str, Index]
    ) -> None:
        """Call a function with the values that ``given`` has for the names of its parameters."""
        self.call(callee, [(kind, given[name]) for kind, name in parameters])

    def call_one(
        self, selector: str, callees: Sequence[str], arguments: Sequence[tuple[str, Index]]
    ) -> None:
        """Call the function numbered ``selector``."""
        self.switch(selector, [partial(self.call, callee, arguments) for callee in callees])

    def woven(self, parts: Sequence[Callable[[], T]]) -> list[T]:
        """What ``parts`` return, which do not depend on one another, with their instructions in
        turns, so that while one waits for a result the others go on.

        A processor looks for work some hundred instructions ahead: not far enough to find it in the
        next one of several long chains.
        """
        before, block = self._lines, self._block
        found, pieces = [], []
        for part in parts:
            self._lines = []
            found.append(part())
            pieces.append(self._lines)
        self._lines = before
        if self._block == block:
            pieces = [[line for turn in zip_longest(*pieces) for line in turn if line is not None]]
        self._lines += chain.from_iterable(pieces)
        return found

    # Integers ------------------------------------------------------------------------------------

    def add(self, a: Index, b: Index) -> str:
        return str(a) if str(b) == "0" else self.value(f"add i64 {a}, {b}")

    def sub(self, a: Index, b: Index) -> str:
        return self.value(f"sub i64 {a}, {b}")

    def mul(self, a: Index, b: Index) -> str:
        return str(a) if str(b) == "1" else self.value(f"mul i64 {a}, {b}")

    def divmod(self, a: Index, b: Index) -> tuple[str, str]:
        """Quotient and remainder of non-negative integers."""
        quotient = self.value(f"udiv i64 {a}, {b}")
        return quotient, self.sub(a, self.mul(quotient, b))

    def multiple(self, a: Index, b: int) -> str:
        """The largest multiple of ``b`` up to ``a``, which is not negative."""
        return self.mul(self.value(f"sdiv i64 {a}, {b}"), b)

    def minimum(self, a: Index, b: Index) -> str:
        less = self.value(f"icmp slt i64 {a}, {b}")
        return self.value(f"select i1 {less}, i64 {a}, i64 {b}")

    def maximum(self, a: Index, b: Index) -> str:
        callee = self.module.declare("llvm.smax.i64", "i64", "i64", "i64")
        return self.value(f"call i64 {callee}(i64 {a}, i64 {b})")

    def opaque(self, a: Index) -> str:
        """The same integer, but unknown to LLVM: for the start of a loop.

        LLVM then does not try to derive the addresses of the loop from those of outer loops, which
        can take a third of the compilation time.
        """
        return self.value(f"freeze i64 {a}")

    # Memory --------------------------------------------------------------------------------------

    def at(self, base: str, offset: Index, element: str) -> str:
        """The address ``offset`` elements after ``base``."""
        return (
            base
            if str(offset) == "0"
            else self.value(f"getelementptr {element}, ptr {base}, i64 {offset}")
        )

    def word(self, table: str, position: Index) -> str:
        """Entry ``position`` of a table of 64-bit integers."""
        return self.value(f"load i64, ptr {self.at(table, position, 'i64')}, align 8")

    def pointer(self, table: str, position: Index) -> str:
        """Entry ``position`` of a table, read as an address."""
        return self.value(f"load ptr, ptr {self.at(table, position, 'i64')}, align 8")

    def prefetch(self, address: str, *, write: bool = False, level: int = 1) -> None:
        """Prefetch the cache line at ``address``, which need not be valid, for a read or write.

        ``level``: 1 to 3, of the cache that is to hold it.
        """
        callee = self.module.declare("llvm.prefetch.p0", "void", "ptr", "i32", "i32", "i32")
        self.emit(f"call void {callee}(ptr {address}, i32 {int(write)}, i32 {4 - level}, i32 1)")

    # Control -------------------------------------------------------------------------------------

    def _label(self, hint: str) -> str:
        self._count += 1
        return f"{hint}{self._count}"

    def _open(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label

    @contextmanager
    def loop(
        self,
        start: Index,
        stop: Index,
        carried: Sequence[tuple[str, str]] = (),
        *,
        step: Index = 1,
        runs: bool = False,
    ) -> Iterator[Loop]:
        """``for index in range(start, stop, step)`` with values carried between iterations.

        ``carried`` holds (type, initial value) pairs. ``runs=True`` promises at least one
        iteration: the test is then at the end, which saves a branch per iteration in inner loops.
        """
        head, body, done = self._label("head"), self._label("body"), self._label("done")
        before = self._block
        self.emit(f"br label %{head}")
        self._open(head)
        names = [f"%{head}.{i}" for i in range(len(carried) + 1)]
        phis = len(self._lines)
        self._lines += [""] * len(names)
        if not runs:
            more = self.value(f"icmp slt i64 {names[0]}, {stop}")
            self.emit(f"br i1 {more}, label %{body}, label %{done}")
            self._open(body)
        loop = Loop(names[0], names[1:], head)
        yield loop
        following = loop.values if loop._next is None else loop._next
        index = self.value(f"add i64 {names[0]}, {step}")
        latch = self._block
        if runs:
            more = self.value(f"icmp slt i64 {index}, {stop}")
            self.emit(f"br i1 {more}, label %{head}, label %{done}")
        else:
            self.emit(f"br label %{head}")
        kinds = [("i64", str(start)), *carried]
        for i, (kind, first) in enumerate(kinds):
            last = [index, *following][i]
            self._lines[phis + i] = (
                f"  {names[i]} = phi {kind} [{first}, %{before}], [{last}, %{latch}]"
            )
        self._open(done)
        loop.results = list(following) if runs else names[1:]

    @contextmanager
    def once(self, carried: Sequence[tuple[str, str]] = ()) -> Iterator[Loop]:
        """A loop known to have one iteration: used in the same way, but no loop is written."""
        loop = Loop("0", [first for _, first in carried], "")
        yield loop
        loop.results = loop.values if loop._next is None else loop._next

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """The instructions inside run only if ``condition`` (an ``i1``) holds."""
        inside, after = self._label("then"), self._label("after")
        self.emit(f"br i1 {condition}, label %{inside}, label %{after}")
        self._open(inside)
        yield
        self.emit(f"br label %{after}")
        self._open(after)

    def branches(self, condition: str) -> Iterator[bool]:
        """True, for the instructions that run if ``condition`` holds, then False for the others."""
        with self.when(condition):
            yield True
        with self.when(self.value(f"xor i1 {condition}, true")):
            yield False

    def choose(self, condition: str, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """Run ``yes`` if ``condition`` holds, otherwise ``no``."""
        self.switch(self.value(f"zext i1 {condition} to i64"), [no, yes])

    def either(
        self, condition: str, kind: str, yes: Callable[[], str], no: Callable[[], str]
    ) -> str:
        """The value, of type ``kind``, of one of two branches: ``yes`` if ``condition`` holds."""
        names = self._label("yes"), self._label("no")
        after = self._label("after")
        self.emit(f"br i1 {condition}, label %{names[0]}, label %{names[1]}")
        ends = []
        for name, branch in zip(names, (yes, no), strict=True):
            self._open(name)
            ends.append((branch(), self._block))
            self.emit(f"br label %{after}")
        self._open(after)
        return self.value(f"phi {kind} " + ", ".join(f"[{a}, %{block}]" for a, block in ends))

    def switch(self, selector: str, cases: Sequence[Callable[[], None]]) -> None:
        """Run the case numbered ``selector``; the last case also stands for every other number."""
        if len(cases) == 1:
            cases[0]()
            return
        labels = [self._label("case") for _ in cases]
        after = self._label("after")
        table = " ".join(f"i64 {i}, label %{label}" for i, label in enumerate(labels[:-1]))
        self.emit(f"switch i64 {selector}, label %{labels[-1]} [{table}]")
        for label, case in zip(labels, cases, strict=True):
            self._open(label)
            case()
            self.emit(f"br label %{after}")
        self._open(after)


class Piece(Function):
    """Instructions to be put into a function that was written before, whose names differ from those
    in it and, numbered from ``count`` on, from those of other pieces.
    """

    _letter = "w"

    def __init__(self, module: Module, count: int) -> None:
        super().__init__(module, "piece", (), public=False)
        self._lines, self._block, self._count = [], "", count

    @property
    def count(self) -> int:
        """How many names there are so far."""
        return self._count

    @property
    def lines(self) -> list[str]:
        return self._lines

    @property
    def block(self) -> str:
        """The block in which the piece ends; "": that in which it begins."""
        return self._block

    def named(self, name: str, text: str) -> None:
        """Append an instruction whose result has a name of the function."""
        self.emit(f"{name} = {text}")

    def _label(self, hint: str) -> str:
        return super()._label(f"{hint}.")
