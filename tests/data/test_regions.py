"""Arrays written a region at a time: what is finished stays finished, whatever is cut off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung.data import regions
from faltung.data.regions import Region, is_whole, misfit, regions_of
from faltung.data.zarr_store import Target, open_target

zarr = pytest.importorskip("zarr")

SHAPE = (10, 7)
VALUES = np.arange(70, dtype=np.float32).reshape(SHAPE)
CHUNKS = ((4, 4, 2), (7,))
REGIONS = list(regions_of(CHUNKS))


def opened(path: Path, task: str = "a task", **options: Any) -> Target:
    given: dict[str, Any] = {"shape": SHAPE, "dtype": np.float32, "chunks": (4, 4), **options}
    return open_target(path, task, **given)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"zarr_format": 2},
        {"chunks": (2, 2), "shards": (4, 8)},
        {"attributes": {"a": 1}, "fill_value": 5},
    ],
)
def test_a_region_at_a_time(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "group" / "0"
    for left in range(3, 0, -1):
        target = opened(path, **options)
        assert target.left(REGIONS) == REGIONS[3 - left :]
        target.write(REGIONS[3 - left], VALUES[REGIONS[3 - left]])
    assert not opened(path, **options).left(REGIONS)
    assert regions.read(path) == regions.Journal(
        "a task", frozenset(map(regions.ends, REGIONS)), False
    )
    target.finish()
    assert not opened(path, **options).left([REGIONS[0]])
    array = zarr.open_array(path, mode="r")
    assert np.array_equal(array[:], VALUES)
    assert dict(array.attrs) == options.get("attributes", {})


@pytest.mark.parametrize("kept", range(0, 34))
def test_a_line_that_was_cut_off(tmp_path: Path, kept: int) -> None:
    target = opened(tmp_path / "a")
    journal = tmp_path / "a" / regions.NAME
    target.write(REGIONS[0], VALUES[REGIONS[0]])
    before = journal.stat().st_size
    target.write(REGIONS[1], VALUES[REGIONS[1]])
    line = journal.read_bytes()[before:]
    journal.write_bytes(journal.read_bytes()[: before + min(kept, len(line))])
    found = opened(tmp_path / "a").left(REGIONS)
    assert found == REGIONS[1 if kept < len(line) - 1 else 2 :]
    target.write(REGIONS[2], VALUES[REGIONS[2]])  # and what comes after is read
    assert opened(tmp_path / "a").left(REGIONS) == found[:-1]


def test_a_process_killed_before_there_was_an_array(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    regions.begin(tmp_path / "a", "a task")
    (tmp_path / "a" / f"0.{'0' * 32}.partial").write_bytes(b"half")
    target = opened(tmp_path / "a")
    assert target.left(REGIONS) == REGIONS
    assert not list((tmp_path / "a").glob("*.partial"))


def test_what_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    opened(tmp_path / "a", "another").write(REGIONS[0], VALUES[REGIONS[0]])
    with pytest.raises(FileExistsError, match=r"was written by another task; name another, or"):
        opened(tmp_path / "a")
    assert opened(tmp_path / "a", overwrite=True).left(REGIONS) == REGIONS
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match=r"was written by something else"):
        opened(tmp_path / "b")
    with pytest.raises(FileExistsError, match=r"is no Zarr array, and not replaced"):
        opened(tmp_path / "b", overwrite=True)
    assert (tmp_path / "b" / "thesis.tex").exists()


def test_an_array_of_somebody_else(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", shape=SHAPE, chunks=(5, 7), dtype="f4", zarr_format=2)
    target = opened(tmp_path / "a", existing=True)
    assert target.unit == (5, 7)
    with pytest.raises(ValueError, match=r"must be \(10, 8\) of float32"):
        opened(tmp_path / "a", existing=True, shape=(10, 8))


def test_parts_of_chunks_are_refused(tmp_path: Path) -> None:
    target = opened(tmp_path / "a")
    for region, values in [
        ((slice(0, 3), slice(0, 7)), VALUES[:3]),
        ((slice(4, 8), slice(0, 5)), VALUES[4:8, :5]),
        ((slice(0, 4), slice(0, 7)), VALUES[:3]),
    ]:
        with pytest.raises(ValueError, match=r"^(region|values.shape)="):
            target.write(region, values)
    assert target.left(REGIONS) == REGIONS
    assert misfit(CHUNKS, (4, 4)) == "" == misfit(((10,), (7,)), (4, 4))
    assert misfit(((4, 6), (3, 4)), (4, 4)).startswith("axis 1 is cut at 3,")
    assert is_whole((slice(8, 10), slice(4, 7)), (4, 4), SHAPE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda head: b"",
        lambda head: b"{}",
        lambda head: head.replace(b"1", b"2"),
        lambda head: head + f"\n1:x {regions._checksum('1:x')}\n".encode(),
    ],
)
def test_no_journal(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    opened(tmp_path / "a")
    journal = tmp_path / "a" / regions.NAME
    journal.write_bytes(spoil(journal.read_bytes()))
    with pytest.raises(ValueError, match=r"not the journal of an array; remove it$"):
        opened(tmp_path / "a")


def test_regions_in_order() -> None:
    assert [region[0].start for region in REGIONS] == [0, 4, 8]
    empty: list[Region] = list(regions_of(()))
    assert empty == [()]
