"""Attention: softmax(scale q k^T + mask) v, without a matrix of scores (A. Vaswani et al.,
"Attention Is All You Need", 2017).

What it is.  For a block of queries of one head, two vectors of them: the queries become a panel,
  tiles of keys give their scores, which stay in a piece of memory that the cache holds, a row for
  each key and a lane for each query; then the largest score of each lane, the powers and their sum;
  then tiles of queries by channels of the values, over the keys in their order. (As T. Dao et al.,
  "FlashAttention", 2022, but each row is whole, so that its softmax needs no correction and its
  sums have one order.)
When it applies.  Always. Keys and values may have fewer heads than queries (J. Ainslie et al.,
  "GQA", 2023), and all of them may lie side by side in one map.
What it costs.  The multiply-adds of both products, and an exponential for each pair.
"""

from collections.abc import Sequence

import numpy as np

from faltung.codegen.expr import INSTRUCTIONS
from faltung.codegen.tile import budget
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offset_columns
from faltung.methods.base.step import Argument, Operand, Table, Work, table
from faltung.methods.contract.attention_kernel import HEAD, AttentionKernel

# Vectors of queries in a block, and of channels in a tile of the result.
VECTORS = 2
# Items for each core, about: each has room for the scores of a block.
CORE_ITEMS = 4
# Blocks of a head from which keys and values are copied to where they are contiguous: rows of many
# heads are often a power of two apart, and meet in a few lines of every cache.
PACKED_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class Rows:
    """Where rows of heads lie: elements from one sample of the batch to the next, from sample to
    sample within it, from head to head, from row to row; the channels of a row are contiguous.
    """

    array: Operand
    batch: int
    sample: int
    head: int
    step: int


@dataclass(frozen=True, slots=True)
class Mask:
    """What is added to the scores: elements from one sample of the batch to the next, from sample
    to sample within it, of which it has as many as ``samples`` and then begins again, from head to
    head, from query to query and from key to key; 0 where it is the same.
    """

    array: Operand
    batch: int
    samples: int
    sample: int
    head: int
    query: int
    key: int

    @property
    def how(self) -> str:
        """How it is read: the "same" for all queries; "keys" or "queries" contiguous; "gather"."""
        if self.query == 0:
            return "same"
        return "keys" if self.key == 1 else "queries" if self.query == 1 else "gather"


@dataclass(frozen=True, slots=True)
class Sizes:
    """queries, keys and ``heads``, of which ``kv_heads`` have keys; ``length`` and ``channels``: of
    a head in keys, and in values.
    """

    batch: int
    samples: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    length: int
    channels: int


def attention(
    work: Work,
    sizes: Sizes,
    q: Rows,
    k: Rows,
    v: Rows | None,
    out: Rows,
    *,
    scale: float,
    dtype: str,
    machine: Machine,
    masks: Sequence[Mask] = (),
    causal: bool = False,
    offset: int = 0,
    softcap: float = 0.0,
) -> float:
    """Add the step of all heads; about how many cycles of one core it takes.

    Without ``v`` the weights of the keys themselves are stored: ``out`` has a row for each query.
    causal: query i sees keys 0 to i + ``offset``. softcap: scores s become softcap * tanh(s /
    softcap) before the mask is added.
    """
    lanes = machine.lanes(dtype)
    vectors = min(VECTORS, -(-sizes.queries // lanes))
    wide = max(1, min(VECTORS * lanes, sizes.channels))
    whole, rest = divmod(sizes.channels, wide)
    blocks = -(-sizes.queries // (vectors * lanes))
    packed = blocks >= PACKED_BLOCKS and v is not None
    kernel = AttentionKernel(
        dtype,
        vectors,
        min(budget(machine) // vectors, sizes.keys),
        sizes.length if packed else k.step,
        () if v is None else (wide, rest) if rest else (wide,),
        float(scale),
        float(softcap),
        tuple(mask.how for mask in masks),
        causal,
        packed,
    )
    heads = sizes.batch * sizes.samples * sizes.heads
    units = heads * blocks
    items = min(units, CORE_ITEMS * machine.cores)
    scratch = block = vectors * lanes * (sizes.length + 1 + sizes.keys)
    if packed:
        wide = whole * kernel.widths[0] + -(-rest // lanes) * lanes
        scratch += sizes.keys * (sizes.length + -(-wide // lanes) * lanes)
    given: dict[str, Argument] = {
        "scratch": work.borrow("scores", items * scratch * np.dtype(dtype).itemsize),
        "v": q.array if v is None else v.array,
        "v_step": 0 if v is None else v.step,
    }
    for i, mask in enumerate(masks):
        given |= {f"mask{i}": mask.array}
        given |= {f"mask{i}_query": mask.query, f"mask{i}_key": mask.key}
    work.steps.append(
        kernel.step(
            items,
            f"attention {vectors}x{kernel.key_rows}",
            barrier=False,
            **given,
            q=q.array,
            k=k.array,
            out=out.array,
            heads=_heads(sizes, q, k, v, out, masks),
            units=units,
            items=items,
            blocks=blocks,
            queries=sizes.queries,
            keys=sizes.keys,
            length=sizes.length,
            scratch_size=scratch,
            block_size=block,
            k_step=k.step,
            q_step=q.step,
            out_step=out.step,
            offset=offset,
            value_blocks=whole,
        )
    )
    pairs = units * vectors * sizes.keys
    terms = (sizes.length + sizes.channels * (v is not None)) / 2
    return pairs * (terms + INSTRUCTIONS["exp"])


def _heads(s: Sizes, q: Rows, k: Rows, v: Rows | None, out: Rows, masks: Sequence[Mask]) -> Table:
    """For each sample and head the offsets of q, k, v, the result and the masks."""
    shared = s.heads // s.kv_heads
    shape = s.batch, s.samples, s.kv_heads, shared

    def own(x: Rows | Mask) -> tuple[int, ...]:
        return x.batch, x.sample, x.head * shared, x.head

    def kept(x: Rows | None) -> tuple[int, ...]:
        return (x.batch, x.sample, x.head, 0) if x else (0,) * 4

    columns = [offset_columns(shape, own(q), kept(k), kept(v), own(out))]
    for mask in masks:
        batch, sample, *heads = own(mask)
        again = s.batch, s.samples // mask.samples, mask.samples, *shape[2:]
        columns.append(offset_columns(again, (batch, 0, sample, *heads)))
    return table(np.concatenate(columns, axis=1), HEAD + len(masks))
