"""Moves after products: a product stores its result in the order that a permutation would make."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise
from string import ascii_letters

from faltung.graph.contracted import labelled
from faltung.graph.ops import Contract, Permute
from faltung.graph.value import Node, consumers

Sizes = tuple[int, ...]


def moved(nodes: Sequence[Node], kept: Collection[str]) -> tuple[Node, ...]:
    """The same computation; ``kept``: values that are read elsewhere."""
    made = list(nodes)
    places = {node.output.name: number for number, node in enumerate(made)}
    readers = consumers(tuple(made))
    for here, node in enumerate(nodes):
        if not isinstance(node.op, Permute) or node.inputs[0].name not in places:
            continue
        maker = made[places[node.inputs[0].name]]
        alone = len(readers[node.inputs[0].name]) == 1 and node.inputs[0].name not in kept
        if not (isinstance(maker.op, Contract) and maker.op.epilogue is None and alone):
            continue
        op = _permuted(maker, node.op)
        if op is not None:
            made[here] = replace(maker, op=op, outputs=node.outputs)
            made[places[node.inputs[0].name]] = replace(maker, outputs=())
    return tuple(node for node in made if node.outputs)


def _permuted(product: Node, move: Permute) -> Contract | None:
    op = split(product, "out", move.dims)
    if op is None:
        return None
    sizes = dict(op.sizes)
    words, at = [], 0  # the letters of each of the dims
    for size in move.dims:
        word, total = "", 1
        while total < size:
            word += op.out[at]
            total *= sizes[op.out[at]]
            at += 1
        words.append(word)
    return replace(op, out="".join(words[axis] for axis in move.axes))


def split(product: Node, which: str, dims: Sizes) -> Contract | None:
    """The operation with the labels of "a", "b" or "out" split where ``dims`` are; None where the
    two do not divide each other. Labels of size 1 are left out of it.
    """
    op = product.op
    assert isinstance(op, Contract)
    op = plain(product)
    sizes = dict(op.sizes)
    word: str = getattr(op, which)
    ends = sorted(_ends([sizes[label] for label in word]) | _ends(dims))
    if any(b % a for a, b in pairwise(ends)):
        return None
    parts: dict[str, Sizes] = {}
    total = 1
    for label in reversed(word):
        own = [end for end in ends if total <= end <= total * sizes[label]]
        parts[label] = tuple(b // a for a, b in pairwise(own))[::-1]
        total *= sizes[label]
    return renamed(op, parts)


def renamed(op: Contract, parts: dict[str, Sizes]) -> Contract | None:
    """With these labels split into so many parts each; None where letters run out."""
    fresh = iter(sorted(set(ascii_letters) - set(dict(op.sizes))))
    names: dict[str, str] = {}
    sizes: dict[str, int] = dict(op.sizes)
    for label, own in parts.items():
        if len(own) > 1:
            del sizes[label]
            names[label] = "".join(next(fresh, "") for _ in own)
            if len(names[label]) < len(own):
                return None
            sizes |= dict(zip(names[label], own, strict=True))
    a, b, out = ("".join(names.get(c, c) for c in word) for word in (op.a, op.b, op.out))
    return Contract(a, b, out, tuple(sizes.items()), op.epilogue)


def plain(product: Node) -> Contract:
    """The operation with its sizes said, and without labels of size 1."""
    op = product.op
    assert isinstance(op, Contract)
    found = labelled(op, product.inputs[:2], product.output)
    sizes = {label: size for label, size in found.sizes if size > 1}
    a, b, out = ("".join(c for c in word if c in sizes) for word in found.labels)
    return Contract(a, b, out, tuple(sizes.items()) or (("a", 1),), op.epilogue)


def _ends(sizes: Sequence[int]) -> set[int]:
    """How many entries the last axes have together, from none to all."""
    made = [1]
    for size in reversed(sizes):
        made.append(made[-1] * size)
    return set(made)
