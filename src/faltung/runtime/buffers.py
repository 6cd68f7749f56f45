"""Memory aligned to cache lines, and scratch memory that is reused.

It is aligned because a vector of 64 bytes that straddles two lines costs two accesses.
"""

import operator
import threading
from types import TracebackType
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError, FaltungMemoryError, FaltungTypeError
from faltung.runtime.memory import require, said

Bytes = npt.NDArray[np.uint8]

ALIGNMENT = 64
KEEP_BYTES = 256 << 20  # the most free scratch memory that a thread keeps
_KEEP_BLOCKS = 4  # the most free blocks that a thread keeps
_PAGE_BYTES = 4096


def aligned(n_bytes: SupportsIndex, *, zeros: bool = False) -> Bytes:
    """``n_bytes`` of uninitialised memory: a uint8 array whose address is a multiple of 64.

    zeros: of zeros, which take memory only where they are written to.

    TypeError: not an integer. ValueError: negative. MemoryError: more than is free, or than the
    system grants.
    """
    if isinstance(n_bytes, bool) or not hasattr(n_bytes, "__index__"):
        raise FaltungTypeError(f"n_bytes={n_bytes!r}: must be an integer")
    size = operator.index(n_bytes)
    if size < 0:
        raise FaltungError(f"n_bytes={size}: must not be negative")
    require(size, f"n_bytes={size}")
    try:
        raw = (np.zeros if zeros else np.empty)(size + ALIGNMENT, np.uint8)
    except (MemoryError, ValueError, OverflowError):  # the last two: more than an address can hold
        raise FaltungMemoryError(_refusal(size)) from None
    skip = -_address(raw) % ALIGNMENT
    return raw[skip:][:size]  # in two steps: an empty slice would stay where ``raw`` begins


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised C-contiguous array, aligned as by ``aligned``, with the same errors."""
    kind, items = np.dtype(dtype), 1
    for size in shape:
        items *= operator.index(size)  # as Python's integers: those of NumPy overflow
    return aligned(items * kind.itemsize).view(kind).reshape(shape)


class Block:
    """Borrowed scratch memory: ``bytes`` (uint8, aligned) at ``address``.

    A context manager: leaving it returns the memory to the pool, for the next borrower. At first it
    holds whatever the previous borrower left there.
    """

    __slots__ = ("_lent", "_pool", "address", "bytes")

    def __init__(self, memory: Bytes, pool: "Workspace") -> None:
        self.bytes = memory
        self.address = _address(memory)
        self._pool = pool
        self._lent = True

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike, offset: int = 0) -> Any:
        """A C-contiguous array of ``shape`` and ``dtype`` at byte ``offset`` of the block.

        ValueError, TypeError: from NumPy, where it does not fit.
        """
        return np.ndarray(shape, dtype, buffer=self.bytes.data, offset=offset)

    def __enter__(self) -> "Block":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lent:  # once: a block that is left twice must not be lent twice
            self._lent = False
            self._pool._give(self)


class Workspace:
    """A pool of scratch memory for each Python thread that borrows.

        with workspace.borrow(n_bytes) as block: ...

    A block is either in the pool or with one borrower: borrowing while another block is borrowed,
    or in a signal handler, returns other memory, and a block that is never given back is simply
    freed. A thread keeps its last four free blocks, up to ``keep`` bytes in all; when it ends, they
    are freed.
    """

    def __init__(self, keep: int = KEEP_BYTES) -> None:
        self.keep = keep
        self._local = threading.local()

    def borrow(self, n_bytes: int) -> Block:
        """At least ``n_bytes`` of scratch: the smallest free block that suffices, or a new one.

        ValueError: a negative number. MemoryError: as for ``aligned``.
        """
        if n_bytes < 0:
            raise FaltungError(f"n_bytes={n_bytes}: must not be negative")
        free = sorted(self._free(), key=_size)
        for block in free:
            if block.bytes.size >= n_bytes and self._take(block):
                return block
        if free:
            # All are too small: free the largest before its successor is allocated.
            self._take(free[-1])
        return Block(aligned(-(-n_bytes // _PAGE_BYTES) * _PAGE_BYTES), self)

    def held(self) -> int:
        """Bytes in the pool of the calling thread."""
        return sum(map(_size, self._free()))

    def clear(self) -> None:
        """Free what is in the pool of the calling thread."""
        self._free().clear()

    def _free(self) -> list[Block]:
        try:
            found: list[Block] = self._local.free
        except AttributeError:
            found = self._local.free = []
        return found

    def _take(self, block: Block) -> bool:
        """Take a block out of the pool; False if a signal handler was faster."""
        try:
            self._free().remove(block)
        except ValueError:
            return False
        block._lent = True
        return True

    def _give(self, block: Block) -> None:
        if block.bytes.size > self.keep:
            return
        free = self._free()
        free.append(block)
        while len(free) > _KEEP_BLOCKS or self.held() > self.keep:
            del free[0]


workspace = Workspace()


def _size(block: Block) -> int:
    return block.bytes.size


def _address(memory: npt.NDArray[Any]) -> int:
    return int(memory.__array_interface__["data"][0])


def _refusal(size: int) -> str:
    return f"n_bytes={size}: {said(size)} cannot be allocated"
