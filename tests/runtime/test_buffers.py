"""Aligned memory and the pool of scratch."""

import gc
import threading
import weakref
from itertools import pairwise

import numpy as np
import pytest

from faltung.runtime import buffers, memory
from faltung.runtime.buffers import Workspace, aligned, empty

KIB = 1024


def address(array):
    return array.__array_interface__["data"][0]  # `.ctypes.data` of an empty array is another


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, 4096, 10**6, np.int32(7)])
def test_aligned(size):
    for _ in range(20):
        found = aligned(size)
        assert found.dtype == np.uint8 and found.shape == (size,)
        assert address(found) % 64 == 0
        found[:] = 255  # all of it is ours


@pytest.mark.parametrize("size", [True, 1.0, "1", None])
def test_aligned_wrong_type(size):
    with pytest.raises(TypeError, match="n_bytes="):
        aligned(size)


def test_aligned_negative():
    with pytest.raises(ValueError, match="n_bytes=-1"):
        aligned(-1)


@pytest.mark.parametrize("size", [2**50, 2**62, 2**63 - 1, 2**63, 2**64, 2**70])
def test_what_cannot_be_had(size):
    with pytest.raises(MemoryError, match=rf"n_bytes={size} needs .* of memory, .* are free"):
        aligned(size)


def test_more_than_is_free(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    with pytest.raises(MemoryError, match=r"n_bytes=1073741825 needs 1\.1 GB of memory, 1\.1"):
        buffers.aligned(2**30 + 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", np.float32])
def test_empty(dtype):
    for shape in ((), (0,), (3, 0, 2), (2, 3, 5), (np.int64(4),)):
        found = empty(shape, dtype)
        assert found.shape == shape and found.dtype == np.dtype(dtype)
        assert found.flags.c_contiguous and found.flags.writeable
        assert address(found) % 64 == 0
    with pytest.raises(MemoryError):
        empty((2**40, 2**40), dtype)
    with pytest.raises(MemoryError):
        empty((np.int64(2**40), np.int64(2**40)), dtype)


def test_a_block():
    with Workspace().borrow(1000) as block:
        assert block.address == block.bytes.ctypes.data and block.address % 64 == 0
        assert block.bytes.size >= 1000
        array = block.array((5, 7), "float32", 64)
        assert array.ctypes.data == block.address + 64
        array[:] = 3
        with pytest.raises((ValueError, TypeError)):
            block.array((10**6,), "float32")


def test_memory_is_used_again():
    pool = Workspace()
    with pool.borrow(5000) as block:
        first = block.address
    for size in (5000, 1, 0, 8192):
        with pool.borrow(size) as block:
            assert block.address == first
    assert pool.held() == 8192


def test_two_borrowers_never_share():
    pool = Workspace()
    for _ in range(3):
        with pool.borrow(100) as a, pool.borrow(100) as b, pool.borrow(5000) as c:
            blocks = sorted((x.address, x.address + x.bytes.size) for x in (a, b, c))
            assert all(x[1] <= y[0] for x, y in pairwise(blocks))


def test_the_smallest_that_is_enough():
    pool = Workspace()
    with pool.borrow(100 * KIB) as big, pool.borrow(10 * KIB) as small:
        pass
    with pool.borrow(5 * KIB) as block:
        assert block is small
    with pool.borrow(50 * KIB) as block:
        assert block is big


def test_growing_leaves_nothing_behind():
    pool = Workspace()
    for size in range(KIB, 200 * KIB, KIB):
        with pool.borrow(size):
            assert pool.held() == 0
    assert pool.held() == 200 * KIB


def test_very_large_ones_go():
    pool = Workspace(keep=100 * KIB)
    with pool.borrow(101 * KIB) as block:
        gone = weakref.ref(block.bytes)
    del block
    gc.collect()
    assert gone() is None and pool.held() == 0
    with pool.borrow(60 * KIB), pool.borrow(60 * KIB):
        pass
    assert pool.held() == 60 * KIB


def test_few_are_kept():
    pool = Workspace()
    blocks = [pool.borrow(4096) for _ in range(20)]
    for block in blocks:
        with block:
            pass
    assert 0 < pool.held() <= 4 * 4096
    pool.clear()
    assert pool.held() == 0


def test_a_block_left_twice_is_lent_once():
    pool = Workspace()
    block = pool.borrow(10)
    for _ in range(2):
        with block:
            pass
    assert pool.held() == 4096
    with pool.borrow(10) as a, pool.borrow(10) as b:
        assert a.address != b.address


def test_an_exception_gives_it_back():
    pool = Workspace()
    with pytest.raises(RuntimeError), pool.borrow(10):
        raise RuntimeError
    assert pool.held() == 4096


def test_errors_leave_the_pool_whole():
    pool = Workspace()
    with pool.borrow(10) as block:
        pass
    with pytest.raises(ValueError, match="n_bytes=-1"):
        pool.borrow(-1)
    with pytest.raises(MemoryError):
        pool.borrow(2**62)
    with pool.borrow(10) as again:
        assert again.bytes.size == block.bytes.size


def test_a_pool_for_each_thread():
    pool = Workspace()
    with pool.borrow(10) as block:
        mine = block.address
    wrong: list[str] = []
    start = threading.Barrier(4)

    def use(number: int) -> None:
        start.wait()
        for i in range(300):
            with pool.borrow(8 * (i % 50 + 1)) as found:
                if found.address == mine:
                    wrong.append("the block of another thread")
                array = found.array((i % 50 + 1,), "int64")
                array[:] = number
                if (array != number).any():
                    wrong.append("another thread wrote here")

    users = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not wrong
    assert pool.held() == 4096
