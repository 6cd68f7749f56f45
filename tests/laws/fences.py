"""Memory whose neighbours cannot be read: a kernel that touches a byte outside its arrays ends the
process.

``fenced`` is an array against such a page. ``Fences`` puts everything there that kernels are given:
scratch and packed weights, each array of them between pages of its own; the results and copies that
functions make; tables and the arguments of a call. What a kernel only reads, it may not write.
Fresh memory is full of ones, which are NaN as numbers, so that what nobody has written shows.

All of it holds for the process, so that tests are ``between_fences`` in one of their own.
"""

import ctypes
import functools
import math
import mmap
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
import pytest
from grid import EVERY, MACHINES, grid

from faltung.ops import arguments, functional, layer, local, pool  # noqa: F401 (make arrays)
from faltung.plan import binding
from faltung.program import arena
from faltung.runtime import buffers, team

Array = np.ndarray[Any, Any]
PAGE = mmap.PAGESIZE
NOTHING, READ, WRITE = 0, mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE
SIDES = ("after", "before")

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="no mprotect on this system")


def _protect(address: int, n_bytes: int, how: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(n_bytes), how):
        raise OSError(ctypes.get_errno(), "mprotect")


class Size(int):
    """A number of bytes, some of which are not to be touched: (offset, bytes) each. Sums of sizes
    keep them in their place.
    """

    holes: tuple[tuple[int, int], ...] = ()

    def with_holes(self, holes: tuple[tuple[int, int], ...]) -> "Size":
        self.holes = holes
        return self

    def __add__(self, other: int) -> "Size":
        behind = tuple((int(self) + at, size) for at, size in getattr(other, "holes", ()))
        return Size(int(self) + int(other)).with_holes(self.holes + behind)

    def __radd__(self, other: int) -> "Size":
        return Size(other) + self


def fenced(n_bytes: int, after: bool, alignment: int = 1) -> Array:
    """``n_bytes``, all ones, whose end (or beginning) is the edge of what may be touched; the end
    rounded up to ``alignment``.
    """
    holes = getattr(n_bytes, "holes", ())
    size = -(-n_bytes // alignment) * alignment
    pages = max(1, -(-size // PAGE))
    taken = mmap.mmap(-1, (pages + 2) * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(taken))
    start = PAGE + (pages * PAGE - size if after else 0)
    found = np.frombuffer(taken, np.uint8)[start : start + n_bytes]
    found[:] = 0xFF
    inside = [(base + start + at, size) for at, size in holes]
    for address, length in [(base, PAGE), (base + (pages + 1) * PAGE, PAGE), *inside]:
        _protect(address, length, NOTHING)
    return found


def beside(array: Array, after: bool, *, write: bool = True) -> Array:
    """A contiguous copy of ``array`` against a fence, which may be forbidden to ``write``."""
    raw = fenced(array.nbytes, after)
    made = raw.view(array.dtype).reshape(array.shape)
    made[...] = array
    if not write and raw.size:
        first = raw.ctypes.data // PAGE * PAGE
        _protect(first, -(-(raw.ctypes.data + raw.size - first) // PAGE) * PAGE, READ)
        made.flags.writeable = False
    return made


def apart_each(arrays: Mapping[str, int], after: bool) -> tuple[dict[str, int], int]:
    """In the place of ``binding.layout``: each array on pages of its own, a hole around each."""
    places, holes, total = {}, [(0, PAGE)], PAGE
    for name, n_bytes in arrays.items():
        size = -(-n_bytes // binding.ALIGNMENT) * binding.ALIGNMENT
        pages = max(1, -(-size // PAGE)) * PAGE
        places[name] = total + (pages - size if after else 0)
        holes.append((total + pages, PAGE))
        total += pages + PAGE
    return (places, Size(total).with_holes(tuple(holes))) if arrays else ({}, 0)


class Block:
    """Scratch against a fence, in the place of ``buffers.Block``."""

    def __init__(self, n_bytes: int, after: bool) -> None:
        self.bytes = fenced(n_bytes, after, 64)
        self.address = int(self.bytes.ctypes.data)

    def __enter__(self) -> "Block":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Pool:
    """In the place of the workspace."""

    def __init__(self, after: bool) -> None:
        self.after = after

    def borrow(self, n_bytes: int) -> Block:
        return Block(n_bytes, self.after)


class NumPy(ModuleType):
    """In the place of NumPy: new arrays are against a fence."""

    def __init__(self, after: bool) -> None:
        super().__init__("numpy")
        self.after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = float) -> Array:
        kind = np.dtype(dtype)
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        raw = fenced(math.prod(sizes) * kind.itemsize, self.after)
        return raw.view(kind).reshape(sizes) if raw.size else np.empty(shape, kind)


class Fences(AbstractContextManager["Fences"]):
    """While it lasts, whatever the package makes for a kernel lies against a fence."""

    def __init__(self, side: str) -> None:
        self.after = side == "after"
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> "Fences":
        after, layout = self.after, binding.layout

        def split(arrays: Mapping[str, int]) -> tuple[dict[str, int], int]:
            # What comes from outside is cleared and filled as one piece.
            if sys._getframe(1).f_code.co_name == "_feed":
                return layout(arrays)
            return apart_each(arrays, after)

        self._everywhere(layout, split)
        self._everywhere(
            arena.placed, lambda lives: apart_each({n: a.size for n, a in lives.items()}, after)
        )

        def aligned(n_bytes: int, *, zeros: bool = False) -> Array:
            made = fenced(n_bytes, after, 64)
            if zeros:
                made[:] = 0
            return made

        self._everywhere(buffers.aligned, aligned)
        self._everywhere(buffers.workspace, Pool(after))
        self._everywhere(np, NumPy(after), "faltung.ops")
        self._arguments()
        self._forget()
        return self

    def _forget(self) -> None:
        """Nothing that was remembered before is used: it lies elsewhere."""
        for module in [m for name, m in sys.modules.items() if name.startswith("faltung.ops")]:
            for value in list(vars(module).values()):
                if isinstance(getattr(value, "_found", None), dict):
                    self._patch.setattr(value, "_found", {})

    def _everywhere(self, this: object, other: object, *inside: str) -> None:
        """In every module, of ours or of the tests, that has imported ``this`` by whatever name."""
        found, heads = 0, inside or ("faltung", "methods", "laws", "pools", "tests")
        for module in [m for name, m in sys.modules.items() if name.startswith(heads)]:
            for name, value in list(vars(module).items()):
                if value is this:
                    self._patch.setattr(module, name, other)
                    found += 1
        assert found, f"{this} is used nowhere: nothing would be fenced"

    def _arguments(self) -> None:
        """Tables, read only, and the arguments of each step."""
        after, region = self.after, binding.Region
        take, fill = region._take, region._fill
        blocks: dict[int, list[tuple[int, Array]]] = {}  # of each image: where it begins, a copy

        def tables_apart(self: Any, laid: binding.Laid, slots: int) -> None:
            apart = [beside(np.ascontiguousarray(a), after, write=False) for a in laid.arrays]
            take(self, laid._replace(arrays=tuple(apart)), slots)

        def image_apart(self: Any) -> tuple[Array, team.Region]:
            numbers = self._template.copy()
            head = numbers[: binding.HEADER * self._steps].reshape(-1, binding.HEADER)
            starts = binding.HEADER * self._steps + head[:, 1]
            ends = [*starts[1:], len(numbers)][: len(starts)]
            made = [
                (int(at), beside(numbers[at:end], after))
                for at, end in zip(starts, ends, strict=True)
            ]
            head[:, 1] = [block.ctypes.data for _, block in made]
            blocks[id(numbers)] = made
            return numbers, team.Region(head)

        def fill_apart(self: Any, numbers: Array, addresses: Any) -> None:
            fill(self, numbers, addresses)
            for at, block in blocks[id(numbers)]:
                block[:] = numbers[at : at + len(block)]

        move = binding.Movable.move

        def move_apart(self: Any, slot: int, address: int) -> None:
            move(self, slot, address)
            for at, block in blocks[id(self._words)]:
                block[:] = self._words[at : at + len(block)]

        self._patch.setattr(binding.Movable, "move", move_apart)
        self._patch.setattr(region, "_take", tables_apart)
        self._patch.setattr(region, "_image", image_apart)
        self._patch.setattr(region, "_fill", fill_apart)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


def between_fences(
    where: Callable[..., bool] | None = None, every: int = EVERY, **axes: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A grid of ``axes``, of ``side``, on which the fences are, and of ``machine``."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def inside(*, side: str, **values: Any) -> None:
            with Fences(side):
                test(side=side, **values)

        points = grid(where, in_child=True, every=every, **axes, side=SIDES, machine=MACHINES)
        return pytest.mark.memory(POSIX(points(inside)))

    return decorate
