"""Pickles read without running them: containers, text and numbers; all else stays a name.

A pickle is a program whose instructions may import anything and call it. Here they are walked by
``pickletools``, which executes nothing, and only those that build containers, text and numbers do
what they say. What a pickle wants to import is a ``Name``, what it wants to call a ``Call``, unless
``known`` gives a meaning to the name; neither is ever looked up. Keys of tables that are no text
are left out.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

# What messages show of a text.
_SHOWN = 60
# Functions that a pickle may call, by their names: ours, which take what the pickle gives.
Known = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """What a pickle wants to import, which nobody does: "module.name"."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call that a pickle asks for and nobody makes."""

    of: object


def said(value: object) -> str:
    """A value of a pickle for a message: short, also where its ``repr`` would never end."""
    if isinstance(value, str | bytes):
        return show(value[:_SHOWN])
    if isinstance(value, Name):
        return show(value.name[:_SHOWN])
    small = isinstance(value, int | float | None) and abs(value or 0) < 1 << 64
    return repr(value) if small else f"a {type(value).__name__.lower()}"


class _Mark:
    """Where the arguments of an instruction begin on the stack."""


_MARK = _Mark()
# Instructions that put a constant, or an empty container, onto the stack.
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
# Instructions whose argument is the value.
_VALUES = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "STRING"),
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = ("PROTO", "FRAME")


def read_pickle(
    data: bytes, known: Known, persistent: Callable[[Any], Any], start: int = 0
) -> tuple[Any, int]:
    """The value of the pickle that begins at ``start``, and where it ends.

    known: what calls of a name mean. persistent: what an identifier of something outside the pickle
    means. FaltungError: it is no whole pickle, or has instructions that no tensors need.
    """
    import pickletools

    stream = io.BytesIO(data)
    stream.seek(start)
    machine = _Machine(known, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                break
            machine.step(opcode.name, argument)
        return machine.pop(), stream.tell()
    except FaltungError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise FaltungError(f"not a whole pickle, {' '.join(str(error).split())}") from error


class _Machine:
    """The stack and the memory of a pickle that is walked."""

    def __init__(self, known: Known, persistent: Callable[[Any], Any]) -> None:
        self.known, self.persistent = known, persistent
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise FaltungError("not a whole pickle, a value is missing")
        return value

    def above_mark(self) -> list[Any]:
        """All values since the last mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                made = self.stack[place + 1 :]
                del self.stack[place:]
                return made
        raise FaltungError("not a whole pickle, a mark is missing")

    def step(self, name: str, argument: Any) -> None:
        """Do what an instruction says."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            made = tuple(self.pop() for _ in range(count))[::-1]
            self.stack.append(made)
        elif name in _NOTHING:
            pass
        else:
            do = _INSTRUCTIONS.get(name)
            if do is None:
                raise FaltungError(f"has the instruction {name}, which no tensor needs")
            do(self, argument)

    # Instructions -------------------------------------------------------------------------------

    def mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def drop(self, _: Any) -> None:
        self.stack.pop()

    def drop_to_mark(self, _: Any) -> None:
        self.above_mark()

    def twice(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def put(self, place: Any) -> None:
        self.memory[int(place)] = self.stack[-1]

    def put_next(self, _: Any) -> None:
        self.memory[len(self.memory)] = self.stack[-1]

    def get(self, place: Any) -> None:
        self.stack.append(self.memory[int(place)])

    def imported(self, argument: Any) -> None:
        self.stack.append(Name(".".join(str(argument).split(" ", 1))))

    def imported_by_name(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        text = isinstance(module, str) and isinstance(name, str)
        self.stack.append(Name(f"{module}.{name}" if text else "no name"))

    def called(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        do = self.known.get(function.name) if isinstance(function, Name) else None
        if do is None or not isinstance(arguments, tuple):
            self.stack.append(Call(function))
        else:
            self.stack.append(do(*arguments))

    def called_with_names(self, _: Any) -> None:
        self.pop()
        self.called(None)

    def state(self, _: Any) -> None:
        self.pop()  # what an object is to be filled with

    def outside(self, _: Any) -> None:
        self.stack.append(self.persistent(self.pop()))

    def tuple_(self, _: Any) -> None:
        self.stack.append(tuple(self.above_mark()))

    def list_(self, _: Any) -> None:
        self.stack.append(self.above_mark())

    def dict_(self, _: Any) -> None:
        self.stack.append(_table({}, self.above_mark()))

    def append(self, _: Any) -> None:
        _list(self.stack[-2]).append(self.pop())

    def extend(self, _: Any) -> None:
        values = self.above_mark()
        _list(self.stack[-1]).extend(values)

    def item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        _table(self.stack[-1], [key, value])

    def items(self, _: Any) -> None:
        values = self.above_mark()
        _table(self.stack[-1], values)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []  # of a call, say: nobody reads it


def _table(table: Any, values: list[Any]) -> Any:
    """A table with further entries: key, value, key, value, ..."""
    if isinstance(table, dict):
        table.update(
            (key, value)
            for key, value in zip(values[::2], values[1::2], strict=True)
            if isinstance(key, str)
        )
    return table


_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": _Machine.twice,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.put_next,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": _Machine.imported,
    "STACK_GLOBAL": _Machine.imported_by_name,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.called),
    "NEWOBJ_EX": _Machine.called_with_names,
    "BUILD": _Machine.state,
    "BINPERSID": _Machine.outside,
    "TUPLE": _Machine.tuple_,
    **dict.fromkeys(("LIST", "FROZENSET"), _Machine.list_),
    "DICT": _Machine.dict_,
    "APPEND": _Machine.append,
    **dict.fromkeys(("APPENDS", "ADDITEMS"), _Machine.extend),
    "SETITEM": _Machine.item,
    "SETITEMS": _Machine.items,
}
