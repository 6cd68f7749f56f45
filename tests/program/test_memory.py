"""The sum is no less than what training really takes, and refuses what cannot be had."""

import tracemalloc

import numpy as np
import pytest

from faltung import Model, nn
from faltung.geometry.errors import FaltungMemoryError
from faltung.program import memory
from faltung.program.memory import require_network, require_training, state_bytes
from faltung.program.optimizer import AdamW
from faltung.program.state import State

NET = nn.Sequential(nn.Conv(16, 3), nn.BatchNorm(), nn.ReLU(), nn.Flatten(), nn.Linear(10))


def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = []
    monkeypatch.setattr(memory, "require", lambda *given: found.append(given))
    return found


def test_the_bytes_of_a_state() -> None:
    for dtype in ("float32", "float64"):
        graph = nn.build(NET, (3, 9, 9), dtype=dtype, training=True)
        state = State(graph.parameters, dtype)
        assert state_bytes(graph.parameters, dtype) == state.memory.nbytes


def test_what_is_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    """weight 1,000,000 x 4 bytes = 4,000,000 and bias 1,000 x 4 bytes = 4,000, to 64 bytes: 4,032.

    Weights three times (themselves, a checkpoint, the best), gradients, two slots of AdamW and
    their copies; and a batch of 8 inputs of 1,000 numbers of 4 bytes, which the gradient reads
    again, with as many outputs.
    """
    found = asked(monkeypatch)
    graph = nn.build(nn.Linear(1000), (1000,), training=True)
    require_training(graph, len(AdamW.slots), 8)
    require_training(graph, len(AdamW.slots), 8, taken=True)
    state = 4_000_000 + 4_032
    assert found[0][0] == (3 + 1 + 4) * state + 8 * 1000 * 4
    assert found[1][0] == found[0][0] - state
    assert found[0][1] == (
        "net: 1,001,000 parameters, most in linear1.weight (1000, 1000), 8 samples of (1000,) at "
        "once: training"
    )
    require_network(graph)
    assert found[2][0] == 2 * state + 8 * 1_000_000


def test_activations_count(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(monkeypatch)
    graph = nn.build(nn.Sequential(nn.Conv(4, 1), nn.Conv(2, 1)), (1, 1000), training=True)
    require_training(graph, 0, 100_000)
    # Both inputs are kept: 1 and 4 channels of 1,000 numbers.
    assert found[0][0] >= 100_000 * 5 * 1000 * 4
    assert found[0][2] == "choose a smaller batch"


def test_nothing_is_taken_before_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faltung.runtime.memory.available", lambda: 10**7)
    monkeypatch.setattr("faltung.runtime.memory.CHECK_BYTES", 1)
    tracemalloc.start()
    try:
        with pytest.raises(FaltungMemoryError, match=r"linear1\.weight \(10000, 10000\)"):
            Model(nn.Linear(10_000), (10_000,))
        model = Model(nn.Linear(100), (2500,))  # 1 MB, of which training needs seven more
        with pytest.raises(FaltungMemoryError, match=r"samples of \(2500,\) at once: training"):
            monkeypatch.setattr("faltung.runtime.memory.available", lambda: 5 * 10**6)
            model.fit(np.zeros((4, 2500), np.float32), [0, 1, 2, 3], epochs=1, show=False)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_a_batch_larger_than_the_data_is_all_of_them() -> None:
    model = Model(nn.Linear(2), (3,))
    model.fit(np.ones((4, 3), np.float32), [0, 1, 0, 1], epochs=1, batch=10**18, show=False)


def test_a_program_is_summed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(nn.Sequential(nn.Conv(64, 1), nn.GlobalAvgPool()), (1, 512, 512))
    monkeypatch.setattr("faltung.runtime.memory.available", lambda: 1 << 20)
    with pytest.raises(FaltungMemoryError, match=r"batch=4: the program .* choose a smaller batch"):
        model.program(4)
