"""Linear algebra on one thread: set for a while, and set back."""

import numpy as np
import pytest

from faltung.runtime.blas import _libraries, blas_on_one_thread


def counts() -> list[int]:
    return [get() for get, _ in _libraries()]


def test_the_bits_do_not_depend_on_the_threads_of_blas() -> None:
    if not _libraries():
        pytest.skip("NumPy does not use OpenBLAS here")
    before, found = counts(), []
    matrix = np.random.default_rng(0).standard_normal((300, 500))
    try:
        for threads in (1, 2, 5):
            for _, change in _libraries():
                change(threads)
            with blas_on_one_thread():
                assert set(counts()) == {1}
                with blas_on_one_thread():
                    found.append([a.tobytes() for a in np.linalg.eigh(matrix @ matrix.T)])
                assert set(counts()) == {1}
            assert set(counts()) == {threads}
    finally:
        for (_, change), count in zip(_libraries(), before, strict=True):
            change(count)
    assert found[0] == found[1] == found[2]


def test_it_is_set_back_after_an_error() -> None:
    before = counts()
    with pytest.raises(ZeroDivisionError), blas_on_one_thread():
        raise ZeroDivisionError
    assert counts() == before
