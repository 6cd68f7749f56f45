"""Plans on disk: the next process has them, and believes nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits import limit

from faltung import nn, parse
from faltung.graph.value import Graph
from faltung.jit import cache
from faltung.jit.target import current
from faltung.methods.base.correlation import contiguous
from faltung.plan import shelf
from faltung.plan.build import build_forward
from faltung.plan.choose import AUTO, Policy
from faltung.plan.plan import Plan
from faltung.plan.shelf import Shelf
from faltung.program.inference import Inference
from faltung.program.state import State

SPEC = parse("n2 c8>8 12x12 k3 p1")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and source that does not change while tests run."""
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("FALTUNG_CACHE_KEY", raising=False)
    monkeypatch.setattr(cache, "fingerprint", lambda *_: "0" * 64)
    monkeypatch.setattr(shelf, "_taken", 0)
    monkeypatch.setattr(shelf, "_waiting", [])
    monkeypatch.setattr(shelf, "_known", {})
    return tmp_path / "kept"


def made(about: str = "a program", policy: Policy = AUTO) -> tuple[Plan, Shelf]:
    """A plan as a new process would get it."""
    shelf._known.clear()
    found = Shelf(current(), policy, [about])
    x, out = contiguous(SPEC.input_shape, True), contiguous(SPEC.output_shape, True)
    named: dict[str, Any] = {"bias": True}
    w = contiguous(SPEC.weight_shape, False)
    return found.plan(build_forward, (SPEC, x, w, out), named), found


def kept(about: str = "a program") -> tuple[Plan, Shelf]:
    plan, found = made(about)
    found.save()
    shelf.write_all()
    return plan, found


def files(place: Path) -> list[Path]:
    return sorted(place.glob("*.plans"))


def test_plans_from_disk_are_those_that_were_made(place: Path) -> None:
    first, one = kept()
    assert one._file is None
    (file,) = files(place)
    before = file.stat().st_mtime_ns
    second, two = kept()
    assert two._file is not None
    assert not two._made
    assert str(second) == str(first)
    assert [repr(s.recipe) for s in second.work.steps] == [repr(s.recipe) for s in first.work.steps]
    assert file.stat().st_mtime_ns == before, "nothing new, nothing written"


def test_in_memory_they_are_one() -> None:
    first, _ = made()
    again = Shelf(current(), AUTO, ["another program"])
    x, out = contiguous(SPEC.input_shape, True), contiguous(SPEC.output_shape, True)
    w = contiguous(SPEC.weight_shape, False)
    assert again.plan(build_forward, (SPEC, x, w, out), {"bias": True}) is first
    assert again.plan(build_forward, (SPEC, x, w, out), {"bias": False}) is not first


def test_other_programs_and_other_source_do_not_meet(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept()
    assert made("another")[1]._made
    assert made(policy=Policy(precision="strict"))[1]._made
    monkeypatch.setattr(cache, "fingerprint", lambda *_: "1" * 64)
    assert made()[1]._made
    monkeypatch.setattr(cache, "fingerprint", lambda *_: None)
    assert made()[1]._made


HARM = ["cut", "changed", "renamed", "other", "link", "writable", "empty"]


@pytest.mark.parametrize("harm", HARM)
def test_a_file_that_is_not_as_it_was_is_ignored(place: Path, harm: str) -> None:
    want, _ = kept()
    (file,) = files(place)
    data = file.read_bytes()
    if harm == "cut":
        file.write_bytes(data[:-9])
    elif harm == "changed":
        file.write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    elif harm == "renamed":
        kept("another")
        other = next(path for path in files(place) if path != file)
        file.write_bytes(other.read_bytes())
    elif harm == "other":  # intact, under the right name, and no plans
        cache.store(file.stem, b"not plans", shelf.KIND)
    elif harm == "link":
        file.rename(place / "elsewhere")
        file.symlink_to(place / "elsewhere")
    elif harm == "writable":
        file.chmod(0o666)
    else:
        file.write_bytes(b"")
    found, store = kept()
    assert store._file is None
    assert str(found) == str(want)
    assert made()[1]._file is not None, "it was replaced"


def test_a_plan_that_does_not_fit_its_question_is_made_again(place: Path) -> None:
    kept()
    (file,) = files(place)
    data = cache.load(file.stem, shelf.KIND)
    assert data is not None
    cache.store(file.stem, data.replace(b'["t",', b'["q",'), shelf.KIND)
    found, store = kept()
    assert store._file is not None
    assert found.work.steps


def test_further_programs_are_written_at_the_end(place: Path) -> None:
    for number in range(3):
        made(str(number))[1].save()
        assert len(files(place)) == 1
    shelf.write_all()
    assert len(files(place)) == 3
    for number in range(3):
        assert made(str(number))[1]._file is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_does_not_write_those_of_its_parent(place: Path) -> None:
    script = """
import os
from faltung import Model, nn
from faltung.program.inference import Inference
model = Model(nn.Conv(8, 3), (3, 12, 12), seed=1)
for batch in (1, 2):
    Inference(model.graph, model.state, batch)
from faltung.plan import shelf
assert len(shelf._waiting) == 1
child = os.fork()
if not child:
    os._exit(len(shelf._waiting))
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run(
        [sys.executable, "-c", script], env=environment(place), check=True, timeout=limit(60)
    )
    assert len(files(place)) == 2


def test_nothing_is_kept_where_code_is_not(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FALTUNG_CACHE_KEY", "text"), ("FALTUNG_CACHE", "off")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            kept()
    assert not files(place)


def test_a_process_writes_those_of_a_few_programs(place: Path) -> None:
    for number in range(shelf.MOST_FILES + 3):
        kept(str(number))
    assert len(files(place)) == shelf.MOST_FILES


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MOST", 3)
    found = Shelf(current(), AUTO)
    for size in range(5, 15):
        shape = (1, 1, size)
        strides = (size, size, 1)
        spec = parse(f"c1>1 {size} k1")
        assert found.plan(build_forward, (spec, strides, (1, 1, 1), strides), {"bias": False})
        assert shape
    assert len(shelf._known) == 3


def network() -> tuple[Graph, State]:
    graph = nn.build(nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.Conv(4, 1)), (3, 9, 9))
    state = State(graph.parameters, graph.dtype)
    rng = np.random.default_rng(0)
    state.update({p.name: rng.standard_normal(p.shape) for p in graph.parameters})
    return graph, state


def test_programs_use_them(place: Path) -> None:
    graph, state = network()
    x = np.ones((2, 3, 9, 9), np.float32)
    want = Inference(graph, state, 2)(x)
    assert len(files(place)) == 1
    shelf._known.clear()
    program = Inference(graph, state, 2)
    assert program.assembly.lowering.shelf._file is not None
    assert not program.assembly.lowering.shelf._made
    assert program(x).tobytes() == want.tobytes()


SCRIPT = """
import numpy as np
from faltung import Model, nn
from faltung.program.inference import Inference
net = nn.Sequential(nn.Conv(8, 3, padding=1), nn.BatchNorm(), nn.ReLU(), nn.Conv(16, 3))
model = Model(net, (3, 12, 12), seed=1)
whole = model.program(batch=3)
planned = Inference(model.graph, model.state, 3)
x = np.ones((3, 3, 12, 12), np.float32)
assert planned(x).tobytes() == whole(x).tobytes()
print(whole(x).tobytes().hex(), type(whole.running).__name__)
"""


def environment(place: Path) -> dict[str, str]:
    own = {"FALTUNG_CACHE": str(place), "PYTHONPATH": os.pathsep.join(sys.path)}
    return {k: v for k, v in os.environ.items() if k != "FALTUNG_CACHE_KEY"} | own


def test_processes_at_once(tmp_path: Path) -> None:
    """Several that begin together, and one after them: plans, and whole programs."""
    own = environment(tmp_path / "together")

    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True)

    processes = [start() for _ in range(3)]
    outputs = [process.communicate(timeout=limit(120))[0] for process in processes]
    outputs.append(start().communicate(timeout=limit(120))[0])
    assert all(outputs)
    assert len({text.split()[0] for text in outputs}) == 1
    assert outputs[-1].split()[1] == "Restored"
    assert len(files(tmp_path / "together")) == 1
    assert len(list((tmp_path / "together").glob("*.program"))) == 1
    assert not list((tmp_path / "together").glob(".*.part"))
