"""Maps read at computed points, exported: others compute the same."""

from typing import Any

import numpy as np
import pytest
from graph import interpreter
from graph.networks import anything
from graph.test_sample import Layer
from optional import optional

from faltung import nn
from faltung.formats.onnx_export import export_onnx
from faltung.geometry.axis import Axis
from faltung.geometry.errors import FaltungError
from faltung.geometry.sample import SampleSpec

onnx: Any = optional("onnx")
evaluator: Any = optional("onnx.reference")
runtime: Any = optional("onnxruntime")

WINDOWS = (Axis(5, 3, 2, 1, 1, 1), Axis(4, 2, 1, 2, 1, 0))
SPECS = {
    "windows": SampleSpec((5, 4), (3, 3, 6), groups=2, windows=WINDOWS, masked=True),
    "windows backwards": SampleSpec((5, 4), (3, 3, 6), windows=WINDOWS, backwards=True),
    "mirrored": SampleSpec((5, 4), (3, 2), "linear", "reflect", backwards=True),
    "mirrored with the border": SampleSpec((5, 4), (3, 2), "linear", "symmetric"),
    "border": SampleSpec((5, 4), (3, 6), "cubic", "replicate"),
    "nearest": SampleSpec((5, 4), (3, 6), "nearest", masked=True),
}


@pytest.mark.parametrize("name", SPECS)
def test_the_same_is_computed(name: str) -> None:
    """By ONNX Runtime, which has no DeformConv: there by ONNX's evaluator."""
    spec = SPECS[name]
    net = nn.Sequential(nn.Conv(2 * spec.groups, 1), Layer(spec))
    graph = nn.build(net, (3, *spec.size))
    drawn = anything(graph)
    data = export_onnx(graph, drawn)
    x = np.random.default_rng(3).normal(size=(2, *graph.input.shape)).astype(np.float32)
    if spec.windows:
        run = evaluator.ReferenceEvaluator(onnx.load_from_string(data))
    else:
        run = runtime.InferenceSession(data)
    (got,) = run.run(None, {"input": x})
    want = interpreter.run(graph, drawn, x)
    np.testing.assert_allclose(got, want, atol=1e-4 * (1 + abs(want).max()))


def test_what_onnx_has_not() -> None:
    spec = SampleSpec((3, 2, 4), (5,))
    graph = nn.build(nn.Sequential(nn.Conv(2, 1), Layer(spec)), (3, *spec.size))
    with pytest.raises(FaltungError, match=r"cannot be expressed in ONNX"):
        export_onnx(graph, anything(graph))
