"""Products of foreign tensors: an einsum of two as one ``Contract``, wherever their axes lie.

The axes of both operands, in whatever order memory has them, become the labels of the product:
nothing is moved. Where both split an axis, it is split alike; where that cannot be, one is copied.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid, numbers
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_reduce import reduced
from faltung.graph.ops import Contract

Array = npt.NDArray[Any]
Operand = Tensor | Array
# Each label is any character.
Labels = Sequence[str]


def product(
    f: Foreign, a: Operand, b: Operand, labels: tuple[Labels, Labels, Labels], shape: Shape
) -> Tensor:
    """The einsum ``a, b -> out`` of the labels, of which each stands for an axis.

    shape: of the result. An axis of size 1 is broadcast where the other operand has more. What only
    one operand has and the result lacks is summed first. FaltungError: sizes that differ.
    """
    own = [list(part) for part in labels]
    operands: list[Operand] = [a, b]
    for number in range(2):
        operands[number] = _alone(f, operands, own, number)
    if _by_elements(operands, own):
        return _elements(f, operands, own, shape)
    tensors = [x if isinstance(x, Tensor) else _constant(f, x) for x in operands]
    sizes = _sizes(tensors, own[:2])
    if tuple(sizes.get(label, 1) for label in own[2]) != tuple(shape):
        raise FaltungError(f"shapes {a.shape} and {b.shape}: do not fit each other")
    f.require(prod(shape))
    tensors, cut = _cut(f, tensors, own)
    names = _names(cut)
    inputs = [_aligned(f, x) for x in tensors]
    words = [_word(x, part, names) for x, part in zip(tensors, own, strict=False)]
    dims = tuple(size for label in own[2] for size in cut.get(label, ()))
    word = "".join(letter for label in own[2] for letter in names.get(label, ""))
    front = _in_front(f, tensors, words, word)
    last = next((len(cut[label]) for label in reversed(own[2]) if cut.get(label)), 0)
    last = min(last, len(dims) - front)
    samples, inner = prod(dims[:front]), prod(dims[len(dims) - last :])
    positions = prod(dims) // samples // inner
    op = Contract(words[0], words[1], word, _numbers(cut, names))
    form = (inner, positions) if positions > 1 else (inner,)
    value = f.node(op, inputs, form, samples=samples)
    axes, at = [], 0
    for label in own[2]:
        count = len(cut.get(label, ()))
        axes.append(tuple(range(at, at + count)))
        at += count
    dtype = next(x.dtype for x in (a, b) if isinstance(x, Tensor))
    return Tensor(value, dims, tuple(axes), dtype)


def _alone(
    f: Foreign, operands: Sequence[Operand], labels: Sequence[list[str]], number: int
) -> Operand:
    """An operand without the axes that neither the result has nor the other one, more than once."""
    x, own, other = operands[number], labels[number], operands[1 - number]
    there = zip(labels[1 - number], other.shape, strict=True)
    others = {label for label, size in there if size > 1} | {*labels[2]}
    gone = [i for i, label in enumerate(own) if label not in others]
    if any(own.count(own[i]) > 1 for i in gone) or not gone:
        return x  # a trace: the product sums it
    if isinstance(x, Tensor):
        x = reduced(f, x, gone, "sum", False)
    else:
        x = x.sum(axis=tuple(gone), dtype=x.dtype)
    own[:] = [label for i, label in enumerate(own) if i not in gone]
    return x


def _by_elements(operands: Sequence[Operand], labels: Sequence[Labels]) -> bool:
    """Whether a product is one of elements, and sums of these: nothing is summed that has entries,
    or both operands have all that the result has.
    """
    have = [
        {label for label, size in zip(own, x.shape, strict=True) if size > 1}
        for x, own in zip(operands, labels, strict=False)
    ]
    once = all(len(set(own)) == len(own) for own in labels)
    summed = (have[0] | have[1]) - set(labels[2])
    return once and (not summed or have[0] == have[1])


def _elements(
    f: Foreign, operands: Sequence[Operand], labels: Sequence[Labels], shape: Shape
) -> Tensor:
    """The products of the elements, summed over what the result lacks."""
    every = list(dict.fromkeys((*labels[2], *labels[0], *labels[1])))
    wide = [_spread(f, x, own, every) for x, own in zip(operands, labels, strict=False)]
    count = len(labels[2])
    made = formula(f, lambda x, y: x * y, *wide, shape=(*shape, *(1,) * (len(every) - count)))
    if made.shape[:count] != tuple(shape):
        raise FaltungError(f"shapes {operands[0].shape} and {operands[1].shape}: do not fit")
    return reduced(f, made, range(count, len(every)), "sum", False)


def _spread(f: Foreign, x: Operand, own: Labels, every: Labels) -> Operand:
    """An operand with an axis for every label, of size 1 where it lacks it."""
    order = [own.index(label) for label in every if label in own]
    sizes = [x.shape[own.index(label)] if label in own else 1 for label in every]
    if isinstance(x, Tensor):
        return f.reshaped(x.transposed(order), tuple(sizes))
    return x.transpose(order).reshape(sizes)


def _constant(f: Foreign, array: Array) -> Tensor:
    """A constant as its numbers, one after the other."""
    if not array.size:
        raise Unsaid("a tensor without elements")
    flat = np.ascontiguousarray(array).reshape(-1)
    return f.result(f.parameter("weight", flat, of=array), array.shape, str(array.dtype))


def _sizes(tensors: Sequence[Tensor], labels: Sequence[Labels]) -> dict[str, int]:
    """The size of each label."""
    found: dict[str, int] = {}
    for x, own in zip(tensors, labels, strict=True):
        numbers(x)
        for label, size in zip(own, x.shape, strict=True):
            known = found.setdefault(label, size)
            if known != size and 1 not in (known, size):
                raise FaltungError(f"sizes {known} and {size}: must be the same to be multiplied")
            found[label] = max(known, size)
    return found


def _cut(
    f: Foreign, tensors: Sequence[Tensor], labels: Sequence[Labels]
) -> tuple[list[Tensor], dict[str, Shape]]:
    """The tensors with each label split alike wherever it stands, and how."""
    made = list(tensors)
    ends: dict[str, set[int]] = {}
    for x, own in zip(made, labels, strict=False):
        for label, axis in zip(own, x.axes, strict=True):
            if axis:
                ends.setdefault(label, set()).update(_ends([x.dims[i] for i in axis]))
    if any(b % a for found in ends.values() for a, b in pairwise(sorted(found))):
        whole = [f.result(f.straightened(x).value, x.shape, x.dtype) for x in made]
        return _cut(f, whole, labels)
    cut = {
        label: tuple(b // a for a, b in pairwise(sorted(found)))[::-1]
        for label, found in ends.items()
    }
    for number, (x, own) in enumerate(zip(made, labels, strict=False)):
        parts: list[list[int]] = [[n] for n in x.dims]
        for label, axis in zip(own, x.axes, strict=True):
            left = list(cut.get(label, ()))
            for i in axis:
                parts[i] = []
                while prod(parts[i]) < x.dims[i]:
                    parts[i].append(left.pop(0))
        made[number] = x.split(parts)
    return made, cut


def _ends(sizes: Sequence[int]) -> list[int]:
    """How many entries the last parts of an axis have together, from none of them to all."""
    made = [1]
    for size in reversed(sizes):
        made.append(made[-1] * size)
    return made


def _names(cut: Mapping[str, Shape]) -> dict[str, str]:
    """A letter for each part of each label."""
    letters = iter(ascii_letters)
    try:
        return {label: "".join(next(letters) for _ in sizes) for label, sizes in cut.items()}
    except StopIteration:
        raise Unsaid(f"a product over more than {len(ascii_letters)} axes") from None


def _numbers(cut: Mapping[str, Shape], names: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    return tuple(
        pair for label, sizes in cut.items() for pair in zip(names[label], sizes, strict=True)
    ) or (("a", 1),)


def _word(x: Tensor, labels: Labels, names: Mapping[str, str]) -> str:
    """The letters of a tensor's dims, as they lie in memory."""
    found = [""] * len(x.dims)
    for label, axis in zip(labels, x.axes, strict=True):
        for letter, i in zip(names.get(label, "") if axis else "", axis, strict=True):
            found[i] = letter
    return "".join(found)


def _in_front(f: Foreign, tensors: Sequence[Tensor], words: Sequence[str], out: str) -> int:
    """How many of the first labels of the result are the batch, in front of what has it."""
    batch = max((word[: f.front(x)] for x, word in zip(tensors, words, strict=True)), key=len)
    apart = any(set(word[len(batch) :]) & set(batch) for word in words)
    return len(batch) if out.startswith(batch) and not apart else 0


def _aligned(f: Foreign, x: Tensor) -> Any:
    """The value, where its channels are some of the last dims; else all of its numbers in a row."""
    ends = {1}
    for size in reversed(x.dims):
        ends.add(max(ends) * size)
    return x.value if x.value.channels in ends else f.vector(x.value)


def einsum(
    f: Foreign, operands: Sequence[Operand], labels: Sequence[Labels], out: Labels
) -> Tensor:
    """The einsum of any number of operands, two by two from the first on."""
    for x, part in zip(operands, labels, strict=True):
        if len(part) != len(x.shape):
            raise FaltungError(f"shape={tuple(x.shape)}: must have {len(part)} axes")
    left, own = operands[0], list(labels[0])
    if len(operands) == 1:
        return _single(f, left, own, out)
    for number in range(1, len(operands)):
        right, other = operands[number], list(labels[number])
        if not isinstance(left, Tensor) and not isinstance(right, Tensor):
            raise Unsaid("a product of constants beside computed tensors")
        later = {label for part in labels[number + 1 :] for label in part} | set(out)
        kept = [label for label in dict.fromkeys((*own, *other)) if label in later]
        if number == len(operands) - 1:
            kept = list(out)
        sizes: dict[str, int] = {}
        for x, part in ((left, own), (right, other)):
            for label, size in zip(part, x.shape, strict=True):
                sizes[label] = max(size, sizes.get(label, 1))
        shape = tuple(sizes[label] for label in kept)
        left, own = product(f, left, right, (own, other, kept), shape), kept
    assert isinstance(left, Tensor)
    return left


def _single(f: Foreign, x: Operand, labels: list[str], out: Labels) -> Tensor:
    """Sums, diagonals and the order of axes of one tensor."""
    assert isinstance(x, Tensor)
    if len(set(labels)) == len(labels):
        gone = [i for i, label in enumerate(labels) if label not in set(out)]
        x = reduced(f, x, gone, "sum", False)
        left = [label for label in labels if label in set(out)]
        return x.transposed([left.index(label) for label in out])
    sizes = dict(zip(labels, x.shape, strict=True))
    one = np.ones((), x.dtype)
    return product(f, x, one, (labels, [], out), tuple(sizes[label] for label in out))


def equation(text: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """The labels of each operand and of the result; those of an ellipsis are "...0", "...1" and so
    on, counted from the last axis that it stands for. FaltungError: none of these.
    """
    terms, arrow, result = text.replace(" ", "").partition("->")
    words = terms.split(",")
    if len(words) != len(ranks):
        raise FaltungError(f"equation={text!r}: must have {len(ranks)} terms")
    most = 0
    labels = []
    for word, rank in zip(words, ranks, strict=True):
        letters = _letters(text, word.replace("...", "", 1))
        if "..." not in word:
            labels.append(letters)
            continue
        spread = rank - len(letters)
        if spread < 0:
            raise FaltungError(f"equation={text!r}: has more labels than an operand axes")
        most = max(most, spread)
        before = len(word.split("...")[0])
        labels.append([*letters[:before], *_dots(spread), *letters[before:]])
    if arrow:
        before = len(result.split("...")[0])
        letters = _letters(text, result.replace("...", "", 1))
        spread = most if "..." in result else 0
        out = [*letters[:before], *_dots(spread), *letters[before:]]
    else:  # in the order of the alphabet, what stands there once
        every = [label for part in labels for label in part if len(label) == 1]
        out = [*_dots(most), *sorted(label for label in every if every.count(label) == 1)]
    known = {label for part in labels for label in part}
    if len(set(out)) < len(out) or not set(out) <= known:
        raise FaltungError(f"equation={text!r}: its result must have each of its labels once")
    return labels, out


def _letters(text: str, word: str) -> list[str]:
    if word and not (word.isascii() and word.isalpha()):
        raise FaltungError(f"equation={text!r}: labels must be letters")
    return list(word)


def _dots(count: int) -> list[str]:
    return [f"...{i}" for i in reversed(range(count))]
