"""Embedding: rows of a table picked by tokens, and the gradient for the table.

What it is.  ``out[r] = table[tokens[r]]``, a copy of one row for each token; and ``grad_table[t] =
  sum over the r with tokens[r] = t of grad[r]``. An item of the gradient is a block of columns as
  wide as a cache line: it walks all tokens in order and adds, so that every sum has one order and
  no two items meet. The table is zeroed in one piece before, which is quicker than by columns.
When it applies.  Always; tokens are checked by the caller (`check_tokens`).
What it costs.  Memory: the rows, and for the gradient writing the table once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.check import show
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Step, Work

# Bytes of a row that one item of the gradient adds: a cache line.
LINE = 64
# Elements that one item sets to zero.
CHUNK = 1 << 14
# No row of a table is as far as this: without padding.
NOWHERE = 1 << 62


# The recipes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Embed:
    """Items are tokens. Words: tokens, table, out, features, pitch, last row of the table."""

    dtype: str

    @property
    def symbol(self) -> str:
        return f"embed_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module, v = _open(self.symbol, machine, self.dtype)
        f = v.function
        tokens, table, out = (f.pointer("%words", i) for i in range(3))
        features, pitch, last = (f.word("%words", i) for i in range(3, 6))
        whole = f.mul(f.value(f"sdiv i64 {features}, {v.lanes}"), v.lanes)
        rest = f.sub(features, whole)
        mask = v.below(rest)
        with f.loop("%begin", "%end") as item:
            token = _least(v, f.word(tokens, item.index), last)
            src = v.at(table, f.mul(token, features))
            dst = v.at(out, f.mul(item.index, pitch))
            with f.loop(0, whole, step=v.lanes) as i:
                v.store(v.load(v.at(src, i.index)), v.at(dst, i.index))
            with f.when(f.value(f"icmp ne i64 {rest}, 0")):
                v.store(v.load(v.at(src, whole), mask), v.at(dst, whole), mask)
        return str(module)


def _least(v: Vectors, token: str, last: str) -> str:
    """The token, or the last row where it is none: nothing outside the table is ever read."""
    inside = v.function.value(f"icmp ule i64 {token}, {last}")
    return v.function.value(f"select i1 {inside}, i64 {token}, i64 {last}")


@dataclass(frozen=True)
class Zero:
    """Items are chunks of an array. Words: array, elements."""

    dtype: str

    @property
    def symbol(self) -> str:
        return f"zero_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module, v = _open(self.symbol, machine, self.dtype)
        f = v.function
        array, count = f.pointer("%words", 0), f.word("%words", 1)
        with f.loop("%begin", "%end") as item:
            first = f.mul(item.index, CHUNK)
            length = f.minimum(f.sub(count, first), CHUNK)
            here = v.at(array, first)
            whole = f.mul(f.value(f"sdiv i64 {length}, {v.lanes}"), v.lanes)
            with f.loop(0, whole, step=v.lanes) as i:
                v.store(v.zero, v.at(here, i.index))
            v.store(v.zero, v.at(here, whole), v.below(f.sub(length, whole)))
        return str(module)


@dataclass(frozen=True)
class EmbedGrad:
    """Items are blocks of ``vectors`` vectors of columns.

    Words: tokens, grad, out, features, pitch, rows, vocabulary, padding row.
    """

    dtype: str
    vectors: int

    @property
    def symbol(self) -> str:
        return f"embed_grad_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module, v = _open(self.symbol, machine, self.dtype)
        f = v.function
        tokens, grad, out = (f.pointer("%words", i) for i in range(3))
        features, pitch, rows, vocabulary, padding = (f.word("%words", i) for i in range(3, 8))
        width = self.vectors * v.lanes

        def walk(first: str, masks: list[str | None]) -> None:
            source, target = v.at(grad, first), v.at(out, first)
            with f.loop(0, rows, [("ptr", source)]) as row:
                token = f.word(tokens, row.index)
                inside = f.value(f"icmp ult i64 {token}, {vocabulary}")
                counts = f.value(f"icmp ne i64 {token}, {padding}")
                with f.when(f.value(f"and i1 {inside}, {counts}")):
                    to = v.at(target, f.mul(token, features))
                    for q, mask in enumerate(masks):
                        here = v.at(to, q * v.lanes)
                        more = v.load(v.at(row.values[0], q * v.lanes), mask)
                        v.store(v.add(v.load(here, mask), more), here, mask)
                row.carry([v.at(row.values[0], pitch)])

        with f.loop("%begin", "%end") as item:
            first = f.mul(item.index, width)
            left = f.sub(features, first)
            masks = [v.below(f.sub(left, q * v.lanes)) for q in range(self.vectors)]
            short = f.value(f"zext i1 {f.value(f'icmp slt i64 {left}, {width}')} to i64")
            f.switch(
                short, [lambda: walk(first, [None] * self.vectors), lambda: walk(first, [*masks])]
            )
        return str(module)


def _open(symbol: str, machine: Machine, dtype: str) -> tuple[Module, Vectors]:
    module = Module()
    arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
    return module, Vectors(module.function(symbol, arguments, public=True), machine, dtype)


# The plan -----------------------------------------------------------------------------------------


def check_tokens(tokens: npt.ArrayLike, vocabulary: int) -> npt.NDArray[np.int64]:
    """The tokens, contiguous and as int64. TypeError: no whole numbers. ValueError: one that is no
    row of the table, 0 to ``vocabulary - 1``, and where it stands.
    """
    given: npt.NDArray[Any] = np.asarray(tokens)
    if given.dtype.kind not in "iu":
        raise TypeError(f"tokens.dtype={given.dtype}: must be whole numbers")
    if given.size and (given.min() < 0 or given.max() >= vocabulary):
        where = np.argwhere((given < 0) | (given >= vocabulary))[0].tolist()
        raise ValueError(
            f"tokens{where}={show(given[tuple(where)].item())}: must be a row of the table, "
            f"0 to {vocabulary - 1}"
        )
    return np.ascontiguousarray(given, np.int64)


def embed(
    work: Work,
    tokens: Operand,
    table: Operand,
    out: Operand,
    out_pitch: int,
    *,
    rows: int,
    features: int,
    dtype: str,
    machine: Machine,
    vocabulary: int = NOWHERE,
    title: str = "embed",
    barrier: bool = False,
) -> None:
    """Add the step ``out[r] = table[tokens[r]]``.

    tokens: (rows,) of int64; table: (vocabulary, features), contiguous; out: a map (rows,
    features). With ``vocabulary`` a token that is no row reads the last one.
    """
    words = (tokens, table, out, features, out_pitch, vocabulary - 1)
    work.steps.append(Step(Embed(dtype), rows, words, title, barrier))


def embed_grad(
    work: Work,
    tokens: Operand,
    grad: Operand,
    grad_pitch: int,
    out: Operand,
    *,
    rows: int,
    vocabulary: int,
    features: int,
    dtype: str,
    machine: Machine,
    padding_index: int | None = None,
    title: str = "embed gradient",
    barrier: bool = False,
) -> None:
    """Add the steps that compute the gradient for the table, out: (vocabulary, features).

    Rows are added in the order of the tokens. The row ``padding_index`` gets none, and what is no
    row of the table is left out.
    """
    vectors = max(1, LINE // machine.vector_bytes)
    blocks = -(-features // (vectors * machine.lanes(dtype)))
    size = vocabulary * features
    work.steps.append(Step(Zero(dtype), -(-size // CHUNK), (out, size), f"{title}: zeros", barrier))
    padding = NOWHERE if padding_index is None else padding_index
    words = (tokens, grad, out, features, grad_pitch, rows, vocabulary, padding)
    work.steps.append(Step(EmbedGrad(dtype, vectors), blocks, words, title, True))
