"""The table of pooling problems, and feature maps as networks keep them: positions a pitch apart.

@pytest.mark.parametrize("spec", POOLS, ids=str)
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.machine.table import Machine
from faltung.methods.base.step import Work
from faltung.methods.pool.pool import index_dtype
from faltung.plan.binding import Region, layout, places

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

# (batch, channels, *space) and how it is pooled. Channels: below, at and between whole vectors.
PROBLEMS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 8, 8, 8), {"kernel": 2}),
    ((2, 6, 28, 28), {"kernel": 2}),
    ((1, 64, 13, 12), {"kernel": 3, "stride": 2, "padding": 1}),
    ((2, 24, 9, 10), {"kernel": 3, "stride": 1, "padding": 1}),
    ((1, 17, 9, 11), {"kernel": 3, "stride": 2, "ceil": True}),
    ((3, 1, 7, 5), {"kernel": 3, "stride": 1, "padding": "same"}),
    ((1, 3, 6, 7), {"kernel": 2, "stride": 3}),
    ((1, 129, 7, 7), {}),
    ((2, 40, 6, 5), {"kernel": (6, 2), "padding": ((0, 0), (1, 0))}),
    ((1, 5, 1, 1), {"kernel": 1}),
    ((2, 9, 5, 6), {"kernel": 1, "stride": 2}),
    ((1, 33, 11, 9), {"kernel": (3, 2), "stride": (1, 2), "dilation": (2, 3)}),
    ((1, 7, 12, 13), {"kernel": 3, "stride": 2, "dilation": 2, "padding": 2, "ceil": True}),
    ((1, 16, 10, 10), {"kernel": 2, "stride": 4, "dilation": 2}),
    ((1, 2, 2, 3), {"kernel": 3, "stride": 2, "ceil": True, "padding": 1}),
    ((1, 12, 3, 3), {"kernel": 7, "stride": 1, "padding": 3}),
    ((1, 4, 2, 2), {"kernel": 5, "ceil": True}),
    ((2, 13, 50), {"kernel": 3, "stride": 2, "padding": 1}),
    ((1, 8, 300), {"kernel": 7, "stride": 1, "padding": "causal"}),
    ((1, 1, 100), {"kernel": 10}),
    ((2, 65, 1), {}),
    ((1, 31, 97), {"kernel": 20, "stride": 30, "padding": 10}),
    ((1, 10, 4, 6, 5), {"kernel": 2}),
    ((1, 19, 5, 6, 7), {"kernel": 3, "stride": (1, 2, 3), "padding": 1}),
    ((2, 3, 4, 5, 3), {"kernel": (1, 2, 3), "stride": 1, "padding": "same", "ceil": True}),
    ((1, 32, 3, 4, 5), {}),
    ((1, 16, 3, 4, 2, 3), {"kernel": 2, "stride": 1}),
    ((0, 8, 6, 6), {"kernel": 2}),
    ((7, 48, 4, 4), {"kernel": 3, "stride": 1, "padding": 1}),
]


def pools() -> list[PoolSpec]:
    """Every problem as a maximum, a mean of all entries and a mean of those inside."""
    found = []
    for number, (shape, options) in enumerate(PROBLEMS):
        dtype = ("float32", "float64")[number % 3 == 2]
        for how in ({"kind": "max"}, _mean(True), _mean(False)):
            found.append(pool_spec(shape, **options, **how, dtype=dtype))
    return found


def _mean(count_padding: bool) -> dict[str, Any]:
    return {"kind": "average", "count_padding": count_padding}


POOLS = pools()
MAXIMA = [spec for spec in POOLS if spec.kind == "max"]
MEANS = [spec for spec in POOLS if spec.kind == "average"]


def whole(spec: PoolSpec, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Input and output gradient of small whole numbers: sums are exact, maxima often tied."""
    rng = np.random.default_rng(seed)
    x, g = (rng.integers(-4, 5, shape) for shape in (spec.input_shape, spec.output_shape))
    return x.astype(spec.dtype), g.astype(spec.dtype)


def random_pools(max_flops: int = 20_000) -> SearchStrategy[PoolSpec]:
    """Poolings of any rank, for hypothesis."""
    from hypothesis import strategies as st

    @st.composite
    def build(draw: Any) -> PoolSpec:
        rank = draw(st.integers(1, 3))
        number = lambda low, high: draw(st.integers(low, high))  # noqa: E731
        each = lambda low, high: [number(low, high) for _ in range(rank)]  # noqa: E731
        channels = draw(st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 24, 33, 50, 64, 70]))
        shape = (number(0, 3), channels, *each(1, {1: 40, 2: 9, 3: 5}[rank]))
        kernel = draw(st.one_of(st.none(), st.just(each(1, 5))))
        given = {
            "stride": draw(st.one_of(st.none(), st.just(each(1, 7)))),
            "padding": [(number(0, 3), number(0, 3)) for _ in range(rank)],
            "dilation": each(1, 3),
            "ceil": draw(st.booleans()),
            "kind": draw(st.sampled_from(["max", "average"])),
            "count_padding": draw(st.booleans()),
            "dtype": draw(st.sampled_from(["float32", "float64"])),
        }
        try:
            return pool_spec(shape, kernel, **given)
        except ValueError:  # no such pooling
            from hypothesis import reject

            reject()

    return build().filter(lambda spec: spec.flops <= max_flops)


Memory = Callable[[int], np.ndarray]


def ones(n_bytes: int) -> np.ndarray:
    """Bytes that nobody has written: NaN as numbers."""
    return np.full(n_bytes, 0xFF, np.uint8)


class Map:
    """Memory of a map: ``view`` is (batch, channels, *space); between positions nothing is touched.

    It begins with the first channel of the first position and ends with the last of the last.
    """

    def __init__(
        self, shape: tuple[int, ...], pitch: int, dtype: str, memory: Memory = ones
    ) -> None:
        batch, channels, *space = shape
        rows = batch * prod(space)
        size = np.dtype(dtype).itemsize
        elements = (rows - 1) * pitch + channels if rows else 0
        self.flat = memory(elements * size).view(dtype)
        matrix = np.lib.stride_tricks.as_strided(self.flat, (rows, channels), (pitch * size, size))
        self.view = np.moveaxis(matrix.reshape(batch, *space, channels), -1, 1)
        self._between = np.ones(rows * pitch, bool)
        self._between.reshape(rows, pitch)[:, :channels] = False
        self._between = self._between[:elements]

    @property
    def address(self) -> int:
        return int(self.flat.ctypes.data)

    @property
    def untouched(self) -> bool:
        """Whether what lies between the positions is as it was."""
        between = self.flat.view(np.uint8).reshape(-1, self.flat.itemsize)[self._between]
        return bool((between == 0xFF).all())


def filled(values: np.ndarray, pitch: int, memory: Memory = ones) -> Map:
    made = Map(values.shape, pitch, str(values.dtype), memory)
    made.view[...] = values
    return made


def indices(spec: PoolSpec, memory: Memory = ones) -> Map:
    """An index array of ``spec``."""
    return Map(spec.output_shape, spec.channels, index_dtype(spec), memory)


def run(
    work: Work, machine: Machine, threads: int = 2, memory: Memory = ones, **maps: Map | None
) -> None:
    """Run the steps of ``work`` on maps by the names of their operands; scratch begins as NaN."""
    scratch = memory(layout(work.scratch)[1])
    where = [0 if (made := maps.get(name)) is None else made.address for name in "x w out".split()]
    Region(work.steps, places(work), machine).run([*where, 0, 0, int(scratch.ctypes.data)], threads)
