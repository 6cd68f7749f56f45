"""On a cluster of this computer: two workers, one of which is killed; and threads of tasks.

The cluster is in a process of its own, because tests may not open sockets.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from limits import limit

from faltung.runtime.threads import get_threads, threads_to_use

pytest.importorskip("dask.array")
from faltung.dask.arrays import one_thread

# What a cluster computes must be what `faltung.conv` makes of the whole.
PROGRAM = """
import os, signal, sys, time
import dask.array as da, numpy as np, zarr
from distributed import Client, LocalCluster
import faltung, faltung.dask

GIVEN = {"dashboard_address": None, "memory_limit": 0}
rng = np.random.default_rng(0)
X = rng.standard_normal((1, 120, 160), dtype=np.float32)
W = rng.standard_normal((1, 1, 9, 9), dtype=np.float32)
MODES = "circular", "reflect"
WHOLE = faltung.conv(X, W, padding="same", padding_mode=MODES, precision="strict")

def slowly(block):
    time.sleep(0.01)
    return block

def lazy():
    # chunks that are all less than the kernel's reach, on both sides
    x = da.from_array(X, chunks=(1, 10, 10)).map_blocks(slowly)
    return faltung.dask.conv(x, W, padding="same", padding_mode=MODES)

def threads():
    given = dict(GIVEN, n_workers=1, threads_per_worker=2, processes=False)
    with LocalCluster(**given) as cluster, Client(cluster):
        assert lazy().compute().tobytes() == WHOLE.tobytes()

def processes(path):
    given = dict(GIVEN, n_workers=2, threads_per_worker=1, processes=True)
    with LocalCluster(**given) as cluster, Client(cluster) as client:
        later = client.compute(faltung.dask.to_zarr(lazy(), path, chunks=10, compute=False))
        begun = time.monotonic()
        while os.path.getsize(path + "/.faltung-regions") < 300:
            assert time.monotonic() - begun < float(sys.argv[2])
            time.sleep(0.005)
        assert not later.done()
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        later.result(float(sys.argv[2]))
    assert zarr.open_array(path, mode="r")[:].tobytes() == WHOLE.tobytes()

if __name__ == "__main__":
    threads()
    processes(sys.argv[1])
    print("whole")
"""


def test_a_worker_killed_in_the_middle(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("zarr")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = [sys.executable, str(program), str(tmp_path / "a.zarr"), str(limit(60))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=limit(200))
    assert done.stdout == "whole\n", done.stderr


def test_a_task_uses_one_thread() -> None:
    """A task in the main thread is alone, and uses all."""

    def seen() -> int:
        with one_thread():
            return threads_to_use()

    assert seen() == get_threads()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(seen).result() == 1
        assert pool.submit(threads_to_use).result() == get_threads()
