"""What parts of networks read, against the receptive fields of layers, and what is refused."""

import pytest

from faltung import nets, nn
from faltung.graph.value import Graph, Node
from faltung.graph.windows import circular, cut, period, why_whole


def ones(node: Node) -> tuple[int, ...]:
    return (1,) * len(node.output.space)


def reads(graph: Graph, window: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    return cut(graph.nodes, graph.inputs, graph.outputs, window, ones).windows["input"]


def test_one_unit_reads_its_receptive_field() -> None:
    net = nn.Sequential(
        nn.Conv(4, 3, padding=1, dilation=2), nn.MaxPool(3, stride=2), nn.Conv(4, 5, stride=2)
    )
    graph = nn.build(net, (1, 200, 190))
    fields = graph.fields[graph.output.name]
    assert fields is not None
    window = ((10, 11), (12, 13))
    assert reads(graph, window) == tuple(
        field.interval(span[0]) for field, span in zip(fields, window, strict=True)
    )


def test_windows_of_branches_are_joined() -> None:
    net = nn.Parallel(nn.Conv(2, 1), nn.Conv(2, 7, padding=3), nn.Conv(2, (1, 3), padding=(0, 1)))
    graph = nn.build(net, (1, 50, 50))
    assert reads(graph, ((20, 30), (0, 10))) == ((17, 33), (0, 13))


def test_u_net_reads_what_its_bottom_sees() -> None:
    graph = nets.graph("unet", input_shape=(1, 512, 512))
    # Two entries a layer, of 1, 2, 4, 8 and 16 positions on the way down and up again, and one for
    # what a transposed convolution of two taps shares.
    assert reads(graph, ((256, 272), (256, 272))) == ((162, 366), (162, 366))
    assert reads(graph, ((0, 512), (0, 512))) == ((0, 512), (0, 512))


def test_parts_have_the_padding_of_true_ends_alone() -> None:
    graph = nn.build(nn.Conv(2, 5, padding=2), (1, 30))
    for window, padding in (((0, 9),), (2, 0)), (((9, 20),), (0, 0)), (((20, 30),), (0, 2)):
        made = cut(graph.nodes, graph.inputs, graph.outputs, window, ones)
        (node,) = made.nodes
        (axis,) = node.op.spec.axes  # type: ignore[union-attr]
        assert (axis.lo, axis.hi) == padding


def test_a_grid_widens_what_is_made_and_the_rest_is_left_out() -> None:
    graph = nn.build(nn.Conv(2, 3, padding=1), (1, 30))
    made = cut(graph.nodes, graph.inputs, graph.outputs, ((5, 6),), lambda node: (4,))
    assert made.windows[graph.output.name] == ((4, 8),)
    assert made.windows["input"] == ((3, 9),)
    assert made.outputs[0].shape == (2, 1)


def test_periods() -> None:
    def of(net: nn.Layer, *shape: int) -> tuple[int, ...]:
        graph = nn.build(net, shape)
        return period(graph.nodes, graph.outputs, ones)

    assert of(nn.Conv(2, 3, stride=(2, 3)), 1, 40, 40) == (1, 1)
    assert of(nets.get("unet", input_shape=(1, 256, 256)), 1, 256, 256) == (16, 16)
    up = nn.Sequential(nn.MaxPool(2), nn.Upsample(scale=2, mode="bilinear"))
    assert of(up, 1, 40, 60) == (2, 2)
    assert of(nn.Sequential(nn.PixelShuffle(3)), 9, 10, 10) == (3, 3)
    assert of(nn.Sequential(nn.PixelUnshuffle(2), nn.Upsample(scale=4)), 1, 40, 40) == (4, 4)


def test_circular_axes() -> None:
    graph = nn.build(nn.Conv(1, 3, padding=1, padding_mode=("zeros", "circular")), (1, 9, 9))
    assert circular(graph.nodes, 2) == (False, True)


@pytest.mark.parametrize(
    ("net", "shape", "said"),
    [
        (nn.Sequential(nn.Conv(2, 3), nn.GlobalAvgPool(), nn.Linear(2)), (1, 9, 9), "globalavg"),
        (nn.Sequential(nn.Conv(2, 3), nn.Flatten(), nn.Linear(2)), (1, 9, 9), "linear1"),
        (nn.Sequential(nn.Conv(4, 3), nn.SqueezeExcite(2)), (1, 9, 9), "mean"),
        (nn.Sequential(nn.Conv(4, 3), nn.GroupNorm(2)), (1, 9, 9), "groupnorm1"),
        (nn.Sequential(nn.Conv(4, 3), nn.Local(2, 3)), (1, 9, 9), "local1"),
    ],
)
def test_what_sees_the_whole_is_named(net: nn.Layer, shape: tuple[int, ...], said: str) -> None:
    graph = nn.build(net, shape)
    window = tuple((0, size) for size in graph.output.space)
    with pytest.raises(ValueError, match=said) as error:
        cut(graph.nodes, graph.inputs, graph.outputs, window, ones)
    assert "\n" not in str(error.value)
    assert any(map(why_whole, graph.nodes))
