"""Weights as products of smaller ones: singular values, Tucker and CP, in NumPy.

A weight is (G, O, I, *kernel) here: groups, outputs and inputs of each, and taps. It is replaced by
``Stage``s one after the other, each a convolution along some of the axes.

``Split``: two stages, the taps of some axes in the first and those of the others in the second. The
weight is rearranged as a matrix of (O, taps of the second) by (I, taps of the first), of which the
largest singular values are kept; nothing of that rank comes closer to it (Eckart and Young, 1936).
All axes in the first stage: few k x k filters, then a pointwise layer (Zhang et al., 2016). One of
two axes: k x 1, then 1 x k (Jaderberg et al., 2014). Without taps: two linear layers.
``Tucker``: pointwise, k x k, pointwise (Kim et al., 2016), by higher-order orthogonal iteration (De
Lathauwer et al., 2000).
``CP``: pointwise, depthwise, pointwise (Lebedev et al., 2015), by alternating least squares; the
depthwise stage has all taps of a channel, or is one for each axis, ``separate``.

M. Jaderberg, A. Vedaldi, A. Zisserman, *Speeding up convolutional neural networks with low rank
expansions*, BMVC 2014. Y.-D. Kim et al., *Compression of deep convolutional neural networks for
fast and low power mobile applications*, ICLR 2016. V. Lebedev et al., *Speeding-up convolutional
neural networks using fine-tuned CP-decomposition*, ICLR 2015. X. Zhang et al., *Accelerating very
deep convolutional networks for classification and detection*, PAMI 38, 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import combinations
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass

Array = npt.NDArray[Any]
Ranks = tuple[int, ...]

# Matrices whose smaller side is larger are decomposed approximately, from random combinations.
EXACT = 2048
MOST = 1024  # directions of those
PASSES, MORE = 2, 16  # of the approximation: products with the matrix, and directions beyond
SWEEPS = 3  # of orthogonal iteration
ROUNDS = 15  # of alternating least squares
CLOSE = 1e-5  # parts of the squares in a round at which it ends
RIDGE = 1e-9  # of the normal equations, beside their trace
STEPS = 24  # ranks that are tried of one form
LANES = 8  # larger ranks are multiples of it, which fill vectors


@dataclass(frozen=True)
class Stage:
    """A convolution along ``axes``: ``groups`` of ``ins`` channels that become ``outs``."""

    groups: int
    outs: int
    ins: int
    axes: tuple[int, ...]

    def weights(self, kernel: Sequence[int]) -> int:
        """How many numbers it has."""
        return self.groups * self.outs * self.ins * prod(kernel[a] for a in self.axes)


class Form(Protocol):
    """A way to take a weight apart. ``free``: axes of one tap, whose strides must be somewhere."""

    name: str

    def ranks(self) -> Iterator[Ranks]:
        """Those worth trying, ascending."""

    def stages(self, ranks: Ranks) -> tuple[Stage, ...]:
        """What comes in the place of the weight."""

    def error(self, ranks: Ranks) -> float:
        """The part of the sum of squares that is lost, at most."""

    def least(self, ranks: Ranks) -> float:
        """What it is at least, for those whose error has to be searched for."""

    def factors(self, ranks: Ranks) -> tuple[Array, ...]:
        """The weights of the stages, (groups, outs, ins, *kernel) with 1 for other axes."""


def forms(w: Array, first: bool) -> list[Form]:
    """All forms that apply to a weight. first: whether axes of one tap belong to the first stage,
    where a stride leaves less to do, or to the last, where it makes more.
    """
    kernel = w.shape[3:]
    wide = [a for a, taps in enumerate(kernel) if taps > 1]
    free = tuple(a for a, taps in enumerate(kernel) if taps == 1)
    splits: list[Split] = []
    for count in range(len(wide) + 1):
        for chosen in combinations(wide, count):
            before = tuple(sorted((*chosen, *(free if first else ()))))
            splits.append(Split(w, before))
    made: list[Form] = [*splits]
    if wide and min(w.shape[1:3]) > 1:
        before, after = (free, ()) if first else ((), free)
        made.append(Tucker(w, before, after))
        for separate in (False, True) if len(wide) > 1 else (False,):
            made.append(CP(w, before, after, separate, splits))
    return made


def grid(most: int) -> list[int]:
    """Ranks from 1 to ``most``: all of them, or some, of which the larger fill vectors."""
    step = max(1, -(-most // STEPS))
    if step > 1:
        step = -(-step // LANES) * LANES
    return sorted({*range(step, most + 1, step), *((1, 2, 4) if step > 4 else ()), most} - {0})


def _taps(w: Array, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(w.shape[3 + a] for a in axes)


def _shaped(w: Array, kernel: Sequence[int], axes: Sequence[int]) -> Array:
    """(G, O, I, *taps of axes) with 1 for the axes that it has not."""
    shape = [kernel[a] if a in axes else 1 for a in range(len(kernel))]
    return w.reshape(*w.shape[:3], *shape)


# Two stages ---------------------------------------------------------------------------------------


class Split:
    """Two stages, by singular values. before: axes of the first stage."""

    def __init__(self, w: Array, before: tuple[int, ...]) -> None:
        self.w, self.before = w, before
        self.kernel = w.shape[3:]
        self.after = tuple(a for a in range(len(self.kernel)) if a not in before)
        if max(self.kernel, default=1) == 1:
            self.name = "svd"
        else:
            words = ["x".join(map(str, self._of(axes))) for axes in (before, self.after)]
            self.name = " + ".join(words)

    def _of(self, axes: Sequence[int]) -> list[int]:
        """The kernel of a stage, for its name."""
        return [self.kernel[a] if a in axes else 1 for a in range(len(self.kernel))]

    @property
    def most(self) -> int:
        """The rank that loses nothing."""
        _, outs, ins = self.w.shape[:3]
        rows, columns = prod(_taps(self.w, self.after)), prod(_taps(self.w, self.before))
        return int(min(outs * rows, ins * columns))

    def ranks(self) -> Iterator[Ranks]:
        return ((rank,) for rank in grid(min(self.most, len(self._found[1][0]))))

    def stages(self, ranks: Ranks) -> tuple[Stage, ...]:
        groups, outs, ins = self.w.shape[:3]
        (rank,) = ranks
        return Stage(groups, rank, ins, self.before), Stage(groups, outs, rank, self.after)

    def error(self, ranks: Ranks) -> float:
        _, values, total = self._found
        kept = sum(float(each[: ranks[0]].sum()) for each in values)
        return max(0.0, 1 - kept / total) if total else 0.0

    least = error

    def factors(self, ranks: Ranks) -> tuple[Array, ...]:
        _, outs, ins = self.w.shape[:3]
        (rank,) = ranks
        bases, values, _ = self._found
        firsts, seconds = [], []
        for matrix, basis, squares in zip(self._matrices, bases, values, strict=True):
            left, roots = basis[:, :rank], np.sqrt(squares[:rank])
            # Both factors equally large, which is how weights decay alike in training.
            scale = np.sqrt(np.where(roots > 1e-12 * max(roots[0], 1e-300), roots, 1.0))
            seconds.append((left * scale).reshape(outs, *_taps(self.w, self.after), rank))
            right = (left.T @ matrix) / scale[:, None]
            firsts.append(right.reshape(rank, ins, *_taps(self.w, self.before)))
        first, second = np.stack(firsts), np.moveaxis(np.stack(seconds), -1, 2)
        return (
            _shaped(first, self.kernel, self.before),
            _shaped(second, self.kernel, self.after),
        )

    @cached_property
    def _matrices(self) -> Array:
        """(G, O * taps of the second, I * taps of the first)."""
        axes = (0, 1, *(3 + a for a in self.after), 2, *(3 + a for a in self.before))
        groups, outs = self.w.shape[:2]
        rows = outs * prod(_taps(self.w, self.after))
        return self.w.transpose(axes).reshape(groups, rows, -1)

    @cached_property
    def _found(self) -> tuple[list[Array], list[Array], float]:
        """Of each group the left singular vectors and the squares of the values; all squares."""
        pairs = [left_vectors(matrix) for matrix in self._matrices]
        total = float(np.square(self.w).sum())
        return [basis for basis, _ in pairs], [values for _, values in pairs], total


def left_vectors(matrix: Array) -> tuple[Array, Array]:
    """Left singular vectors of a matrix and the squares of the singular values, descending: all of
    them, or of a large matrix the first ones.
    """
    rows, columns = matrix.shape
    if min(rows, columns) > EXACT:
        count = min(min(rows, columns) // 2, MOST) + MORE
        basis = matrix @ np.random.default_rng(0).standard_normal((columns, count))
        for _ in range(PASSES):
            basis = matrix @ (matrix.T @ np.linalg.qr(basis)[0])
        basis = np.linalg.qr(basis)[0]
        inner, values = left_vectors(basis.T @ matrix)
        return basis @ inner[:, :-MORE], values[:-MORE]
    if rows <= columns:
        return _eigen(matrix @ matrix.T)
    right, values = _eigen(matrix.T @ matrix)
    made = matrix @ right
    # Orthonormal also where values are so small that rounding decides.
    basis, corner = np.linalg.qr(made)
    return basis * np.where(np.diag(corner) < 0, -1.0, 1.0), values


def _eigen(symmetric: Array) -> tuple[Array, Array]:
    """Eigenvectors and eigenvalues, descending; the largest entry of each vector is positive."""
    values, vectors = np.linalg.eigh(symmetric)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    return vectors * np.where(largest < 0, -1.0, 1.0), values


# Three stages -------------------------------------------------------------------------------------


class Tucker:
    """Pointwise, the kernel between fewer channels, pointwise. The second and first mode alone."""

    name = "tucker"

    def __init__(self, w: Array, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self.w, self.before, self.after = w, before, after
        self.kernel = w.shape[3:]
        self.between = tuple(a for a in range(len(self.kernel)) if a not in (*before, *after))

    def ranks(self) -> Iterator[Ranks]:
        _, outs, ins = self.w.shape[:3]
        return ((r, s) for s in grid(ins) for r in grid(outs) if r < outs or s < ins)

    def stages(self, ranks: Ranks) -> tuple[Stage, ...]:
        groups, outs, ins = self.w.shape[:3]
        r, s = ranks
        return (
            Stage(groups, s, ins, self.before),
            Stage(groups, r, s, self.between),
            Stage(groups, outs, r, self.after),
        )

    def error(self, ranks: Ranks) -> float:
        r, s = ranks
        kept, total = self._energies
        return max(0.0, 1 - float(kept[r - 1, s - 1]) / total) if total else 0.0

    least = error

    def factors(self, ranks: Ranks) -> tuple[Array, ...]:
        r, s = ranks
        firsts, cores, lasts = [], [], []
        for w, (u, v) in zip(self._flat, self._bases, strict=True):
            a, b = u[:, :r], v[:, :s]
            for _ in range(SWEEPS):
                a = _leading(np.tensordot(w, b, (1, 0)), r, a)
                b = _leading(np.tensordot(w, a, (0, 0)), s, b)
            firsts.append(b.T)
            cores.append(_core(w, a, b))
            lasts.append(a)
        groups, outs, ins = self.w.shape[:3]
        first, core, last = (np.stack(each) for each in (firsts, cores, lasts))
        return (
            _shaped(first.reshape(groups, s, ins), self.kernel, ()),
            _shaped(core, self.kernel, self.between),
            _shaped(last.reshape(groups, outs, r), self.kernel, ()),
        )

    @cached_property
    def _flat(self) -> Array:
        return self.w.reshape(*self.w.shape[:3], -1)

    @cached_property
    def _bases(self) -> list[tuple[Array, Array]]:
        """Of each group the singular vectors of outputs and of inputs."""
        found = []
        for w in self._flat:
            outs, ins = w.reshape(len(w), -1), np.moveaxis(w, 1, 0).reshape(w.shape[1], -1)
            found.append((_eigen(outs @ outs.T)[0], _eigen(ins @ ins.T)[0]))
        return found

    @cached_property
    def _energies(self) -> tuple[Array, float]:
        """Of all pairs of ranks, less one each, the squares that are kept; and all squares."""
        kept = 0.0
        for w, (u, v) in zip(self._flat, self._bases, strict=True):
            kept = kept + np.square(_core(w, u, v)).sum(2).cumsum(0).cumsum(1)
        return np.asarray(kept), float(np.square(self.w).sum())


def _core(w: Array, a: Array, b: Array) -> Array:
    """What a weight (O, I, taps) is between bases (O, R) and (I, S): (R, S, taps)."""
    return np.moveaxis(np.tensordot(np.tensordot(a, w, (0, 0)), b, (1, 0)), 2, 1)


def _leading(unfolded: Array, count: int, before: Array) -> Array:
    """The first left singular vectors, or where there are not as many those from before."""
    matrix = unfolded.reshape(len(unfolded), -1)
    if min(matrix.shape) < count:
        return before
    return _eigen(matrix @ matrix.T)[0][:, :count]


class CP:
    """Pointwise, depthwise, pointwise: a sum of products of vectors. splits: of the same weight,
    whose errors bound the error of this.
    """

    def __init__(
        self,
        w: Array,
        before: tuple[int, ...],
        after: tuple[int, ...],
        separate: bool,
        splits: Sequence[Split] = (),
    ) -> None:
        self.splits = splits
        self.w, self.before, self.after, self.separate = w, before, after, separate
        self.kernel = w.shape[3:]
        self.between = tuple(a for a in range(len(self.kernel)) if a not in (*before, *after))
        self.name = "cp, an axis each" if separate else "cp"
        self._kept: dict[int, tuple[list[list[Array]], float]] = {}

    def ranks(self) -> Iterator[Ranks]:
        """A few: each needs a search of its own."""
        _, outs, ins = self.w.shape[:3]
        whole = outs * ins * prod(self.kernel) / (outs + ins + prod(self.kernel))
        most = min(whole, 2 * max(outs, ins))
        return ((rank,) for rank in sorted({int(most / part) for part in (2, 4, 8)} - {0}))

    def stages(self, ranks: Ranks) -> tuple[Stage, ...]:
        groups, outs, ins = self.w.shape[:3]
        (rank,) = ranks
        parts = [(a,) for a in self.between] if self.separate else [self.between]
        return (
            Stage(groups, rank, ins, self.before),
            *(Stage(groups * rank, 1, 1, axes) for axes in parts),
            Stage(groups, outs, rank, self.after),
        )

    def error(self, ranks: Ranks) -> float:
        return self._search(ranks[0])[1]

    def least(self, ranks: Ranks) -> float:
        """What matrices of such a rank lose. Taps that are not separate are a matrix themselves,
        whose rank multiplies that of a split between them.
        """
        return max(
            (split.error((ranks[0] * self._between(split),)) for split in self.splits),
            default=0.0,
        )

    def _between(self, split: Split) -> int:
        """The largest rank of the taps of one term, as a split arranges them."""
        sides = (prod(_taps(self.w, axes)) for axes in (split.before, split.after))
        return 1 if self.separate else int(min(sides))

    def factors(self, ranks: Ranks) -> tuple[Array, ...]:
        groups, outs, ins = self.w.shape[:3]
        (rank,) = ranks
        found, _ = self._search(rank)
        last, first, *taps = (np.stack(each) for each in zip(*found, strict=True))
        stages = self.stages(ranks)[1:-1]
        between = (
            _shaped(np.moveaxis(each, 1, 2).reshape(groups * rank, 1, 1, -1), self.kernel, s.axes)
            for each, s in zip(taps, stages, strict=True)
        )
        return (
            _shaped(np.moveaxis(first, 1, 2).reshape(groups, rank, ins), self.kernel, ()),
            *between,
            _shaped(last.reshape(groups, outs, rank), self.kernel, ()),
        )

    def _search(self, rank: int) -> tuple[list[list[Array]], float]:
        """Of each group the factors (size, rank) of its modes, and the part that is lost."""
        if rank not in self._kept:
            _, outs, ins = self.w.shape[:3]
            taps = [self.kernel[a] for a in self.between]
            shape = (outs, ins, *(taps if self.separate else (prod(taps),)))
            found = [least_squares(w.reshape(shape), rank) for w in self.w]
            lost, total = sum(each for _, each in found), float(np.square(self.w).sum())
            self._kept[rank] = [each for each, _ in found], lost / total if total else 0.0
        return self._kept[rank]


def least_squares(tensor: Array, rank: int) -> tuple[list[Array], float]:
    """Factors (size, rank) of each mode of a tensor whose products add up to nearly that, and the
    sum of squares of the rest. Alternating least squares, from singular vectors.
    """
    letters = "abcdefgh"[: tensor.ndim]
    rng, total = np.random.default_rng(0), float(np.square(tensor).sum())
    factors = []
    for mode, size in enumerate(tensor.shape):
        unfolded = np.moveaxis(tensor, mode, 0).reshape(size, -1)
        basis = _eigen(unfolded @ unfolded.T)[0][:, :rank]
        more = rng.standard_normal((size, max(0, rank - basis.shape[1]))) / size**0.5
        factors.append(np.concatenate([basis, more], 1))
    lost = total
    for _ in range(ROUNDS):
        for mode in range(tensor.ndim):
            others = [factors[m] for m in range(tensor.ndim) if m != mode]
            words = [f"{letters[m]}r" for m in range(tensor.ndim) if m != mode]
            right = np.einsum(
                f"{letters},{','.join(words)}->{letters[mode]}r", tensor, *others, optimize=True
            )
            squares = prod_of([each.T @ each for each in others])
            ridge = RIDGE * float(np.trace(squares)) / rank + 1e-300
            made = np.linalg.solve(squares + ridge * np.eye(rank), right.T).T
            factors[mode] = made if mode == tensor.ndim - 1 else _unit(made)
        kept = 2 * float((right * made).sum()) - float((squares * (made.T @ made)).sum())
        before, lost = lost, max(0.0, total - kept)
        if abs(before - lost) <= CLOSE * total:
            break
    return _balanced(factors), lost


def prod_of(arrays: Sequence[Array]) -> Array:
    """Their product, entry by entry."""
    made = arrays[0]
    for each in arrays[1:]:
        made = made * each
    return made


def _unit(factor: Array) -> Array:
    """Columns of length 1."""
    length = np.sqrt(np.square(factor).sum(0))
    return np.asarray(factor / np.where(length > 0, length, 1.0))


def _balanced(factors: list[Array]) -> list[Array]:
    """The same products from columns that are equally long in all factors."""
    lengths = [np.sqrt(np.square(factor).sum(0)) for factor in factors]
    mean = prod_of(lengths) ** (1 / len(factors))
    return [
        np.asarray(factor * mean / np.where(length > 0, length, 1.0))
        for factor, length in zip(factors, lengths, strict=True)
    ]
