"""Two processes under torchrun: every rank has the same gradients, and those of eager PyTorch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from limits import limit

distributed = pytest.importorskip("torch.distributed")

TESTS = Path(__file__).parents[1]
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the two has seen."""
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this PyTorch has no gloo")
    folder = tmp_path_factory.mktemp("ranks")
    paths = [str(TESTS), *(path for path in sys.path if path)]
    command = "torch.distributed.run --nnodes 1 --nproc-per-node 2 --local-addr 127.0.0.1"
    command += " --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:0"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    if sys.platform in LOOPBACK:
        environment["GLOO_SOCKET_IFNAME"] = LOOPBACK[sys.platform]
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), str(TESTS / "torch_ddp.py"), str(folder)],
        capture_output=True,
        text=True,
        timeout=limit(240),
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads((folder / f"{rank}.json").read_text("utf-8")) for rank in range(2)]


def test_each_has_its_own_part(ranks):
    assert [seen["size"] for seen in ranks] == [2, 2]
    assert ranks[0]["eager"]["losses"] != ranks[1]["eager"]["losses"]


def test_the_number_of_threads_is_that_of_the_launcher(ranks):
    assert [seen["threads"] for seen in ranks] == [seen["asked"] for seen in ranks] == [1, 1]


@pytest.mark.parametrize("name", ["eager", "convolutions", "backend", "compiled"])
def test_gradients(ranks, name):
    for seen in ranks:
        assert (seen[name]["regions"] > 0) == (name != "eager")
        assert seen[name]["same"], "the ranks differ"
        assert seen[name]["gradients"] < 1e-4
        assert seen[name]["state"] < 1e-5
        assert seen[name]["losses"] == pytest.approx(seen["eager"]["losses"], abs=1e-5)
