"""The benchmark's modules of PyTorch give what the tests' own walk through the layers gives."""

import numpy as np
import pytest
from optional import optional

from benchmarks.network_problem import draw
from benchmarks.peers import Unable
from benchmarks.protocol import INFERENCE
from faltung import nn

torch = optional("torch")
TEXTS = (
    "lenet5 1x8x8 n2",
    "lenet5 1x8x8 n2 paper=True",
    "googlenet 1x8x8 n2 classes=4 width=0.125",
    "resnet18 3x8x8 n2 classes=4 width=0.125",
    "resnet50 3x16x16 n1 classes=4 width=0.125",
    "vgg16 3x8x8 n2 classes=4 width=0.125 hidden=16",
    "mobilenetv2 3x8x8 n2 classes=4 width=0.25",
    "volumes 1x8x8x8 n2 classes=4",
    "series 3x20 n2 classes=4",
    "tcn 3x20 n2 classes=4 channels=8",
)


@pytest.mark.parametrize("text", TEXTS)
def test_outputs(text: str) -> None:
    from nn import twin as walk

    from benchmarks.twin import twin

    problem = draw(text, INFERENCE)
    rank = problem.x.ndim - 2
    module = twin(problem.spec.net, rank, problem.parameters).double().eval()
    with torch.no_grad():
        got = module(torch.from_numpy(problem.x).double()).numpy()
    graph = problem.spec.graph(dtype="float64")
    want = walk.run(problem.spec.net, graph, problem.parameters, problem.x)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == sum(p.size for p in graph.parameters if p.trained)


def test_the_parameters_are_copies() -> None:
    from benchmarks.twin import twin

    problem = draw(TEXTS[0], INFERENCE)
    module = twin(problem.spec.net, 2, problem.parameters)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert all(np.any(value) for value in problem.parameters.values())


def test_what_has_no_twin_is_said() -> None:
    from benchmarks.twin import twin

    with pytest.raises(Unable, match="no twin for Softmax"):
        twin(nn.Sequential(nn.Softmax()), 2, {})
    with pytest.raises(ValueError, match="there are more"):
        twin(nn.Sequential(nn.ReLU()), 2, {"a": np.zeros(3, np.float32)})
