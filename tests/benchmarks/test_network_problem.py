"""The arrays of a network, and how answers are compared."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.network_problem import FOLDER, draw
from benchmarks.protocol import INFERENCE, STEP
from faltung.graph.initial import parameters

TEXT = "resnet18 3x8x8 n2 classes=5 width=0.125"


def test_arrays_are_the_same_in_every_process() -> None:
    first, second = draw(TEXT, INFERENCE), draw(TEXT, INFERENCE)
    assert first.x.shape == (2, 3, 8, 8) and first.x.dtype == np.float32
    assert first.output_shape == (2, 5)
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.labels, second.labels)
    for name, value in first.parameters.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, second.parameters[name])


def test_arrays_are_kept_for_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = draw(TEXT, INFERENCE)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    made, found = draw(TEXT, INFERENCE), draw(TEXT, INFERENCE)
    assert len(list(tmp_path.iterdir())) == 1
    assert list(plain.parameters) == list(made.parameters) == list(found.parameters)
    for name, value in plain.parameters.items():
        np.testing.assert_array_equal(value, made.parameters[name])
        np.testing.assert_array_equal(value, found.parameters[name])


def test_training_begins_with_the_first_values() -> None:
    problem = draw(TEXT, STEP)
    for name, value in parameters(problem.spec.graph()).items():
        np.testing.assert_array_equal(problem.parameters[name], value)


def test_no_normalisation_does_nothing_at_inference() -> None:
    problem = draw(TEXT, INFERENCE)
    constant = [p.name for p in problem.spec.graph().parameters if not isinstance(p.initial, str)]
    assert any("running_var" in name for name in constant)
    for name in constant:
        value = problem.parameters[name]
        assert np.ptp(value) > 0.01
        assert value.min() > 0.4 or np.abs(value).max() <= 0.1


def test_losses_are_compared_one_by_one() -> None:
    problem = draw("lenet5 1x8x8 n2", STEP)
    want = np.array([2.0, 1.0, 0.001])
    error = problem.error(want + np.array([0, 0, 2e-6]), want)
    assert error == pytest.approx(2e-3) and error > problem.limit
    assert problem.error(want * (1 + 1e-5), want) < problem.limit
    with pytest.raises(ValueError, match=r"shape=\(2,\)"):
        problem.error(want[:2], want)


def test_outputs_are_compared_as_those_of_layers() -> None:
    problem = draw("lenet5 1x8x8 n2", INFERENCE)
    want = np.random.default_rng(0).standard_normal((2, 10))
    error = problem.error(want * (1 + 1e-5), want)
    assert error == pytest.approx(1e-5) and error < problem.limit
