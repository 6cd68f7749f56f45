"""Memory aligned to cache lines, and scratch memory that is reused.

Alignment: a vector of 64 bytes that straddles two lines costs two accesses.
"""

import operator
import os
import threading
from types import TracebackType
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

ALIGNMENT = 64
KEEP = 256 << 20  # bytes of free scratch that one thread keeps at most
_BLOCKS = 4  # free blocks that one thread keeps at most
_PAGE = 4096
_ASK = 1 << 30  # from this many bytes on, the computer's memory is looked at first


def aligned(n_bytes: SupportsIndex) -> Bytes:
    """``n_bytes`` of uninitialised memory as a uint8 array whose address is a multiple of 64.

    TypeError unless ``n_bytes`` is an integer, ValueError if it is negative, MemoryError if the
    computer has not that much, by this count or by that of the system.
    """
    if isinstance(n_bytes, bool) or not hasattr(n_bytes, "__index__"):
        raise TypeError(f"n_bytes={n_bytes!r}: must be an integer")
    size = operator.index(n_bytes)
    if size < 0:
        raise ValueError(f"n_bytes={size}: must not be negative")
    # Systems promise memory that they have not, and kill the process that then writes to it.
    if size >= _ASK and size > _installed():
        raise MemoryError(_refusal(size))
    try:
        raw = np.empty(size + ALIGNMENT, np.uint8)
    except (MemoryError, ValueError, OverflowError):  # the last two: more than an address can say
        raise MemoryError(_refusal(size)) from None
    skip = -_address(raw) % ALIGNMENT
    return raw[skip:][:size]  # in two steps: one empty slice would stay where ``raw`` begins


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised C-contiguous array whose address is a multiple of 64; else as
    ``aligned``."""
    kind, items = np.dtype(dtype), 1
    for size in shape:
        items *= operator.index(size)  # as Python's integers: those of NumPy overflow
    return aligned(items * kind.itemsize).view(kind).reshape(shape)


class Block:
    """Borrowed scratch memory: ``bytes`` (uint8, aligned) at ``address``, at least as long as
    asked.

    A context manager: leaving it gives the memory back to the pool, for the next borrower. What it
    holds at first is whatever the last one left.
    """

    __slots__ = ("_lent", "_pool", "address", "bytes")

    def __init__(self, memory: Bytes, pool: "Workspace") -> None:
        self.bytes = memory
        self.address = _address(memory)
        self._pool = pool
        self._lent = True

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike, offset: int = 0) -> Any:
        """A C-contiguous array of ``shape`` and ``dtype`` that begins at byte ``offset`` of the
        block.

        ValueError or TypeError from NumPy where it does not fit.
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
        if self._lent:  # once: a block left twice must not be lent twice
            self._lent = False
            self._pool._give(self)


class Workspace:
    """A pool of scratch memory, one for each Python thread that borrows.

        with workspace.borrow(n_bytes) as block: ...

    A block is in the pool or with one borrower, never both: borrowing inside a borrow, or in a
    signal handler, gets other memory, and a block that is never given back is only freed. Of free
    blocks a thread keeps the last four, and no more than ``keep`` bytes; a thread that ends frees
    its own.
    """

    def __init__(self, keep: int = KEEP) -> None:
        self.keep = keep
        self._local = threading.local()

    def borrow(self, n_bytes: int) -> Block:
        """At least ``n_bytes`` of scratch: the smallest free block that is enough, or a new one.

        ValueError for a negative number, MemoryError as ``aligned``.
        """
        if n_bytes < 0:
            raise ValueError(f"n_bytes={n_bytes}: must not be negative")
        free = sorted(self._free(), key=_size)
        for block in free:
            if block.bytes.size >= n_bytes and self._take(block):
                return block
        if free:
            # Too small, all of them: the largest makes room before its successor is allocated.
            self._take(free[-1])
        return Block(aligned(-(-n_bytes // _PAGE) * _PAGE), self)

    def held(self) -> int:
        """Bytes that wait in the pool of the calling thread."""
        return sum(map(_size, self._free()))

    def clear(self) -> None:
        """Free what waits in the pool of the calling thread."""
        self._free().clear()

    def _free(self) -> list[Block]:
        try:
            found: list[Block] = self._local.free
        except AttributeError:
            found = self._local.free = []
        return found

    def _take(self, block: Block) -> bool:
        """Out of the pool; False where a signal handler has been faster."""
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
        while len(free) > _BLOCKS or self.held() > self.keep:
            del free[0]


workspace = Workspace()


def _size(block: Block) -> int:
    return block.bytes.size


def _address(memory: npt.NDArray[Any]) -> int:
    return int(memory.__array_interface__["data"][0])


def _refusal(size: int) -> str:
    return f"n_bytes={size}: {size / 2**30:,.1f} GiB cannot be had"


def _installed() -> int:
    """Bytes of memory and swap in this computer; where the system does not say, no bound."""
    try:
        with open("/proc/meminfo") as lines:
            rows = dict(line.split(":", 1) for line in lines)
        return sum(int(rows[name].split()[0]) * 1024 for name in ("MemTotal", "SwapTotal"))
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") or 2**63
    except (AttributeError, OSError, ValueError):
        return 2**63
