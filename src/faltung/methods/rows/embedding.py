"""Embedding: rows of a table picked by tokens, and the gradient for the table.

What it is.  ``out[r] = table[tokens[r]]``, a copy of one row for each token; and ``grad_table[t] =
  sum over the r with tokens[r] = t of grad[r]``. An item of the gradient is a block of columns as
  wide as a cache line: it visits all tokens in order and adds, so that every sum has one order and
  no two items meet. The table is zeroed as a whole before, which is quicker than by columns.
When it applies.  Always; tokens are checked by the caller (``check_tokens``).
What it costs.  Memory: the rows, and for the gradient writing the table once.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.codegen.vectors import Vectors
from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.machine.costs import LINE_BYTES
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Matrix, Operand, Work

# Elements that one item sets to zero.
ZERO_ELEMENTS = 1 << 14
# No table has as many rows: a padding row that no token names.
NO_ROW = 1 << 62


# The kernels --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EmbedKernel(Kernel):
    """Items are tokens. ``last``: the last row of the table."""

    name = "embed"
    pointers = ("tokens", "table", "out")
    numbers = ("features", "out_pitch", "last")

    dtype: str

    def body(self, v: Vectors, given: Arguments) -> None:
        f, features = v.function, given["features"]
        whole = v.whole(features)
        rest = f.sub(features, whole)
        mask = v.below(rest)
        with f.loop("%begin", "%end") as item:
            token = f.word(given["tokens"], item.index)
            # The last row where it is none: nothing outside the table is ever read.
            inside = f.value(f"icmp ule i64 {token}, {given['last']}")
            row = f.value(f"select i1 {inside}, i64 {token}, i64 {given['last']}")
            src = v.at(given["table"], f.mul(row, features))
            dst = v.at(given["out"], f.mul(item.index, given["out_pitch"]))
            with f.loop(0, whole, step=v.lanes) as i:
                v.store(v.load(v.at(src, i.index)), v.at(dst, i.index))
            with f.when(f.value(f"icmp ne i64 {rest}, 0")):
                v.store(v.load(v.at(src, whole), mask), v.at(dst, whole), mask)


@dataclass(frozen=True)
class ZeroKernel(Kernel):
    """Items are ``ZERO_ELEMENTS`` elements of an array."""

    name = "zero"
    pointers = ("array",)
    numbers = ("elements",)

    dtype: str

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            first = f.mul(item.index, ZERO_ELEMENTS)
            length = f.minimum(f.sub(given["elements"], first), ZERO_ELEMENTS)
            here = v.at(given["array"], first)
            whole = v.whole(length)
            with f.loop(0, whole, step=v.lanes) as i:
                v.store(v.zero, v.at(here, i.index))
            v.store(v.zero, v.at(here, whole), v.below(f.sub(length, whole)))


@dataclass(frozen=True)
class EmbedGradKernel(Kernel):
    """Items are blocks of ``vectors`` vectors of columns. ``padding``: a row that gets nothing."""

    name = "embed_grad"
    pointers = ("tokens", "grad", "out")
    numbers = ("features", "grad_pitch", "rows", "vocabulary", "padding")

    dtype: str
    vectors: int

    def body(self, v: Vectors, given: Arguments) -> None:
        f, width = v.function, self.vectors * v.lanes

        def walk(first: str, masks: list[str | None]) -> None:
            source, target = v.at(given["grad"], first), v.at(given["out"], first)
            with v.walk(0, given["rows"], [(source, given["grad_pitch"])]) as row:
                token = f.word(given["tokens"], row.index)
                inside = f.value(f"icmp ult i64 {token}, {given['vocabulary']}")
                counts = f.value(f"icmp ne i64 {token}, {given['padding']}")
                with f.when(f.value(f"and i1 {inside}, {counts}")):
                    to = v.at(target, f.mul(token, given["features"]))
                    for q, mask in enumerate(masks):
                        here = v.at(to, q * v.lanes)
                        more = v.load(v.at(row.values[0], q * v.lanes), mask)
                        v.store(v.add(v.load(here, mask), more), here, mask)

        with f.loop("%begin", "%end") as item:
            first = f.mul(item.index, width)
            left = f.sub(given["features"], first)
            masks = [v.below(f.sub(left, q * v.lanes)) for q in range(self.vectors)]
            short = f.value(f"icmp slt i64 {left}, {width}")
            f.choose(
                short, lambda: walk(first, [*masks]), lambda: walk(first, [None] * self.vectors)
            )


# The plan -----------------------------------------------------------------------------------------


def check_tokens(tokens: npt.ArrayLike, vocabulary: int) -> npt.NDArray[np.int64]:
    """The tokens, contiguous and as int64. TypeError: not integers. ValueError: one that is no
    row of the table, 0 to ``vocabulary - 1``, and where it stands.
    """
    given: npt.NDArray[Any] = np.asarray(tokens)
    if given.dtype.kind not in "iu":
        raise FaltungTypeError(f"tokens.dtype={given.dtype}: must be whole numbers")
    if given.size and (given.min() < 0 or given.max() >= vocabulary):
        where = np.argwhere((given < 0) | (given >= vocabulary))[0].tolist()
        raise FaltungError(
            f"tokens{where}={show(given[tuple(where)].item())}: must be a row of the table, "
            f"0 to {vocabulary - 1}"
        )
    return np.ascontiguousarray(given, np.int64)


def embed(
    work: Work,
    tokens: Operand,
    table: Operand,
    out: Matrix,
    *,
    rows: int,
    features: int,
    dtype: str,
    vocabulary: int = NO_ROW,
) -> None:
    """Add the step ``out[r] = table[tokens[r]]``.

    tokens: (rows,) of int64; table: (vocabulary, features), contiguous; out: (rows, features). With
    ``vocabulary`` a token that is no row reads the last one.
    """
    step = EmbedKernel(dtype).step(
        rows,
        "embed",
        barrier=False,
        tokens=tokens,
        table=table,
        **out.arguments("out"),
        features=features,
        last=vocabulary - 1,
    )
    work.steps.append(step)


def embed_grad(
    work: Work,
    tokens: Operand,
    grad: Matrix,
    out: Operand,
    *,
    rows: int,
    vocabulary: int,
    features: int,
    dtype: str,
    machine: Machine,
    padding_index: int | None = None,
) -> None:
    """Add the steps that compute the gradient for the table, out: (vocabulary, features).

    Rows are added in the order of the tokens. The row ``padding_index`` gets none, and what is no
    row of the table is left out.
    """
    vectors = max(1, LINE_BYTES // machine.vector_bytes)
    size = vocabulary * features
    zero = ZeroKernel(dtype).step(
        -(-size // ZERO_ELEMENTS), "embed gradient: zeros", array=out, elements=size
    )
    add = EmbedGradKernel(dtype, vectors).step(
        -(-features // (vectors * machine.lanes(dtype))),
        "embed gradient",
        barrier=True,
        tokens=tokens,
        **grad.arguments("grad"),
        out=out,
        features=features,
        rows=rows,
        vocabulary=vocabulary,
        padding=NO_ROW if padding_index is None else padding_index,
    )
    work.steps += [zero, add]
