"""Every layer: its shape and values against PyTorch's, what it prints, and what it refuses."""

from dataclasses import fields

import numpy as np
import pytest
from graph import interpreter
from grid import grid
from nn.networks import NETWORKS, TOKENS

from faltung import nn
from faltung.graph.initial import parameters
from faltung.graph.value import Graph
from faltung.nn.layer import DEEPEST
from faltung.nn.text import parse


def made(name: str, training: bool = False) -> Graph:
    net, shape = NETWORKS[name]
    return nn.build(net, shape, dtype="float64", training=training, tokens=name in TOKENS)


def batch(graph: Graph, samples: int = 3) -> np.ndarray:
    rng = np.random.default_rng(7)
    shape = (samples, *graph.input.shape)
    return rng.integers(0, 11, shape) if graph.input.kind == "int" else 2 * rng.normal(size=shape)


def anything(graph: Graph) -> dict[str, np.ndarray]:
    """Parameters none of which is 0 or 1, as they are after training."""
    rng = np.random.default_rng(5)
    drawn = parameters(graph, 3)
    for p in graph.parameters:
        if not isinstance(p.initial, str):
            drawn[p.name] = rng.uniform(0.5, 1.5, p.shape)
    return drawn


def test_every_layer_is_in_the_table() -> None:
    def within(layer: nn.Layer) -> set[str]:
        kinds = {type(layer).__name__}
        for field in fields(layer):
            value = getattr(layer, field.name)
            for part in value if isinstance(value, tuple) else [value]:
                if isinstance(part, nn.Layer):
                    kinds |= within(part)
        return kinds

    found = set().union(*(within(net) for net, _ in NETWORKS.values()))
    layers = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    assert found == layers - {"Layer", "Activation"}


@grid(name=NETWORKS, every=1)
def test_values_are_those_of_pytorch(name: str) -> None:
    pytest.importorskip("torch")
    from nn import twin

    graph = made(name)
    drawn, x = anything(graph), batch(graph)
    got = interpreter.run(graph, drawn, x)
    assert got.shape == (3, *graph.output.shape)
    want = twin.run(NETWORKS[name][0], graph, drawn, x)
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@grid(name=NETWORKS, every=1)
def test_values_in_training_are_those_of_pytorch(name: str) -> None:
    pytest.importorskip("torch")
    from nn import twin

    graph = made(name, training=True)
    drawn, x = anything(graph), batch(graph)
    known = interpreter.values(graph, drawn, x)
    want, heads, _ = twin.outputs(NETWORKS[name][0], graph, drawn, x)
    names = [graph.output.name, *(auxiliary.output.name for auxiliary in graph.auxiliaries)]
    for value, tensor in zip(names, [want, *heads], strict=True):
        np.testing.assert_allclose(known[value], tensor.detach(), rtol=1e-9, atol=1e-10)


@grid(name=NETWORKS, every=1)
def test_what_a_layer_prints_reads_back(name: str) -> None:
    net, shape = NETWORKS[name]
    again = eval(repr(net), dict(vars(nn)))
    assert again == net
    tokens = name in TOKENS
    assert nn.build(again, shape, tokens=tokens) == nn.build(net, shape, tokens=tokens)


def test_print_leaves_out_what_is_usual() -> None:
    assert repr(nn.Conv(64, 3)) == "Conv(64, 3)"
    assert repr(nn.Conv(64, 3, padding="same", name="b3")) == (
        "Conv(64, 3, padding='same', name='b3')"
    )
    assert repr(nn.Sequential(nn.ReLU(), nn.Linear(10), name="head")) == (
        "Sequential(ReLU(), Linear(10), name='head')"
    )
    assert repr(nn.Residual(nn.Identity())) == "Residual(Identity())"


def test_dropout_is_there_in_training_alone() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(2))
    assert len(nn.build(net, (2, 3, 3)).nodes) == 1
    graph = nn.build(net, (2, 3, 3), training=True)
    x = np.ones((500, 2, 3, 3))
    known = interpreter.values(graph, parameters(graph), x, {"dropout1.key": np.int64(8)})
    dropped = known[graph.nodes[0].output.name]
    assert set(np.unique(dropped)) == {0.0, 1 / 0.7}
    assert abs(dropped.mean() - 1) < 0.02


def test_stochastic_depth_leaves_out_whole_samples_in_training_alone() -> None:
    net = nn.Residual(nn.Sequential(nn.Conv(2, 1, bias=False, name="one"), nn.StochasticDepth(0.3)))
    assert len(nn.build(net, (2, 3, 3)).nodes) == 2
    graph = nn.build(net, (2, 3, 3), training=True)
    x = np.ones((500, 2, 3, 3))
    key = "residual1.sequential1.stochasticdepth1.key"
    weight = {"residual1.sequential1.one.weight": np.ones((2, 2, 1, 1))}
    found = interpreter.run(graph, weight, x, outside={key: np.int64(8)})
    each = found.reshape(500, -1)
    assert (each == each[:, :1]).all()
    kept = each[:, 0] > 1
    np.testing.assert_allclose(each[kept], 1 + 2 / 0.7)
    np.testing.assert_allclose(each[~kept], 1)
    assert abs(kept.mean() - 0.7) < 0.07


# Refusals -----------------------------------------------------------------------------------------

SMALL = nn.Sequential(nn.MaxPool(2, name="pool2"), nn.Conv(4, 5, name="b3"))
REFUSED: list[tuple[nn.Layer, tuple[int, ...], str]] = [
    (SMALL, (3, 6, 6), "Conv 'b3' needs at least 5x5, got 3x3 after 'pool2'"),
    (nn.Conv(4, (3, 7), padding=1), (3, 4, 4), "Conv 'conv1' needs at least 1x5, got 4x4 from the"),
    (nn.Conv(4, 3, dilation=3), (1, 6), "Conv 'conv1' needs at least 7, got 6 from the input"),
    (nn.MaxPool(4), (1, 3, 9), "MaxPool 'maxpool1' needs at least 4x4, got 3x9 from the input"),
    (
        nn.MaxPool(4, stride=2, ceil=True),
        (1, 2),
        "MaxPool 'maxpool1' needs at least 3, got 2 from the",
    ),
    (nn.AvgPool(3), (1, 2), "AvgPool 'avgpool1' needs at least 3, got 2 from the input"),
    (nn.Local(2, 3), (1, 2), "Local 'local1' needs at least 3, got 2 from the input"),
    (nn.Conv(4, 3), (3,), "Conv 'conv1' needs (channels, *space), got (3,) from the input"),
    (
        nn.Sequential(nn.Flatten(), nn.Conv(4, 3)),
        (3, 4),
        "Conv 'conv1' needs (channels, *space), got (12,) after 'conv1'",
    ),
    (nn.GlobalAvgPool(), (3,), "GlobalAvgPool 'globalavgpool1' needs (channels, *space), got (3,)"),
    (
        nn.Sequential(nn.Conv(2, 1), nn.Linear(4)),
        (3, 4, 4),
        "Linear 'linear1' needs a vector, got (2, 4, 4) after 'conv1': put Flatten() before it",
    ),
    (
        nn.Sequential(nn.Conv(6, 1, name="a"), nn.Conv(4, 3, groups=4)),
        (3, 4, 4),
        "groups=4: must divide the 6 channels that Conv 'conv1' gets after 'a'",
    ),
    (
        nn.ConvTranspose(4, 3, groups=3),
        (3, 4),
        "groups=3: must divide the channels of ConvTranspose 'convtranspose1', 3 in and 4 out",
    ),
    (
        nn.GroupNorm(4),
        (6, 2),
        "groups=4: must divide the 6 channels that GroupNorm gets from the input "
        "(in GroupNorm 'groupnorm1')",
    ),
    (nn.Conv(0, 3), (3, 4), "channels=0: must be at least 1 (in Conv 'conv1')"),
    (
        nn.Conv(4, 3, padding=4, padding_mode="reflect"),
        (3, 4),
        "padding=(4, 4): reflect padding must be at most 3 on an axis of size 4; "
        "faltung.ndimage has borders of any width (in Conv 'conv1')",
    ),
    (
        nn.Sequential(nn.Sequential(nn.Conv(2, 3, stride=0), name="stem")),
        (3, 4),
        "stride=0: every stride must be at least 1 (in Conv 'stem.conv1')",
    ),
    (
        nn.MaxPool(2, padding=2),
        (1, 6),
        "padding=(2, 2): output 0 would see nothing but padding",
    ),
    (
        nn.Parallel(nn.Conv(2, 1), nn.Sequential(nn.MaxPool(2), name="half")),
        (3, 4, 4),
        "Parallel 'parallel1': branches must have one size, got 4x4 after 'parallel1.conv1', 2x2 "
        "after 'parallel1.half.maxpool1'",
    ),
    (
        nn.Parallel(nn.Identity(), nn.GlobalAvgPool()),
        (3, 4, 4),
        "Parallel 'parallel1': branches must have one size, got 4x4 from the input, none after "
        "'parallel1.globalavgpool1'",
    ),
    (
        nn.Residual(nn.Conv(4, 1)),
        (3, 4),
        "Residual 'residual1': body and shortcut must have one shape, got (4, 4) after "
        "'residual1.conv1' and (3, 4) from the input",
    ),
    (nn.Embedding(5, 2), (3,), "Embedding 'embedding1' needs tokens (length,), got (3,)"),
    (nn.Dropout(1.0), (3,), "rate=1.0: must be at least 0 and below 1 (in Dropout 'dropout1')"),
    (nn.BatchNorm(eps=0), (3,), "eps=0: must be above 0 (in BatchNorm 'batchnorm1')"),
    (nn.BatchNorm(momentum=2), (3,), "momentum=2: must be between 0 and 1"),
    (nn.LocalResponseNorm(k=0), (3, 2), "k=0: must be above 0"),
    (nn.LocalResponseNorm(alpha=-1), (3, 2), "alpha=-1: must be at least 0"),
    (nn.LeakyReLU(0), (3,), "slope=0: must be above 0 (in LeakyReLU 'leakyrelu1')"),
    (nn.ELU(-1), (3,), "alpha=-1: must be above 0 (in ELU 'elu1')"),
    (
        nn.GELU(approximate="fast"),
        (3,),
        "approximate='fast': must be 'none' or 'tanh' (in GELU 'gelu1')",
    ),
    (
        nn.Auxiliary(nn.Linear(2), weight=0),
        (3,),
        "weight=0: must be above 0 (in Auxiliary 'auxiliary1')",
    ),
    (nn.Upsample(), (3, 4), "size, scale: must be one of the two (in Upsample 'upsample1')"),
    (nn.Upsample(scale=2, size=3), (3, 4), "size, scale: must be one of the two"),
    (nn.Upsample(scale=0.1), (3, 4, 5), "scale=0.1: leaves nothing of (4, 5) (in Upsample"),
    (nn.Upsample(scale=(2, 2)), (3, 4), "scale=(2, 2): must be one number or 1, one for each axis"),
    (nn.Upsample(scale=-1.0), (3, 4), "scale=-1.0: must be above 0"),
    (
        nn.Upsample(scale=2, mode="bilinear"),
        (3, 4),
        "mode='bilinear': is for 2 spatial axes, the map",
    ),
    (
        nn.Upsample(scale=2, mode="fast"),
        (3, 4),
        "mode='fast': must be one of nearest, nearest-exact,",
    ),  # type: ignore[arg-type]
    (
        nn.Upsample(scale=2, align_corners=True),
        (3, 4),
        "align_corners=True: must be False with mode='n",
    ),
    (nn.Upsample(size=0), (3, 4), "size=0: every size must be at least 1 (in Upsample"),
    (
        nn.Upsample(scale=2),
        (3,),
        "Upsample 'upsample1' needs (channels, *space), got (3,) from the inp",
    ),
    (nn.Pad(-2), (3, 4), "padding=-2: leaves nothing of 4 (in Pad 'pad1')"),
    (nn.Pad((1, 2)), (3, 4), "padding=(1, 2): must be one int, or one entry for each of 1 axes"),
    (nn.Pad(((1, 2, 3),)), (3, 4), "padding=((1, 2, 3),): the padding of an axis is an int or (b"),
    (
        nn.Pad(1, mode="reflect", value=2.0),
        (3, 4),
        "value=2.0: must be 0 with mode='reflect' (in Pad 'pad1'",
    ),
    (nn.AdaptiveAvgPool((2, 2)), (3, 4), "size=(2, 2): must be one int or 1, one for each axis"),
    (nn.Blur(taps=0), (3, 4), "taps=0: must be from 1 to 64 (in Blur 'blur1')"),
    (nn.PixelShuffle(2), (6, 3, 3), "factor=2: 2**2 must divide the 6 channels (in PixelShuffle"),
    (nn.PixelUnshuffle(2), (6, 3, 3), "factor=2: must divide the sizes (3, 3) (in PixelUnshuffl"),
    (nn.PixelShuffle(0), (6, 3, 3), "factor=0: must be at least 1 (in PixelShuffle"),
    (nn.Identity(), (3,), "net: must have at least one layer that does something"),
    (
        nn.Sequential(nn.ReLU(name="a"), nn.ReLU(name="a")),
        (3,),
        "name='a': the name of a layer must be unique in its scope, not empty and without a dot",
    ),
    (nn.ReLU(name="a.b"), (3,), "name='a.b': the name of a layer must be unique"),
    (nn.ReLU(name=5), (3,), "name=5: the name of a layer must be unique"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("net", "shape", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals_word_for_word(net: nn.Layer, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError) as error:
        nn.build(net, shape)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


TOKENLESS = (nn.Conv(4, 3), nn.ReLU(), nn.BatchNorm(), nn.MaxPool(2), nn.Linear(3), nn.Softmax())


@pytest.mark.parametrize("layer", TOKENLESS, ids=repr)
def test_tokens_are_for_an_embedding(layer: nn.Layer) -> None:
    with pytest.raises(ValueError, match=f"{type(layer).__name__.lower()}1' needs"):
        nn.build(layer, (6,), tokens=True)


def test_padding_index_must_be_a_row() -> None:
    with pytest.raises(ValueError, match=r"^padding_index=5: must be a row, 0 to 4 \(in Embedding"):
        nn.build(nn.Embedding(5, 2, padding_index=5), (3,), tokens=True)


def test_types_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^kernel='3': must be an int or a sequence of 2 ints "):
        nn.build(nn.Conv(4, "3"), (3, 4, 4))  # type: ignore[arg-type]
    with pytest.raises(
        TypeError, match=r"^net=.*: must be a layer of faltung.nn; write nn.Sequential"
    ):
        nn.build([nn.ReLU()], (3,))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^layers=3: must be layers$"):
        nn.Sequential(nn.ReLU(), 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^branches=\(\): must be at least one layer$"):
        nn.Parallel()


def test_layers_within_layers_have_a_limit() -> None:
    def nested(times: int) -> nn.Layer:
        net: nn.Layer = nn.ReLU()
        for _ in range(times):
            net = nn.Sequential(net)
        return net

    most = nested(DEEPEST - 1)
    assert parse(repr(most)) == most
    assert nn.build(most, (3,)).output.shape == (3,)
    said = f"^net: layers must not stand more than {DEEPEST} deep within each other$"
    with pytest.raises(ValueError, match=said):
        nn.build(nested(5000), (3,))
    with pytest.raises(ValueError, match=said):
        nn.build(nn.Residual(nn.Parallel(most)), (3,))
    with pytest.raises(ValueError, match=said):
        parse(repr(nested(DEEPEST)))
    for text in ("Sequential(" * 3000 + "ReLU()" + ")" * 3000, f"ReLU({'-' * 3000}1)", "(" * 90000):
        with pytest.raises(ValueError, match="is not the text of a network, or one of layers more"):
            parse(text)


def test_layers_one_after_the_other_have_none() -> None:
    net = parse(f"Sequential({'ReLU(), ' * 3000}ReLU(name='relu3002'), ReLU())")
    graph = nn.build(net, (3,))
    assert [node.layer for node in graph.nodes[-3:]] == ["relu3000", "relu3002", "relu3001"]
