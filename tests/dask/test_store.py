"""Dask arrays to Zarr: whole chunks alone, and killed and gone on with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits import limit

da = pytest.importorskip("dask.array")
zarr = pytest.importorskip("zarr")
import faltung.dask  # noqa: E402
from faltung.data import regions  # noqa: E402

X = np.random.default_rng(0).standard_normal((60, 50), dtype=np.float32)


def lazy(chunks: Any = (20, 25)) -> Any:
    return faltung.dask.gaussian_filter(da.from_array(X, chunks=chunks), 1.5)


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (10, 5)}, {"chunks": 5, "shards": (20, 25)}, {"zarr_format": 2}],
)
def test_whole_arrays(tmp_path: Path, options: dict[str, Any]) -> None:
    faltung.dask.to_zarr(lazy(), tmp_path / "a", **options)
    expected = faltung.ndimage.gaussian_filter(X, 1.5)
    array = zarr.open_array(tmp_path / "a", mode="r")
    assert array[:].tobytes() == expected.tobytes()
    assert array.metadata.zarr_format == options.get("zarr_format", 3)
    assert np.array_equal(da.from_zarr(tmp_path / "a").compute(), expected)
    faltung.dask.to_zarr(lazy(), tmp_path / "a", **options)  # nothing is left to do


def test_later(tmp_path: Path) -> None:
    x = lazy()
    later = faltung.dask.to_zarr(x, tmp_path / "a", compute=False)
    assert not zarr.open_array(tmp_path / "a", mode="r")[:].any()
    later.compute()
    assert np.array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], x.compute())
    journal = regions.read(tmp_path / "a")
    assert journal is not None and journal.whole


@pytest.mark.parametrize(
    ("chunks", "options", "message"),
    [
        ((20, 25), {"chunks": (8, 25)}, r"axis 0 is cut at 20, .* x.rechunk\(\(16, 25\)\)$"),
        ((20, 25), {"chunks": 5, "shards": (30, 25)}, r"whole shards of .* x.rechunk\(\(30, 25\)"),
        (((10, 20, 30), 50), {}, r"axis 0 has \(10, 20, 30\).* or chunks= with 10 there$|axis 0"),
        (((16, 24, 20), 50), {}, r"must be alike along each axis.*x.rechunk\({0: 24}\), or .* 8 "),
        ((20, 25), {"chunks": 7, "shards": 9}, r"^shards=\(9, 9\): must be multiples"),
        ((20, 25), {"chunks": (1, 2, 3)}, r"^chunks="),
        ((20, 25), {"task": 3}, r"^task=3: must be a str"),
    ],
)
def test_chunks_that_do_not_fit(
    tmp_path: Path, chunks: Any, options: dict[str, Any], message: str
) -> None:
    if chunks[0] == (10, 20, 30):  # whole chunks of ten
        faltung.dask.to_zarr(lazy(chunks), tmp_path / "a")
        return
    with pytest.raises(faltung.FaltungError, match=message):
        faltung.dask.to_zarr(lazy(chunks), tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()


def test_into_an_array_that_is_there(tmp_path: Path) -> None:
    made = zarr.create_array(tmp_path / "a", shape=X.shape, chunks=(20, 50), dtype="f4")
    with pytest.raises(ValueError, match=r"axis 1 is cut at 25, .* pass x.rechunk\(\(20, 50\)\)$"):
        faltung.dask.to_zarr(lazy(), made)
    assert regions.read(tmp_path / "a") is None
    faltung.dask.to_zarr(lazy((40, 50)), made)
    assert np.array_equal(made[:], lazy().compute())
    memory = zarr.create_array(
        zarr.storage.MemoryStore(), shape=X.shape, chunks=X.shape, dtype="f4"
    )
    with pytest.raises(TypeError, match=r"must be a path, or a Zarr array in a local folder$"):
        faltung.dask.to_zarr(lazy(), memory)
    with pytest.raises(TypeError, match=r"^store=3: must be a path or a zarr.Array$"):
        faltung.dask.to_zarr(lazy(), 3)


def test_another_task_is_refused(tmp_path: Path) -> None:
    faltung.dask.to_zarr(lazy(), tmp_path / "a")
    with pytest.raises(FileExistsError, match=r"another task; .* pass task= in both$"):
        faltung.dask.to_zarr(lazy() + 1, tmp_path / "a")
    faltung.dask.to_zarr(lazy() + 1, tmp_path / "a", overwrite=True)
    assert np.array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], (lazy() + 1).compute())


# Killed -------------------------------------------------------------------------------------------

PROGRAM = """
import sys, time
from pathlib import Path
import dask.array as da, numpy as np, faltung.dask

here, pause = Path(sys.argv[1]), float(sys.argv[2])

def made(block_info=None):
    first = block_info[None]["array-location"][0][0]
    with open(here / "computed", "a") as file:
        file.write(f"{first}\\n")
    time.sleep(pause)
    return np.full((4, 30), first, np.float32) + np.arange(30, dtype=np.float32)

if __name__ == "__main__":
    x = da.map_blocks(made, chunks=((4,) * 20, (30,)), dtype=np.float32, meta=np.empty((0, 0)))
    y = faltung.dask.correlate1d(x, [1.0, 2.0, 4.0], axis=0, mode="constant")
    options = {"zarr_format": int(sys.argv[3])}
    faltung.dask.to_zarr(y, here / "a.zarr", task="test", **options)
    print("whole")
"""


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_killed_and_started_again(tmp_path: Path, zarr_format: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    journal = tmp_path / "a.zarr" / regions.NAME

    def start(pause: float) -> "subprocess.Popen[str]":
        words = [sys.executable, str(program), str(tmp_path), str(pause), str(zarr_format)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    process = start(0.1)
    begun, most = time.monotonic(), limit(60)
    while process.poll() is None and (not journal.exists() or journal.stat().st_size < 150):
        assert time.monotonic() - begun < most
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    found = regions.read(tmp_path / "a.zarr")
    assert found is not None and 0 < len(found.finished) < 20 and not found.whole
    before = len((tmp_path / "computed").read_text().split())
    again = start(0.0)
    assert again.communicate(timeout=limit(60))[0] == "whole\n"
    # What is finished is not computed again, except chunks beside what is not.
    assert len((tmp_path / "computed").read_text().split()) - before <= 20 - len(found.finished) + 3
    first = 4 * (np.arange(80) // 4)
    x = (first[:, None] + np.arange(30)).astype(np.float32)
    expected = faltung.ndimage.correlate1d(x, [1.0, 2.0, 4.0], axis=0, mode="constant")
    assert zarr.open_array(tmp_path / "a.zarr", mode="r")[:].tobytes() == expected.tobytes()
