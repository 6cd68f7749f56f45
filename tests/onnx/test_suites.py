"""ONNX's own cases, random models and damaged files: samples of what the scripts beside run whole.

``tests/onnx_suite.py``, ``tests/onnx_random.py`` and ``tests/onnx_mutations.py``.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import onnx_mutations
import onnx_random
import onnx_suite
import pytest
from optional import optional

onnx = optional("onnx")


@pytest.mark.parametrize("kind", ["pytorch-operator", "simple"])
def test_what_is_supported_is_right(kind: str) -> None:
    onnx.ModelProto  # noqa: B018 - skips where it is not installed
    found = Counter(onnx_suite.outcome(case) == "passed" for case in onnx_suite.cases(kind))
    assert found[True] >= {"pytorch-operator": 30, "simple": 7}[kind]


def test_nodes_that_are_supported_are_right() -> None:
    onnx.ModelProto  # noqa: B018
    cases = onnx_suite.cases("node")[::17]
    passed = sum(onnx_suite.outcome(case) == "passed" for case in cases)
    assert passed >= 0.85 * len(cases)


@pytest.mark.parametrize("seed", range(12))
def test_random_models_are_right_or_unsupported(seed: int) -> None:
    onnx.ModelProto  # noqa: B018
    assert onnx_random.outcome(seed) in ("right", "unsupported")


@pytest.mark.parametrize("base", [onnx_mutations.model, onnx_mutations.model_in_parts])
def test_damaged_files_are_errors_of_one_line(base: Callable[[], Any]) -> None:
    onnx.ModelProto  # noqa: B018
    whole = base()
    assert onnx_mutations.outcome(whole.SerializeToString()) == "ran"
    found = Counter(onnx_mutations.outcome(onnx_mutations.mutated(whole, s)) for s in range(60))
    assert found["FaltungError"] > 30
