"""What a call does, found once: filters on the parts of an array, and how their results are joined.

A complex array is filtered by its real and its imaginary part, with SciPy's signs.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from faltung.geometry.border import Border
from faltung.geometry.line import Line, Reduction
from faltung.geometry.record import dataclass
from faltung.ndimage.engine import correlate, filter_footprint, filter_lines
from faltung.ndimage.join import join
from faltung.ndimage.structure import Structured, filter_structure
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
# What is read along an axis: entries before and behind an output.
Halo = tuple[int, int]


class Work(Protocol):
    """A filter of real arrays: ``run`` writes all of ``out``, which shares no memory with x."""

    def run(self, x: Array, out: Array) -> None: ...

    def halo(self) -> dict[int, tuple[int, int, Border]]:
        """For each axis along which neighbours are read: before, after, and beyond the ends."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Filters along axes, one after the other; none of them: a copy."""

    lines: tuple[Line, ...]

    def run(self, x: Array, out: Array) -> None:
        if self.lines:
            filter_lines(x, self.lines, out)
        else:
            np.copyto(out, x, casting="unsafe")

    def halo(self) -> dict[int, tuple[int, int, Border]]:
        return {line.axis: (line.before, line.after, line.border) for line in self.lines}


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """Correlations with kernels of one shape; ``places``: of their results along the first axis of
    the output, None for one kernel, whose result is the output.
    """

    kernels: npt.NDArray[np.float64]
    before: tuple[int, ...]
    borders: tuple[Border, ...]
    places: tuple[int, ...] | None = None

    def run(self, x: Array, out: Array) -> None:
        outs = [out] if self.places is None else [out[k, ...] for k in self.places]
        if x.ndim:
            correlate(x, self.kernels, self.before, self.borders, outs)
        else:  # one entry, along an axis of its own
            flat = [one.reshape(1) for one in outs]
            correlate(x.reshape(1), self.kernels.reshape(-1, 1), (0,), (Border("constant"),), flat)

    def halo(self) -> dict[int, tuple[int, int, Border]]:
        return _halo(self.kernels.shape[1:], self.before, self.borders)


@dataclass(frozen=True, slots=True, eq=False)
class Footprint:
    """Maxima or minima over the true places of a footprint."""

    footprint: npt.NDArray[np.bool_]
    before: tuple[int, ...]
    borders: tuple[Border, ...]
    reduction: Reduction
    structure: npt.NDArray[np.float64] | None = None

    def run(self, x: Array, out: Array) -> None:
        if not x.ndim:  # one entry, along an axis of its own
            added = None if self.structure is None else self.structure.reshape(1)
            border = (Border("constant"),)
            flat = Footprint(self.footprint.reshape(1), (0,), border, self.reduction, added)
            flat.run(x.reshape(1), out.reshape(1))
        elif self.structure is not None:
            asked = Structured(self.structure, self.before, self.borders, self.reduction)
            filter_structure(x, self.footprint, asked, out)
        else:
            filter_footprint(x, self.footprint, self.before, self.borders, out, self.reduction)

    def halo(self) -> dict[int, tuple[int, int, Border]]:
        return _halo(self.footprint.shape, self.before, self.borders)


def _halo(
    shape: Sequence[int], before: Sequence[int], borders: Sequence[Border]
) -> dict[int, tuple[int, int, Border]]:
    rows = enumerate(zip(shape, before, borders, strict=True))
    return {axis: (lo, size - 1 - lo, border) for axis, (size, lo, border) in rows if size > 1}


@dataclass(frozen=True, slots=True)
class Part:
    """One filter from a part of the input to a part of the output.

    ``source``, ``target``: "real", "imag", or "" for the whole array. ``sign``: 0 writes the
    result, 1 and -1 add it to what is there and subtract it.
    """

    work: Work
    source: Literal["", "real", "imag"] = ""
    target: Literal["", "real", "imag"] = ""
    sign: Literal[-1, 0, 1] = 0

    def run(self, x: Array, out: Array) -> None:
        source = getattr(x, self.source) if self.source else x
        target = getattr(out, self.target) if self.target else out
        if not self.sign:
            self.work.run(source, target)
            return
        made = like(target)
        self.work.run(source, made)
        (np.add if self.sign > 0 else np.subtract)(target, made, out=target)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Passes over an array, and what becomes of their results.

    Attributes
    ----------
    passes : tuple of tuple of Part
        Each pass makes an array of the output's shape.
    join : str
        "": there is one pass. "sum": of the passes. "magnitude": the root of the sum of their
        squares. Each in the output's dtype, as SciPy does.
    complex_result : bool
        Whether the output must be complex.
    promote : bool
        Whether a real dtype for a complex output is promoted, with a warning.
    count : int
        Kernels whose results are stacked along a new first axis; 0: one, and no such axis.
    at_once : Work, optional
        The same in a single pass, where the output has the dtype of the input.
    """

    passes: tuple[tuple[Part, ...], ...]
    join: Literal["", "sum", "magnitude"] = ""
    complex_result: bool = False
    promote: bool = False
    count: int = 0
    at_once: Work | None = None

    def run(self, x: Array, out: Array) -> None:
        """All of it; ``out`` shares no memory with ``x``."""
        if self.at_once is not None and x.dtype == out.dtype:
            self.at_once.run(x, out)
            return
        if len(self.passes) == 1 and not self.join:
            for part in self.passes[0]:
                part.run(x, out)
            return
        made = [out, *(like(out) for _ in self.passes[1:])]
        for parts, one in zip(self.passes, made, strict=True):
            for part in parts:
                part.run(x, one)
        assert self.join
        join(made, self.join)

    def halo(self) -> dict[int, tuple[int, int, Border]]:
        """For each axis along which neighbours are read, the most of all passes."""
        found: dict[int, tuple[int, int, Border]] = {}
        for part in (part for parts in self.passes for part in parts):
            for axis, (before, after, border) in part.work.halo().items():
                lo, hi, first = found.get(axis, (before, after, border))
                found[axis] = max(lo, before), max(hi, after), first
        return found


def like(out: Array) -> Array:
    """An array for a second result of this shape."""
    require(out.nbytes, "a second result", "filter parts of the array")
    return np.empty(out.shape, out.dtype)


def by_parts(work: Work, imaginary: Work) -> tuple[Part, ...]:
    """A real filter on a complex array; the two differ in what a constant border puts there."""
    return Part(work, "real", "real"), Part(imaginary, "imag", "imag")
