"""Maps for the tests of element-wise steps: any pitch, any machine, and what must come out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import fsum

import numpy as np

from faltung.geometry.expr import Expr, maximum, operand
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Step, Work
from faltung.methods.elementwise.elementwise import Input, Output, Sum, formulas
from faltung.plan.binding import Region, layout
from faltung.reference.expr import evaluate

A, B, C, D, E = map(operand, range(5))
Place = Callable[[np.ndarray], np.ndarray]


def anywhere(array: np.ndarray) -> np.ndarray:
    """A copy in ordinary memory."""
    return array.copy()


def laid(array: np.ndarray, pitch: int, place: Place = anywhere) -> np.ndarray:
    """A copy of a matrix with rows ``pitch`` apart, in no more memory than that takes."""
    rows, channels = array.shape
    room = max(0, (rows - 1) * pitch + channels) if rows else 0
    made = place(np.full(room, -77, array.dtype))
    step = array.itemsize
    view = np.lib.stride_tricks.as_strided(made, array.shape, (pitch * step, step))
    view[...] = array
    return view


@dataclass
class Arrays:
    """The arrays of a call under the names by which steps know them."""

    found: list[np.ndarray] = field(default_factory=list)

    def operand(self, array: np.ndarray) -> Operand:
        for i, known in enumerate(self.found):
            if known is array:
                return Operand(f"array{i}")
        self.found.append(array)
        return Operand(f"array{len(self.found) - 1}")

    def run(
        self, work: Work, machine: Machine, threads: int = 2, place: Place = anywhere
    ) -> list[Step]:
        """Run all steps, with scratch memory that is full of NaN at first."""
        offsets, size = layout(work.scratch)
        scratch = place(np.full(size, 0xFF, np.uint8))
        places = {f"array{i}": (i, 0) for i in range(len(self.found))}
        places |= {name: (len(self.found), at) for name, at in offsets.items()}
        region = Region(work.steps, places, machine, len(self.found) + 1)
        region.run([*(array.ctypes.data for array in self.found), scratch.ctypes.data], threads)
        return work.steps


def pitch(array: np.ndarray) -> int:
    return array.strides[0] // array.itemsize if array.ndim == 2 else 0


@dataclass
class Total:
    """A sum that is asked for; as ``Sum``, with arrays."""

    expr: Expr
    kind: str
    out: np.ndarray
    scale: float = 1.0
    finish: Expr | None = None
    operands: Sequence[tuple[str, np.ndarray]] = ()


@dataclass
class Problem:
    """A call of ``formulas`` over arrays. inputs: (kind, array); outputs: (formula, array)."""

    samples: int
    positions: int
    channels: int
    inputs: Sequence[tuple[str, np.ndarray]] = ()
    outputs: Sequence[tuple[Expr, np.ndarray]] = ()
    sums: Sequence[Total] = ()
    dtype: str = "float32"

    def run(self, machine: Machine, threads: int = 2, place: Place = anywhere) -> list[Step]:
        arrays, work = Arrays(), Work()

        def given(kind: str, array: np.ndarray) -> Input:
            return Input(kind, arrays.operand(array), pitch(array))

        formulas(
            work,
            self.dtype,
            machine,
            samples=self.samples,
            positions=self.positions,
            channels=self.channels,
            inputs=[given(*one) for one in self.inputs],
            outputs=[Output(expr, arrays.operand(a), pitch(a)) for expr, a in self.outputs],
            sums=[
                Sum(
                    s.expr,
                    s.kind,
                    arrays.operand(s.out),
                    pitch(s.out),
                    s.scale,
                    s.finish,
                    tuple(given(*one) for one in s.operands),
                )
                for s in self.sums
            ],
            title="test",
        )
        return arrays.run(work, machine, threads, place)

    def want(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The outputs, and the sums before they are finished, in float64, before ``run``."""
        shape = self.samples, self.positions, self.channels
        views = {
            "full": lambda a: a.reshape(shape),
            "sample": lambda a: a[:, None, :],
            "channel": lambda a: a[None, None, :],
        }
        operands = [views.get(kind, lambda a: a.reshape(()))(a) for kind, a in self.inputs]
        operands.append(np.zeros(shape))
        matrix = self.samples * self.positions, self.channels
        outputs = [evaluate(expr, operands).reshape(matrix) for expr, _ in self.outputs]
        sums = [_summed(evaluate(s.expr, operands), s.kind) * s.scale for s in self.sums]
        return outputs, sums


def _summed(terms: np.ndarray, kind: str) -> np.ndarray:
    """Exact sums, where they are not too many for it."""
    axes = {"channel": (0, 1), "sample": (1,), "scalar": (0, 1, 2)}[kind]
    if not 0 < terms.size < 100_000 or not np.isfinite(terms).all():
        return terms.sum(axis=axes)
    kept = [i for i in range(3) if i not in axes]
    rows = terms.transpose(*kept, *axes).reshape([*(terms.shape[i] for i in kept), -1])
    exact = [fsum(row) for row in rows.reshape(-1, rows.shape[-1])]
    return np.reshape(exact, rows.shape[:-1])


def everything(
    samples: int,
    positions: int,
    channels: int,
    dtype: str = "float32",
    gap: int = 0,
    place: Place = anywhere,
    whole: bool = False,
) -> Problem:
    """A problem with every kind of operand and sum. whole: of numbers whose sums are exact."""
    rng = np.random.default_rng([samples, positions, channels, gap])

    def numbers(*shape: int) -> np.ndarray:
        found = rng.integers(-8, 9, shape) if whole else rng.normal(size=shape)
        return found.astype(dtype)

    def empty(*shape: int) -> np.ndarray:
        made = np.full(shape, np.nan, dtype)
        return laid(made, shape[1] + gap, place) if len(shape) == 2 else place(made)

    rows = samples * positions
    x, y = (laid(numbers(rows, channels), channels + g, place) for g in (gap, 2 * gap))
    sample = laid(numbers(samples, channels), channels + gap, place)
    channel, scalar = place(numbers(channels)), place(numbers(1))
    scale = 1.0 if whole else 1 / max(1, rows)
    return Problem(
        samples,
        positions,
        channels,
        [("full", x), ("sample", sample), ("channel", channel), ("scalar", scalar), ("full", y)],
        [(maximum(A * C + B, E), empty(rows, channels)), (A - D * E, empty(rows, channels))],
        [
            Total(A * E, "channel", empty(channels), scale),
            Total(A + B, "sample", empty(samples, channels)),
            Total(C - A, "scalar", empty(1), scale),
            Total(A, "channel", empty(channels)),
        ],
        dtype,
    )


def check(problem: Problem, wants: tuple[list[np.ndarray], list[np.ndarray]], **close: float):
    """Compare all results with ``wants``; exactly unless tolerances are given."""
    outputs, sums = wants
    for (_, got), want in zip(problem.outputs, outputs, strict=True):
        np.testing.assert_allclose(got, want, **{"rtol": 0, **close})
    for total, want in zip(problem.sums, sums, strict=True):
        got = total.out if total.kind != "scalar" else total.out[0]
        np.testing.assert_allclose(got, want, **{"rtol": 0, **close})


SIZES = [
    (1, 1, 1),
    (3, 1, 5),
    (2, 7, 6),
    (1, 9, 16),
    (4, 5, 33),
    (5, 3, 130),
    (1, 700, 40),
    (9, 64, 24),
]
