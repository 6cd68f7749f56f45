"""A disk that fails at every call about the cache: nothing wrong is ever loaded, nothing raised."""

import errno
import os
from pathlib import Path

import faults
import pytest
from grid import grid

from faltung.jit import cache

pytestmark = pytest.mark.skipif(os.name == "nt", reason="calls of POSIX")

NAME, OLD, NEW = "ab" * 32, b"the old code" * 50, b"the new code" * 70


@grid(at=range(1, 40), code=[errno.EIO, errno.ENOSPC], forever=[False, True], every=4)
def test_stored_or_not(
    at: int, code: int, forever: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / f"{at} {code} {forever}"
    monkeypatch.setenv("FALTUNG_CACHE", str(place))
    assert cache.store(NAME, OLD)
    with faults.disk(place, at, code=code, forever=forever) as disk:
        stored = cache.store(NAME, NEW)
        found = cache.load(NAME)
    assert found in (OLD, NEW, None)
    if not disk.failed:
        assert stored and found == NEW
    again = cache.load(NAME)
    assert again == (NEW if stored else OLD)
    left = [name for name in os.listdir(place) if name.endswith(".part")]
    assert not left or forever


def test_half_of_what_was_asked_is_written_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "cache"
    monkeypatch.setenv("FALTUNG_CACHE", str(place))
    with faults.disk(place) as disk:
        assert cache.store(NAME, NEW)
    assert sum(event[0] == "write" for event in disk.events) > 3
    assert cache.load(NAME) == NEW
