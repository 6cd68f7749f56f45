"""A sample's bits do not depend on the batch that it is in, whatever becomes of the batch axis.

A batch of one has no axis in memory. What is fused and recognised, and which method computes it,
must not depend on that: both are looked at.
"""

import pytest
from onnx_batches import CASES, Net, differences
from onnx_batches_random import made
from onnx_models import agree, numbers
from optional import optional

onnx = optional("onnx")


@pytest.mark.parametrize("name", CASES)
def test_a_sample_has_the_bits_that_it_has_alone(name: str) -> None:
    shape, build = CASES[name]
    net = Net()
    data = net.file(shape, build(net, "x"))
    x = numbers(3, *shape, seed=1)
    assert not differences(data, x)
    agree(data, {"x": x})


@pytest.mark.parametrize("seed", range(40))
def test_so_it_has_in_random_models(seed: int) -> None:
    data, shape, in_front = made(seed)
    assert not differences(data, numbers(3, *shape, seed=seed), in_front)
