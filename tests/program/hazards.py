"""Which bytes each part of a program reads and writes, counted out; and random networks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from faltung import nn
from faltung.graph.value import Value
from faltung.methods.base.step import Step
from faltung.program.assemble import Assembly

Bytes = dict[str, np.ndarray]


@dataclass
class Part:
    """The steps of a node, or those that pack its weights; bytes by memory, True where touched."""

    title: str
    words: set[int]
    reads: list[tuple[str, np.ndarray]]
    writes: list[tuple[str, np.ndarray]]


def touched(assembly: Assembly, value: Value) -> tuple[str, np.ndarray]:
    """The bytes of a value: of each position its own channels alone."""
    memory = next(n for n, array in assembly.memories.items() if _holds(assembly, n, value))
    all_of_it = assembly.memories[memory].view(np.uint8)
    mask = np.zeros(all_of_it.size, bool)
    array = assembly.array(value)
    item = array.itemsize
    start = _address(array) - _address(all_of_it)
    offsets = np.zeros(array.shape, np.int64)
    for axis, (size, stride) in enumerate(zip(array.shape, array.strides, strict=True)):
        shape = [1] * array.ndim
        shape[axis] = size
        offsets += (np.arange(size) * stride).reshape(shape)
    for byte in range(item):
        mask[start + offsets.ravel() + byte] = True
    return memory, mask


def _there(assembly: Assembly, value: Value) -> bool:
    return any(_holds(assembly, memory, value) for memory in assembly.memories)


def _holds(assembly: Assembly, memory: str, value: Value) -> bool:
    return assembly._fixed[assembly.lowering.places.root(value).name][0] == memory


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def whole(assembly: Assembly, name: str, size: int) -> tuple[str, np.ndarray]:
    memory, at = assembly._fixed[name]
    mask = np.zeros(assembly.memories[memory].nbytes, bool)
    mask[at : at + size] = True
    return memory, mask


def parts(assembly: Assembly, packs: bool) -> list[Part]:
    """What runs in a program's region, node by node."""
    found = []
    for made in assembly.lowered:
        # Folded weights are nowhere while a program runs: it reads what was packed of them.
        reads = [touched(assembly, v) for v in made.reads if _there(assembly, v)]
        writes = [touched(assembly, v) for v in made.writes]
        writes += [whole(assembly, name, size) for name, size in made.scratch.items()]
        packed = [whole(assembly, name, size) for name, size in made.kept.items()]
        title = made.node.output.name
        words = {id(step.arguments) for step in made.steps}
        found.append(Part(title, words, reads + packed, writes))
        if packs and made.prepare:
            inputs = made.node.inputs
            given = inputs[1:3] if hasattr(made.node.op, "spec") else inputs
            weights = [touched(assembly, v) for v in given if not v.batched]
            words = {id(step.arguments) for step in made.prepare}
            found.append(Part(f"pack {title}", words, weights, packed))
    return found


def segments(steps: list[Step]) -> Iterator[list[Step]]:
    """Steps with no barrier between them."""
    found: list[Step] = []
    for step in steps:
        if step.barrier and found:
            yield found
            found = []
        found.append(step)
    yield found


def check_barriers(assembly: Assembly, packs: bool) -> int:
    """No part writes what another touches without a barrier between them; how many segments."""
    every = parts(assembly, packs)
    by_words = {words: part for part in every for words in part.words}
    assert sum(len(part.words) for part in every) == len(by_words)
    count = 0
    for segment in segments(assembly.steps):
        count += 1
        here: list[Part] = []
        for step in segment:
            part = by_words.get(id(step.arguments))  # None: the optimizer, which waits for all
            if part is not None and part not in here:
                here.append(part)
        seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for part in here:
            for memory, mask in part.reads:
                if memory in seen:
                    assert not (mask & seen[memory][1]).any(), part.title
            for memory, mask in part.writes:
                if memory in seen:
                    assert not (mask & (seen[memory][0] | seen[memory][1])).any(), part.title
            for number, group in enumerate((part.reads, part.writes)):
                for memory, mask in group:
                    blank = np.zeros(mask.size, bool)
                    seen.setdefault(memory, (blank, blank.copy()))[number][:] |= mask
    return count


# Random networks ----------------------------------------------------------------------------------

SHAPE = (4, 6, 5)
PLAIN: tuple[nn.Layer, ...] = (
    nn.Conv(4, 3, padding=1),
    nn.Conv(4, 1, bias=False),
    nn.Conv(4, 3, padding=2, dilation=2, groups=2),
    nn.Conv(4, 3, padding=1, padding_mode="circular"),
    nn.ConvTranspose(4, 3, padding=1),
    nn.Local(4, 1),
    nn.ReLU(),
    nn.Tanh(),
    nn.SiLU(),
    nn.Dropout(0.25),
    nn.BatchNorm(),
    nn.GroupNorm(2),
    nn.LayerNorm(),
    nn.LocalResponseNorm(3, alpha=0.3),
    nn.Attention(2),
    nn.Attention(2, kv_heads=1, causal=True),
    nn.MaxPool(3, stride=1, padding=1),
    nn.AvgPool(3, stride=1, padding=1),
    nn.Softmax(),
    nn.Identity(),
)
leaves = st.sampled_from(PLAIN)


def _narrowed(branches: list[nn.Layer]) -> nn.Layer:
    """Side by side, and back to the channels that every layer here has."""
    return nn.Sequential(nn.Parallel(*branches), nn.Conv(4, 1))


layers = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda found: nn.Sequential(*found)),
        st.lists(inner, min_size=2, max_size=3).map(_narrowed),
        inner.map(nn.Residual),
        st.tuples(inner, inner).map(lambda pair: nn.Residual(pair[0], shortcut=pair[1])),
    ),
    max_leaves=12,
)
# With something to train at both ends.
networks = layers.map(lambda found: nn.Sequential(nn.Conv(4, 1), found, nn.Conv(4, 1)))
