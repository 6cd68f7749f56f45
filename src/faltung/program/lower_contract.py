"""Products of two values, and attention, as steps."""

from collections.abc import Sequence
from math import prod

from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.graph.attended import attended
from faltung.graph.contracted import BATCH, labelled
from faltung.graph.ops import Attention, Contract
from faltung.graph.value import Node, Value
from faltung.methods.base.correlation import Strides
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import Work
from faltung.methods.contract.attention import Mask, Rows, Sizes, attention
from faltung.methods.contract.axes import product, split
from faltung.methods.contract.contract import Operands, contract
from faltung.program.lowering import Lowering, broadcast_strides


def contract_values(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, Contract)
    found = labelled(op, node.inputs[:2], node.output)
    sizes = dict(found.sizes) | {BATCH: low.batch}
    a, b, *aux = node.inputs
    labels, strides = [], []
    for value, own in zip((a, b, node.output), found.labels, strict=True):
        labels.append(BATCH * value.batched + own)
        strides.append(_strides(low, value, [sizes[label] for label in own]))
    for value in aux:
        labels.append(labels[2])
        strides.append(_spread(low, value, node.output, [sizes[c] for c in found.labels[2]]))
    out = node.output
    where = Operands(low.where(a), low.where(b), low.where(out), tuple(map(low.where, aux)))
    work.cycles = contract(
        work,
        product(labels, strides, sizes),
        where,
        dtype=low.dtype,
        machine=low.machine,
        epilogue=None if op.epilogue is None else Epilogue(op.epilogue, len(aux)),
    )


def attention_values(low: Lowering, node: Node, work: Work) -> None:
    op = node.op
    assert isinstance(op, Attention)
    found = attended(op, node.inputs)
    q, k, *rest = node.inputs
    v = None if op.weights else rest.pop(0)
    sizes = Sizes(
        *(low.batch if node.output.batched else 1, found.samples),
        *(op.heads, op.kv_heads, found.queries, found.keys),
        *(found.length, found.channels),
    )
    if op.weights:
        pitch = low.pitch(node.output)
        across = found.queries * pitch
        sample = op.heads * across
        out = Rows(low.where(node.output), found.samples * sample, sample, across, pitch)
    else:
        out = _rows(low, node.output, found.channels)
    work.cycles = attention(
        work,
        sizes,
        _rows(low, q, found.length),
        _rows(low, k, found.length),
        None if v is None else _rows(low, v, found.channels),
        out,
        scale=op.scale,
        dtype=low.dtype,
        machine=low.machine,
        masks=[_mask(low, mask) for mask in rest],
        causal=op.causal,
        offset=op.offset,
        softcap=op.softcap,
    )


def _rows(low: Lowering, value: Value, channels: int) -> Rows:
    """The rows of heads of so many channels. UnsupportedError: a parameter that is stored otherwise
    than a map.
    """
    pitch = low.pitch(value)
    sizes, steps = memory(low, value)
    rows = split(sizes[1:-1], steps[1:-1], (value.positions,))
    if steps[-1] != 1 or rows not in ((pitch,), (0,)):
        raise UnsupportedError(
            f"{value.name}: attention reads parameters whose channels are stored last; "
            "it must have an order that ends with axis 0"
        )
    sample = pitch * value.positions
    return Rows(low.where(value), _batch(low, value), sample, channels, pitch)


def _mask(low: Lowering, value: Value) -> Mask:
    """A mask with 0 for the steps along which it is the same."""
    (several, heads, queries, keys), steps = memory(low, value)
    sample, head, query, key = (
        step if size > 1 else 0
        for size, step in zip((several, heads, queries, keys), steps, strict=True)
    )
    return Mask(low.where(value), _batch(low, value), several, sample, head, query, key)


def memory(low: Lowering, value: Value) -> tuple[tuple[int, ...], Strides]:
    """The axes of a value in the order of its memory, (samples, *space, C), and their strides."""
    if not value.batched and value.name in low.weights and len(value.shape) > 1:
        channel, *space = low.weights[value.name]
        return (value.samples, *value.shape[1:], value.shape[0]), (0, *space, channel)
    pitch = low.pitch(value)
    if not value.shape:
        return (value.samples,), (pitch,)
    sizes = (value.samples, *value.shape[1:], value.shape[0])
    if low.places.place(value).first:
        positions = value.positions
        along = [prod(value.shape[i + 1 :]) for i in range(1, len(value.shape))]
        return sizes, (value.channels * positions, *along, positions)
    along = [pitch * prod(sizes[i + 1 : -1]) for i in range(len(sizes) - 1)]
    return sizes, (*along, 1)


def _strides(low: Lowering, value: Value, dims: Sequence[int]) -> Strides:
    """Strides of the batch, where there is one, and of axes ``dims`` that the numbers are seen
    with.
    """
    sizes, steps = memory(low, value)
    if len(dims) == len(sizes) and tuple(dims) == sizes:
        found: Strides | None = steps
    else:
        found = split(sizes, steps, dims)
    if found is None:
        raise FaltungError(
            f"{value.name}: {sizes} with strides {steps} cannot be seen as {tuple(dims)}"
        )
    if not value.batched:
        return found
    return (_batch(low, value), *found)


def _batch(low: Lowering, value: Value) -> int:
    """Elements from one sample of the batch to the next."""
    return low.pitch(value) * value.samples * value.positions if value.batched else 0


def _spread(low: Lowering, value: Value, out: Value, dims: Sequence[int]) -> Strides:
    """The strides of what an epilogue reads, along the axes of the result, or 0."""
    batch, *steps = broadcast_strides(low, value, out.shape)
    found = split((out.samples, *out.space, out.channels), steps, dims)
    if found is None:
        raise FaltungError(f"{value.name}: cannot be seen as {tuple(dims)}")
    return (*(batch,) * out.batched, *found)
