"""The attention layer: PyTorch's own module with the same weights, and what it refuses."""

import numpy as np
import pytest
from graph import interpreter
from optional import optional

from faltung import Model, nn
from faltung.geometry.errors import FaltungError
from faltung.graph.initial import parameters

torch = optional("torch")


@pytest.mark.parametrize(("heads", "shape"), [(1, (6, 5)), (3, (12, 4, 5)), (8, (32, 2, 3, 2))])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_multihead_attention(heads: int, shape: tuple[int, ...], bias: bool) -> None:
    channels = shape[0]
    theirs = torch.nn.MultiheadAttention(channels, heads, bias=bias, batch_first=True).double()
    graph = nn.build(nn.Attention(heads, bias=bias), shape)
    given = {
        "attention1.qkv.weight": theirs.in_proj_weight,
        "attention1.out.weight": theirs.out_proj.weight,
        "attention1.qkv.bias": theirs.in_proj_bias,
        "attention1.out.bias": theirs.out_proj.bias,
    }
    given = {p.name: given[p.name].detach().numpy().reshape(p.shape) for p in graph.parameters}
    x = np.random.default_rng(0).normal(size=(3, *shape))
    rows = torch.tensor(x).flatten(2).mT
    want = theirs(rows, rows, rows)[0].mT.reshape(x.shape).detach().numpy()
    np.testing.assert_allclose(interpreter.run(graph, given, x), want, atol=1e-13)
    model = Model(nn.Attention(heads, bias=bias), shape, dtype="float64")
    model.state.update(given)
    model.changed()
    np.testing.assert_allclose(model.program(3)(x), want, atol=1e-13)


def test_fewer_heads_of_keys_have_fewer_parameters() -> None:
    graph = nn.build(nn.Attention(4, kv_heads=2), (8, 5))
    shapes = {p.name: p.shape for p in graph.parameters}
    assert shapes["attention1.qkv.weight"] == (16, 8, 1)
    assert set(parameters(graph)) == set(shapes)


@pytest.mark.parametrize(
    ("layer", "shape", "says"),
    [
        (nn.Attention(3), (8, 5), "heads=3: must divide the 8 channels"),
        (nn.Attention(4, kv_heads=3), (8, 5), "kv_heads=3: must divide the 4 heads"),
        (nn.Attention(0), (8, 5), "heads=0"),
        (nn.Attention(2), (8,), "needs a map with positions"),
    ],
)
def test_what_it_refuses(layer: nn.Layer, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(FaltungError, match=says):
        nn.build(layer, shape)
