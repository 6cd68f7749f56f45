"""Whole programs on disk: the same bits as planned, and nothing that is not believed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung import nn
from faltung.geometry.record import dataclass
from faltung.graph.differentiate import differentiate
from faltung.graph.value import Graph
from faltung.jit import cache
from faltung.jit.target import current
from faltung.plan.binding import Laid
from faltung.plan.written import Unreadable, Written, values_written
from faltung.program import kept
from faltung.program.half_state import state_of
from faltung.program.inference import Inference
from faltung.program.kept import Restored, check, described
from faltung.program.optimizer import SGD, AdamW
from faltung.program.state import State
from faltung.program.training import Slots, TrainingStep

NET = nn.Sequential(
    nn.Conv(8, 3, padding="same"), nn.BatchNorm(), nn.ReLU(), nn.Conv(4, 1), nn.GlobalAvgPool()
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and source that does not change while tests run."""
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("FALTUNG_CACHE_KEY", raising=False)
    monkeypatch.setattr(cache, "fingerprint", lambda *_: "0" * 64)
    monkeypatch.setattr(kept, "_written", 0)
    return tmp_path / "kept"


def network(net: nn.Layer = NET, dtype: str = "float32") -> tuple[Graph, State]:
    graph = nn.build(net, (3, 9, 9))
    state = state_of(graph.parameters, dtype)
    rng = np.random.default_rng(0)
    state.update({p.name: 1 + rng.random(p.shape) for p in graph.parameters})
    return graph, state


def program(found: tuple[Graph, State], batch: int = 2, **options: Any) -> Inference:
    return Inference(*found, batch, keep=True, **options)


def files(place: Path) -> list[Path]:
    return sorted(place.glob("*.program"))


X = np.random.default_rng(1).random((2, 3, 9, 9)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("softmax", [False, True])
def test_inference_from_disk_has_the_same_bits(place: Path, dtype: str, softmax: bool) -> None:
    found = network(dtype=dtype)
    first = program(found, softmax=softmax)
    want = first(X).tobytes()
    again = program(found, softmax=softmax)
    assert not isinstance(first.running, Restored)
    assert isinstance(again.running, Restored)
    assert again(X).tobytes() == want
    lent = np.array(X[::-1])
    assert again(lent).tobytes() == first(lent).tobytes()
    found[1].update({name: 2 * value for name, value in found[1].all().items()})
    for each in (first, again):
        each.refresh()
    assert again(X).tobytes() == first(X).tobytes() != want
    assert again.nodes == first.nodes
    assert [s.title for s in again.assembly.steps] == [s.title for s in first.assembly.steps]
    assert len(files(place)) == 1 and not list(place.glob("*.plans"))


@pytest.mark.parametrize("optimizer", [SGD(0.9), AdamW(decay=0.01, clip=1.0)])
def test_training_from_disk_has_the_same_bits(place: Path, optimizer: Any) -> None:
    net = nn.Sequential(NET, nn.Dropout(0.3))
    rng = np.random.default_rng(3)
    y = rng.integers(0, 4, 2)
    ends, kinds = [], []
    for _ in range(2):
        graph = nn.build(net, (3, 9, 9), training=True)
        state = State(graph.parameters, "float32")
        state.update({p.name: np.full(p.shape, 0.1) for p in graph.parameters})
        slots = Slots(state, optimizer)
        step = TrainingStep(differentiate(graph), state, slots, 2, smoothing=0.1, keep=True)
        losses = [step(X, y, lr=0.1, step=number) for number in range(3)]
        ends.append((losses, state.memory.tobytes(), slots.gradients.tobytes()))
        kinds.append(type(step.running))
    assert ends[0] == ends[1]
    assert kinds[1] is Restored is not kinds[0]
    assert step.nodes and step.assembly.ends


def test_what_changes_a_program_changes_its_name(place: Path) -> None:
    found = network()
    program(found)
    other = network(nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.Conv(4, 1)))
    for each in (
        program(found, batch=3),
        program(found, softmax=True),
        program(found, precision="strict"),
        program(found, bands=False),
        program(network(dtype="float16")),
        program(other),
    ):
        assert not isinstance(each.running, Restored)
    assert len(files(place)) == 7


def test_a_file_that_is_damaged_is_planned_again(place: Path) -> None:
    found = network()
    want = program(found)(X).tobytes()
    (file,) = files(place)
    whole = file.read_bytes()
    for data in (b"", whole[:-9], whole[:200] + b"\0" + whole[201:], whole + b"x"):
        file.write_bytes(data)
        again = program(found)
        assert not isinstance(again.running, Restored)
        assert again(X).tobytes() == want
        assert file.read_bytes() == whole, "written again"


def test_without_a_kernel_it_is_planned_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = network()
    want = program(found)(X).tobytes()
    monkeypatch.setattr(kept, "linked", lambda *_: None)
    again = program(found)
    assert not isinstance(again.running, Restored)
    assert again(X).tobytes() == want


def _changed(data: bytes, name: str, change: Any) -> bytes:
    """A file that says something else, with a digest that fits."""
    payload = cache._unwrap(name, data)
    assert payload is not None
    file = Written(payload)
    values = {part: file.value(part) for part in file._plans}
    change(values)
    return cache._wrap(name, values_written(values))


def _laid(values: dict[str, Any]) -> list[Any]:
    values["every"] = made = list(values["every"])
    for number in range(1, 5):
        made[number] = made[number].copy()
    return made


def _place_beyond(values: dict[str, Any]) -> None:
    _laid(values)[2][0, 2] = 1 << 40


def _place_before(values: dict[str, Any]) -> None:
    _laid(values)[2][0, 2] = -8


def _other_slot(values: dict[str, Any]) -> None:
    _laid(values)[2][0, 1] = 99


def _position_in_the_headers(values: dict[str, Any]) -> None:
    _laid(values)[2][0, 0] = 2


def _other_kernel(values: dict[str, Any]) -> None:
    _laid(values)[3][0, 1] = 99


def _no_items(values: dict[str, Any]) -> None:
    _laid(values)[1][2] = -1


def _arguments_beyond(values: dict[str, Any]) -> None:
    _laid(values)[1][1] = 1 << 30


def _array_beyond(values: dict[str, Any]) -> None:
    name, (memory, _, *rest) = next(iter(values["arrays"].items()))
    values["arrays"] = {**values["arrays"], name: (memory, 1 << 30, *rest)}


def _smaller_arena(values: dict[str, Any]) -> None:
    values["memories"] = {**values["memories"], "arena": 64}


def _less(values: dict[str, Any]) -> None:
    del values["cycles"]


@pytest.mark.parametrize(
    "change",
    [
        _place_beyond,
        _place_before,
        _other_slot,
        _position_in_the_headers,
        _other_kernel,
        _no_items,
        _arguments_beyond,
        _array_beyond,
        _smaller_arena,
        _less,
    ],
)
def test_numbers_that_do_not_fit_are_not_used(place: Path, change: Any) -> None:
    found = network()
    want = program(found)(X).tobytes()
    (file,) = files(place)
    file.write_bytes(_changed(file.read_bytes(), file.stem, change))
    again = program(found)
    assert not isinstance(again.running, Restored)
    assert again(X).tobytes() == want


def test_steps_must_be_steps() -> None:
    none = np.zeros((0, 3), np.int64), np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64)
    check(Laid(0, np.zeros(0, np.int64), *none, (), ()), [])
    with pytest.raises(Unreadable):
        check(Laid(1, np.zeros(3, np.int64), *none, (), ()), [])


def test_words_say_all_that_is_compared() -> None:
    @dataclass(frozen=True)
    class Here:
        a: float

    seen = [described(v, {}) for v in (0.0, -0.0, 0, False, "0", (0,), {0: 1}, Here(0.0), None)]
    assert len(set(seen)) == len(seen)
    with pytest.raises(Unreadable):
        described((1, object()), {})


def test_a_process_writes_few(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_FILES", 2)
    found = network()
    for batch in (1, 2, 3):
        program(found, batch)
    assert len(files(place)) == 2


def test_nothing_is_kept_where_it_is_not_wanted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Inference(*network(), 2)
    monkeypatch.setenv("FALTUNG_CACHE_KEY", "text")
    program(network())
    monkeypatch.delenv("FALTUNG_CACHE_KEY")
    monkeypatch.setenv("FALTUNG_CACHE", "off")
    program(network())
    assert not files(place)
    assert kept.key(current(), 1) is None
