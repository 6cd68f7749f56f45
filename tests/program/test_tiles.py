"""Networks in tiles: the bits of the whole map at once, whatever the tiles."""

from itertools import product

import numpy as np
import pytest
from grid import MACHINES, examples, grid
from hypothesis import given
from hypothesis import strategies as st

from faltung import nets, nn
from faltung.graph.initial import parameters
from faltung.machine.table import Machine
from faltung.program.inference import Inference
from faltung.program.state import State
from faltung.program.tiles import Tiles

C = nn.Conv
FREE = {
    "strides": (nn.Sequential(C(8, 3, stride=2, padding=1), nn.ReLU(), C(6, 3, stride=(1, 2))), 2),
    "winograd": (nn.Sequential(*(C(32, 3, padding="same"), nn.ReLU()) * 3, C(4, 1)), 2),
    "dilated winograd": (nn.Sequential(C(32, 3, padding=3, dilation=3), nn.ReLU(), C(4, 1)), 2),
    "five taps": (nn.Sequential(C(24, 1), C(24, (5, 3), padding="same"), nn.Sigmoid()), 2),
    "borders": (
        nn.Sequential(
            C(8, 3, padding=1, padding_mode="reflect"),
            nn.ReLU(),
            C(8, 5, padding=2, padding_mode=("replicate", "symmetric")),
            nn.BatchNorm(),
            C(2, 3, padding=1, padding_mode=("zeros", "circular")),
        ),
        2,
    ),
    "pools": (
        nn.Sequential(
            C(8, 3, padding="same"),
            nn.AvgPool(3, stride=2, padding=1, count_padding=False),
            nn.MaxPool(3, stride=2, ceil=True),
            nn.AvgPool(2, stride=1, ceil=True),
        ),
        2,
    ),
    "resampled": (
        nn.Sequential(
            nn.MaxPool(2),
            C(6, 3, padding="same"),
            nn.Upsample(scale=2, mode="bilinear"),
            nn.Blur(),
            nn.Upsample(scale=1.7, mode="bicubic"),
            nn.Pad(((1, 2), (-1, 3)), mode="symmetric"),
        ),
        2,
    ),
    "transposed": (
        nn.Sequential(
            nn.ConvTranspose(12, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose(12, 3, stride=1, padding=1),
            nn.ConvTranspose(4, 3, stride=3, output_padding=1),
            nn.Sigmoid(),
        ),
        2,
    ),
    "channels": (
        nn.Sequential(
            C(16, 1), nn.ChannelShuffle(4), nn.LayerNorm(), nn.PixelShuffle(2), nn.Softmax()
        ),
        2,
    ),
    "branches": (
        nn.Sequential(
            C(8, 3, padding="same"),
            nn.Residual(nn.Sequential(nn.ReLU(), C(8, 3, padding="same", groups=8), C(8, 1))),
            nn.Parallel(nn.Identity(), C(4, 7, padding=3), nn.MaxPool(3, stride=1, padding=1)),
            nn.SiLU(),
        ),
        2,
    ),
    "long kernels": (nn.Sequential(C(16, 1), C(16, 31, padding="same", groups=16), C(4, 3)), 2),
    "pointwise": (nn.Sequential(C(64, 1), nn.ReLU(), C(128, 1), nn.ReLU(), C(128, 1)), 2),
    "series": (
        nn.Sequential(
            C(16, 9, padding="same"),
            nn.ReLU(),
            C(16, 3, padding="causal", dilation=8),
            nn.MaxPool(3, stride=2, ceil=True),
            nn.ConvTranspose(4, 3, stride=3, output_padding=1),
        ),
        1,
    ),
    "volumes": (
        nn.Sequential(
            C(16, 3, padding="same"),
            nn.MaxPool(2),
            C(16, 3, padding="same"),
            nn.Upsample(scale=2, mode="trilinear"),
            C(2, (1, 3, 2)),
        ),
        3,
    ),
}


NET = nets.get("unet", input_shape=(1, 512, 512), width=0.25, halvings=2)


def tiles_of(
    net: nn.Layer, shape: tuple[int, ...], dtype: str = "float32", **more: object
) -> Tiles:
    graph = nn.build(net, shape, dtype=dtype)  # type: ignore[arg-type]
    state = State(graph.parameters, graph.dtype)
    state.update(parameters(graph, 3))
    return Tiles(graph, state, **more)  # type: ignore[arg-type]


def at_once(made: Tiles, x: np.ndarray) -> np.ndarray:
    window = tuple((0, size) for size in made.output.space)
    inside = tuple(slice(*span) for span in made.reads(window))
    return made.run(window, np.ascontiguousarray(x[(slice(None), *inside)]))


def in_tiles(made: Tiles, x: np.ndarray, tile: tuple[int, ...]) -> np.ndarray:
    found = np.full(made.output.shape, np.nan, x.dtype)
    for window in made.arranged(tile):
        inside = tuple(slice(*span) for span in made.reads(window))
        found[(slice(None), *(slice(*span) for span in window))] = made.run(
            window, np.ascontiguousarray(x[(slice(None), *inside)])
        )
    return found


def picture(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def check(made: Tiles, tile: tuple[int, ...]) -> None:
    x = picture(made.graph.input.shape, made.graph.dtype)
    assert in_tiles(made, x, tile).tobytes() == at_once(made, x).tobytes()


@grid(name=sorted(FREE), dtype=["float32", "float64"], machine=MACHINES, every=6)
def test_tiles_have_the_bits_of_the_whole(name: str, dtype: str, machine: Machine) -> None:
    net, rank = FREE[name]
    shape = (3, *((101,) if rank == 1 else (37, 45) if rank == 2 else (16, 20, 12)))
    made = tiles_of(net, shape, dtype, machine=machine)
    check(made, tuple(max(2, size // 3) for size in made.output.space))


@given(st.sampled_from(sorted(FREE)), st.data())
@examples(2)
def test_any_size_and_any_tile(name: str, data: st.DataObject) -> None:
    net, rank = FREE[name]
    most = (0, 150, 60, 20)[rank]
    least = {"long kernels": 8, "resampled": 10}.get(name, 8)
    shape = (2, *(2 * data.draw(st.integers(least // 2, most // 2)) for _ in range(rank)))
    made = tiles_of(net, shape)
    tile = tuple(data.draw(st.integers(max(1, size // 4), size)) for size in made.output.space)
    check(made, tile)


@pytest.mark.parametrize(
    ("shape", "tile"),
    [
        ((3, 96, 112), (32, 32)),
        ((1, 101, 61), (40, 24)),
        ((1, 64, 64), (5, 64)),  # smaller than what lies around it
        ((1, 203), (64,)),
        ((2, 24, 32, 16), (16, 16, 16)),
    ],
)
def test_u_nets(shape: tuple[int, ...], tile: tuple[int, ...]) -> None:
    net = nets.get("unet", input_shape=shape, width=0.25, halvings=2)
    made = tiles_of(net, shape, softmax=True)
    check(made, tile)


def test_a_network_without_far_transforms_has_the_bits_of_its_own_program() -> None:
    net = nn.Sequential(C(32, 3, padding="same"), nn.ReLU(), C(32, 3, padding="same"), C(2, 1))
    made = tiles_of(net, (3, 64, 96))
    x = picture((3, 64, 96))
    assert Inference(made.graph, made.state, 1)(x[None])[0].tobytes() == at_once(made, x).tobytes()


def test_transforms_are_used_and_need_whole_tiles() -> None:
    made = tiles_of(FREE["winograd"][0], (32, 64, 64))
    assert made.period == (4, 4) or made.period == (2, 2)
    titles = [step.title for step in made.program(((4, 9), (0, 64))).assembly.steps]
    assert any("winograd" in title for title in titles)
    strict = tiles_of(FREE["winograd"][0], (32, 64, 64), precision="strict")
    assert strict.period == (1, 1)
    check(strict, (17, 23))


def test_tiles_that_are_alike_share_a_program() -> None:
    made = tiles_of(
        nets.get("unet", input_shape=(1, 512, 512), width=0.125, halvings=2), (1, 512, 512)
    )
    kinds = [made.kind(window) for window in made.arranged((64, 64))]
    assert len(kinds) == 64 and len(set(kinds)) <= 25
    assert made.kind(((128, 192), (192, 256))) == made.kind(((256, 320), (256, 320)))


def test_programs_share_one_memory() -> None:
    made = tiles_of(
        nets.get("unet", input_shape=(1, 128, 128), width=0.25, halvings=2), (1, 128, 128)
    )
    large = made.program(((32, 96), (32, 96)))
    small = made.program(((0, 16), (0, 16)))
    assert small.assembly.memories["arena"] is large.assembly.memories["arena"]
    check(made, (64, 64))  # a program that needs more takes more


def test_tiles_are_as_large_as_memory_allows() -> None:
    made = tiles_of(NET, (1, 512, 512))
    assert made.chosen(1 << 40) == (512, 512)
    last = 1 << 40
    for most in (1 << 26, 1 << 24, 1 << 22):
        tile = made.chosen(most)
        assert all(side % step == 0 for side, step in zip(tile, made.period, strict=True))
        middle = tuple((256, 256 + side) if side < 256 else (0, 512) for side in tile)
        size = made.bytes(middle)
        assert size <= most or tile == made.period
        assert size <= last
        # Transforms work in portions as large as the caches.
        made = tiles_of(NET, (1, 512, 512))
        assert made.program(middle).assembly.bytes <= 1.3 * size + (8 << 20)
        last = size


def test_circular_axes_are_not_cut() -> None:
    made = tiles_of(FREE["borders"][0], (2, 400, 300))
    tile = made.chosen(1 << 22)
    assert tile[1] == made.output.space[1] and tile[0] < made.output.space[0]


def test_parameters_that_change_are_seen() -> None:
    made = tiles_of(C(4, 3), (2, 20, 20))
    x, window = picture((2, 20, 20)), ((0, 18), (0, 18))
    before = made.run(window, x)
    made.state.update({p.name: np.zeros(p.shape) for p in made.graph.parameters})
    made.changed()
    assert before.any() and not made.run(window, x).any()


def test_what_sees_the_whole_is_said() -> None:
    made = tiles_of(nn.Sequential(C(4, 3), nn.GlobalAvgPool(), nn.Linear(2)), (2, 20, 20))
    assert "globalavgpool1" in made.why_not
    assert not tiles_of(C(4, 3), (2, 20, 20)).why_not
    with pytest.raises(ValueError, match=r"x.shape=\(2, 3, 3\): must have the sizes"):
        tiles_of(C(4, 3), (2, 20, 20)).run(((0, 2), (0, 2)), picture((2, 3, 3)))


def test_arrangements_cover_the_output_once() -> None:
    made = tiles_of(C(1, 1), (1, 10, 7))
    found = np.zeros((10, 7), int)
    arrangement = made.arranged((4, 3))
    for (a, b), (c, d) in arrangement:
        found[a:b, c:d] += 1
    assert (found == 1).all() and arrangement.count == 9 == len(list(product(*arrangement.along)))
