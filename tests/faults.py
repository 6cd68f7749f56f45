"""Disks that fail at the n-th call, memory that fails at the n-th request, and power cuts.

The idea is that of SQLite's tests (https://sqlite.org/testing.html): a fault is put at every place
at which there can be one, and after each everything must be whole. Faults are made here in the
process itself, so that each costs no more than the work around it.
"""

import ctypes
import errno
import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Disks --------------------------------------------------------------------------------------------


@dataclass
class Disk:
    """All calls about paths below ``root``, counted from 1; the ``at``-th fails with ``code``, and
    with ``forever`` every one after it. ``events``: what was done, for ``Cut``.
    """

    root: Path
    at: int = 0
    code: int = errno.EIO
    forever: bool = False
    count: int = 0
    failed: list[str] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    handles: dict[int, str] = field(default_factory=dict)

    def knows(self, path: object) -> bool:
        try:
            text = os.path.abspath(os.fspath(path))  # type: ignore[call-overload]
        except TypeError:
            return False
        return isinstance(text, str) and Path(text).is_relative_to(self.root)

    def call(self, what: str) -> None:
        self.count += 1
        if self.count == self.at or (self.forever and 0 < self.at < self.count):
            self.failed.append(what)
            raise OSError(self.code, os.strerror(self.code))


class _Writer:
    """A file that is written to, in front of the real one."""

    def __init__(self, disk: Disk, file: Any, name: str) -> None:
        self._disk, self._file, self._name = disk, file, name

    def write(self, data: Any) -> int:
        self._disk.call("write")
        self._disk.events.append(("write", self._name, bytes(data)))
        return int(self._file.write(data))

    def flush(self) -> None:
        self._disk.call("flush")
        self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Reader(io.BufferedReader):
    """A file that is read, whose reading may fail."""

    def __init__(self, disk: Disk, path: str) -> None:
        super().__init__(io.FileIO(path))
        self._disk = disk

    def read(self, *size: Any) -> bytes:
        self._disk.call("read")
        return super().read(*size)


@contextmanager
def disk(root: Path, at: int = 0, **more: Any) -> Iterator[Disk]:
    """Calls below ``root`` go through a ``Disk``. Nothing is really forced to disk."""
    made = Disk(root.resolve(), at, **more)
    real = {name: getattr(os, name) for name in ("open", "fdopen", "close", "fsync", "replace")}
    real |= {name: getattr(os, name) for name in ("unlink", "mkdir", "scandir", "listdir")}
    real |= {"write": os.write, "read": os.read}
    opened = io.open

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if not made.knows(path):
            return int(real["open"](path, flags, *rest, **named))
        made.call("open")
        handle = int(real["open"](path, flags, *rest, **named))
        made.handles[handle] = os.path.abspath(path)
        if flags & os.O_CREAT:
            made.events.append(("create", os.path.abspath(path)))
        return handle

    def fdopen(handle: int, mode: str = "r", *rest: Any, **named: Any) -> Any:
        name = made.handles.get(handle)
        file = real["fdopen"](handle, mode, *rest, **named)
        return file if name is None or "w" not in mode else _Writer(made, file, name)

    def close(handle: int) -> None:
        made.handles.pop(handle, None)
        real["close"](handle)

    def write(handle: int, data: Any) -> int:
        if handle in made.handles:
            made.call("write")
            # Systems may write less than they were asked to.
            data = bytes(data)[: max(1, len(data) // 2)]
            made.events.append(("write", made.handles[handle], data))
        return int(real["write"](handle, data))

    def read_(handle: int, size: int) -> bytes:
        if handle in made.handles:
            made.call("read")
        return bytes(real["read"](handle, size))

    def fsync(handle: int) -> None:
        name = made.handles.get(handle)
        if name is None:
            real["fsync"](handle)
            return
        made.call("fsync")
        made.events.append(("fsync", name))

    def replace(source: Any, target: Any, **named: Any) -> None:
        if made.knows(source):
            made.call("replace")
        real["replace"](source, target, **named)
        if made.knows(source):
            made.events.append(("rename", os.path.abspath(source), os.path.abspath(target)))

    def about_path(name: str, event: str) -> Callable[..., Any]:
        def run(path: Any = ".", *rest: Any, **named: Any) -> Any:
            if not made.knows(path):
                return real[name](path, *rest, **named)
            if name != "unlink":  # a file that is gone, or not, is asked for in any clean-up
                made.call(name)
            found = real[name](path, *rest, **named)
            if event:
                made.events.append((event, os.path.abspath(path)))
            return found

        return run

    def read(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if not made.knows(path) or mode != "rb":
            return opened(path, mode, *rest, **named)
        made.call("open")
        return _Reader(made, path)

    with pytest.MonkeyPatch.context() as patch:
        for name, own in (("open", open_), ("fdopen", fdopen), ("close", close), ("fsync", fsync)):
            patch.setattr(os, name, own)
        patch.setattr(os, "replace", replace)
        patch.setattr(os, "write", write)
        patch.setattr(os, "read", read_)
        for name, event in (("unlink", "unlink"), ("mkdir", "mkdir"), ("scandir", "")):
            patch.setattr(os, name, about_path(name, event))
        patch.setattr(os, "listdir", about_path("listdir", ""))
        patch.setattr(io, "open", read)
        yield made


# Power cuts ---------------------------------------------------------------------------------------

# What is on a disk: the contents of each file by its path, None for a folder.
Tree = dict[str, bytes | None]


class Cut:
    """What may be on the disk if the power fails after some events.

    Contents of a file are safe once it was synced, and before that none, half or all of them may be
    there. Names are safe once their folder was synced; before that any of the changes may be there,
    and any may not.
    """

    def __init__(self, root: Path) -> None:
        self.root = str(root.resolve())
        self._names: dict[str, int] = {}  # as the process sees them: path -> file
        self._data: list[bytearray | None] = []  # None: a folder
        self._safe: list[bool] = []
        self._durable: dict[str, int] = {}
        self._pending: list[tuple[str, str | None, int]] = []  # name gained, name lost, file

    def add(self, event: tuple[Any, ...]) -> None:
        kind, path = event[0], event[1]
        if kind in ("create", "mkdir"):
            number = len(self._data)
            self._data.append(bytearray() if kind == "create" else None)
            self._safe.append(kind == "mkdir")
            self._names[path] = number
            self._pending.append((path, None, number))
        elif kind == "write":
            data = self._data[self._names[path]]
            assert data is not None
            data += event[2]
            self._safe[self._names[path]] = False
        elif kind == "rename":
            number = self._names.pop(path)
            self._names[event[2]] = number
            self._pending.append((event[2], path, number))
        elif kind == "unlink":
            self._pending.append(("", path, self._names.pop(path, -1)))
        elif path in self._names and self._data[self._names[path]] is not None:
            self._safe[self._names[path]] = True
        else:  # a folder was synced
            here = [p for p in self._pending if os.path.dirname(p[0] or p[1] or "") == path]
            _apply(self._durable, here)
            self._pending = [p for p in self._pending if p not in here]

    def trees(self) -> Iterator[Tree]:
        """All that may be there now."""
        choices = range(len(self._pending))
        for count in range(len(self._pending) + 1):
            for some in itertools.combinations(choices, count):
                names = dict(self._durable)
                _apply(names, [self._pending[i] for i in some])
                yield from self._filled(names)

    def _filled(self, names: dict[str, int]) -> Iterator[Tree]:
        there = {p: n for p, n in names.items() if self._reached(p, names)}
        files = sorted({n for n in there.values() if not self._safe[n]})
        for parts in itertools.product((0.0, 0.5, 1.0), repeat=len(files)):
            share = dict(zip(files, parts, strict=True))
            made: Tree = {}
            for path, number in there.items():
                data = self._data[number]
                end = None if data is None else int(len(data) * share.get(number, 1.0))
                made[path] = None if data is None else bytes(data[:end])
            yield made

    def _reached(self, path: str, names: dict[str, int]) -> bool:
        above = os.path.dirname(path)
        return above == self.root or (above in names and self._reached(above, names))


def _apply(names: dict[str, int], changes: list[tuple[str, str | None, int]]) -> None:
    for gained, lost, number in changes:
        if lost is not None and names.get(lost, number) == number:
            names.pop(lost, None)
        if gained:
            names[gained] = number


def written(tree: Tree, old: Path, new: Path) -> None:
    """Make the files of a tree, at ``new`` instead of ``old``."""
    for path, data in sorted(tree.items()):
        place = new / Path(path).relative_to(old.resolve())
        if data is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.write_bytes(data)


# Memory -------------------------------------------------------------------------------------------

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_MALLOC = ctypes.PYFUNCTYPE(_POINTER, _POINTER, _SIZE)
_TWO = ctypes.PYFUNCTYPE(_POINTER, _POINTER, _SIZE, _SIZE)
_REALLOC = ctypes.PYFUNCTYPE(_POINTER, _POINTER, _POINTER, _SIZE)


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler: a name, its version, and the functions of an allocator."""

    _fields_ = [
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", _POINTER),
        ("malloc", _POINTER),
        ("calloc", _POINTER),
        ("realloc", _POINTER),
        ("free", _POINTER),
    ]


@dataclass
class Memory:
    """Requests of NumPy for the memory of arrays, counted from 1; the ``at``-th is refused."""

    at: int = 0
    count: int = 0

    def refuses(self) -> bool:
        self.count += 1
        return self.count == self.at


class _Allocator:
    """NumPy's own allocator behind a counter (NEP 49). It is made once and never freed, since
    arrays outlive the test that made them; they are freed by NumPy's own function.
    """

    def __init__(self) -> None:
        python = ctypes.pythonapi
        pointer: Any = ctypes.PYFUNCTYPE(_POINTER, ctypes.py_object, ctypes.c_char_p)(
            ("PyCapsule_GetPointer", python)
        )
        capsule: Any = ctypes.PYFUNCTYPE(ctypes.py_object, _POINTER, ctypes.c_char_p, _POINTER)(
            ("PyCapsule_New", python)
        )
        umath: Any = np._core._multiarray_umath  # type: ignore[attr-defined]
        table = ctypes.cast(pointer(umath._ARRAY_API, None), ctypes.POINTER(_POINTER))
        self.use: Any = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[304])
        own: Any = ctypes.PYFUNCTYPE(ctypes.py_object)(table[305])
        self.usual = own()
        there = _Handler.from_address(pointer(self.usual, b"mem_handler"))
        assert there.name == b"default_allocator" and there.version == 1
        self.memory: Memory | None = None
        malloc, calloc = _MALLOC(there.malloc), _TWO(there.calloc)
        realloc = _REALLOC(there.realloc)

        def refused() -> bool:
            return self.memory is not None and self.memory.refuses()

        self._kept = (
            _MALLOC(lambda c, n: None if refused() else malloc(there.context, n)),
            _TWO(lambda c, n, s: None if refused() else calloc(there.context, n, s)),
            _REALLOC(lambda c, p, n: None if refused() else realloc(there.context, p, n)),
        )
        addresses = (ctypes.cast(function, _POINTER).value for function in self._kept)
        self._handler = _Handler(b"faults", 1, there.context, *addresses, there.free)
        self.counted = capsule(ctypes.addressof(self._handler), b"mem_handler", None)


_allocator: _Allocator | None = None


@contextmanager
def memory(at: int = 0) -> Iterator[Memory]:
    """NumPy's requests for memory in this thread go through a ``Memory``."""
    global _allocator
    if _allocator is None:
        try:
            _allocator = _Allocator()
        except (AttributeError, AssertionError, ValueError) as error:
            pytest.skip(f"NumPy's allocator is not as known: {error}")
    made = _allocator.memory = Memory(at)
    _allocator.use(_allocator.counted)
    try:
        yield made
    finally:
        _allocator.memory = None
        _allocator.use(_allocator.usual)
