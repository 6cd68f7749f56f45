"""A sample's bits do not depend on the batch that it is in, whatever becomes of the batch axis.

A batch of one has no axis in memory. What is fused and recognised, and which method computes it,
must not depend on that: both are looked at.
"""

from collections import Counter

import numpy as np
import pytest
from onnx_batches import CASES, Net
from onnx_models import numbers
from optional import optional

from faltung.onnx import OnnxModel, load

onnx = optional("onnx")

# What only looks at numbers, or moves them.
MOVES = ("View", "Permute")


def kinds(model: OnnxModel) -> list[Counter[str]]:
    """What the compiled parts of the last run consist of, but for moves."""
    programs = [r.program.compiled.inference for r in model._main.records if r.program is not None]
    return [
        Counter(n for node in each.nodes if (n := type(node.op).__name__) not in MOVES)
        for each in programs
    ]


@pytest.mark.parametrize("name", CASES)
def test_a_sample_has_the_bits_that_it_has_alone(name: str) -> None:
    shape, build = CASES[name]
    net = Net()
    model = load(net.file(shape, build(net, "x")))
    x = numbers(3, *shape, seed=1)
    found, made = [], []
    for batch in (1, 2, 3):
        (y,) = model.run({"x": x[:batch]})
        found.append(y)
        made.append(kinds(model))
    assert made[0] == made[1] == made[2]
    for y in found[1:]:
        assert np.array_equal(found[0], y[: len(found[0])], equal_nan=True)
