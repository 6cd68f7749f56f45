"""Attention recognised at inference: a product, formulas that scale and mask it, a softmax, and a
product with the values become one operation, which stores none of what lies between.

Whatever views lie between, the numbers of the scores stay in one order; so the labels of both
products say which axes are samples, heads, queries, keys and channels.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from faltung.geometry.expr import Expr, operand, select
from faltung.graph.fuse_moves import plain, split
from faltung.graph.ops import Attention, Contract, Elementwise, Permute, Softmax, View
from faltung.graph.value import Node, Value, consumers

Sizes = tuple[int, ...]

# What scores become where they are not to count; added to any score that there is, it is itself.
HIDDEN = -1e30


@dataclass(slots=True)
class _Scores:
    """What leads from a product to a softmax."""

    scale: float = 1.0
    softcap: float = 0.0
    masks: list["_Mask"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Mask:
    """What is added to the map ``over``: a value, or with a ``formula`` what it makes of it."""

    value: Value
    over: Value
    formula: Expr | None = None


def with_attention(nodes: Sequence[Node], kept: Collection[str]) -> tuple[Node, ...]:
    """The same computation; ``kept``: values that are read elsewhere. What nobody reads any more
    stays: ``needed`` removes it.
    """
    every = tuple(nodes)
    if not any(isinstance(node.op, Softmax) for node in every):
        return every
    search = _Search(every, kept)
    made: list[Node] = []
    for node in every:
        made += search.fused(node) or [node]
    return tuple(made)


class _Search:
    def __init__(self, nodes: tuple[Node, ...], kept: Collection[str]) -> None:
        self.makers = {value.name: node for node in nodes for value in node.outputs}
        self.readers = consumers(nodes)
        self.kept = kept

    def alone(self, value: Value) -> bool:
        return len(self.readers.get(value.name, ())) == 1 and value.name not in self.kept

    def origin(self, value: Value, *, alone: bool = True) -> Value:
        """What a value is a view of. alone: as far as nothing else reads it."""
        while (node := self.makers.get(value.name)) is not None and isinstance(node.op, View):
            if alone and not self.alone(value):
                return value
            value = node.inputs[0]
        return value

    def maker(self, value: Value, kind: type) -> Node | None:
        """The node of this kind that made a value which nothing else reads, seen through views."""
        value = self.origin(value)
        node = self.makers.get(value.name)
        return (
            node if node is not None and isinstance(node.op, kind) and self.alone(value) else None
        )

    def fused(self, node: Node) -> list[Node] | None:
        """What takes the place of a product with values; None where it is something else."""
        if not isinstance(node.op, Contract) or node.op.epilogue is not None:
            return None
        for number in (0, 1):
            softmax = self.maker(node.inputs[number], Softmax)
            if softmax is None or softmax.op != Softmax():
                continue
            scores = _Scores()
            first = self.scores(softmax.inputs[0], scores)
            if first is not None and scores.softcap >= 0:
                found = _Pair.of(first, node, number, softmax.output.channels)
                return None if found is None else self.attention(found, scores, node)
        return None

    def scores(self, value: Value, found: _Scores) -> Node | None:
        """The product that a softmax reads, and what scales and masks it on the way."""
        while True:
            node = self.maker(value, Contract)
            if node is not None:
                op = node.op
                assert isinstance(op, Contract)
                return node if op.epilogue is None else None
            node = self.maker(value, Elementwise)
            if node is None:
                return None
            op = node.op
            assert isinstance(op, Elementwise)
            if len(op.outputs) != 1 or op.reductions:
                return None
            main = [v for v in node.inputs if v.size == node.output.size and v.batched]
            for candidate in main:
                number = node.inputs.index(candidate)
                cap = capped(op.outputs[0], number)
                if cap is not None and not found.softcap and self.leads(candidate):
                    found.softcap = found.scale * cap[0]
                    found.scale = found.softcap * cap[1]
                    value = candidate
                    break
                shown, hides = hidden(op.outputs[0], number)
                step = affine(shown, number)
                if step is not None and self.leads(candidate):
                    factor, terms = step
                    if (terms or hides) and (found.scale != 1 or found.softcap):
                        return None
                    found.scale *= factor
                    added = [(i, None) for i in terms] + ([hides] if hides else [])
                    found.masks += [_Mask(node.inputs[i], node.output, e) for i, e in added]
                    value = candidate
                    break
            else:
                return None

    def leads(self, value: Value) -> bool:
        """Whether a value may be a product, or formulas of one."""
        return any(self.maker(value, kind) is not None for kind in (Contract, Elementwise))

    def attention(self, pair: "_Pair", scores: _Scores, node: Node) -> list[Node] | None:
        """The operation, with views around it, and a move where the result has another order."""
        op = Attention(prod(pair.heads), prod(pair.heads), 1.0, softcap=scores.softcap)
        q, k, v = pair.inputs
        scale = scores.scale
        (q, by_q), (k, by_k) = self.unscaled(q), self.unscaled(k)
        op = replace(op, scale=scale * by_q * by_k)
        made: list[Node] = []

        def seen(x: Value, samples: int, shape: Sizes) -> Value:
            if (x.samples, x.shape) == (samples, shape):
                return x
            name = f"{node.output.name}.{len(made)}"
            value = Value(name, shape, x.batched, x.kind, samples)
            made.append(Node(View(), (x,), (value,), node.layer))
            return value

        heads, samples = prod(pair.heads), prod(pair.samples)
        queries, keys = prod(pair.queries), prod(pair.keys)
        forms = (queries, pair.length), (keys, pair.length), (keys, pair.channels)
        inputs = [
            seen(x, samples, (heads * channels, positions))
            for x, (positions, channels) in zip((q, k, v), forms, strict=True)
        ]
        for number, mask in enumerate(scores.masks):
            form = pair.mask(mask.value, mask.over)
            if form is None:
                return None
            read = mask.value
            if mask.formula is not None:
                name = f"{node.output.name}.mask{number}"
                made_of = Elementwise(read.shape, (mask.formula,), batched=read.batched)
                read = replace(read, name=name)
                made.append(Node(made_of, (mask.value,), (read,), node.layer))
            inputs.append(seen(read, *form))
        out = Value(
            f"{node.output.name}.heads",
            (heads * pair.channels, queries),
            node.output.batched,
            samples=samples,
        )
        made.append(Node(op, tuple(inputs), (out,), node.layer))
        if pair.order is None:
            made.append(Node(View(), (out,), node.outputs, node.layer))
        else:
            made.append(Node(Permute(*pair.order), (out,), node.outputs, node.layer))
        return made

    def unscaled(self, value: Value) -> tuple[Value, float]:
        """What a value is a multiple of, if nothing else reads it, and how many times."""
        node = self.maker(value, Elementwise)
        if node is None or len(node.inputs) != 1:
            return value, 1.0
        op = node.op
        assert isinstance(op, Elementwise)
        if len(op.outputs) != 1 or op.reductions or self.origin(value) != value:
            return value, 1.0
        step = affine(op.outputs[0], 0)
        if step is None or step[1] or node.inputs[0].size != value.size:
            return value, 1.0
        return node.inputs[0], step[0]


def hidden(expr: Expr, main: int) -> tuple[Expr, tuple[int, Expr] | None]:
    """A formula that is ``HIDDEN`` where a condition on another operand says so: what it is
    elsewhere, the number of that operand, and what is to be added for it. Others are themselves.
    """
    if expr.op != "select":
        return expr, None
    condition, yes, no = expr.terms
    read = condition.operands()
    low = [term.value is not None and term.value <= HIDDEN for term in (yes, no)]
    if sum(low) != 1 or len(read) != 1 or main in read:
        return expr, None
    (number,) = read
    given = condition.replaced([operand(0)] * (number + 1))
    branches = (yes, 0.0) if low[0] else (0.0, no)
    return (no if low[0] else yes), (number, select(given, *branches))


def capped(expr: Expr, main: int) -> tuple[float, float] | None:
    """The factors around and inside the tanh of a formula that is a multiple of one."""
    if expr.op in ("mul", "div"):
        a, b = expr.terms
        if a.value is not None and expr.op == "mul":
            a, b = b, a
        found = capped(a, main)
        if found is None or not b.value:
            return None
        return (found[0] * b.value if expr.op == "mul" else found[0] / b.value), found[1]
    if expr.op != "tanh":
        return None
    inside = affine(expr.terms[0], main)
    return None if inside is None or inside[1] or not inside[0] else (1.0, inside[0])


def affine(expr: Expr, main: int) -> tuple[float, list[int]] | None:
    """A formula as a multiple of operand ``main`` and a sum of others: the factor, and these."""
    if expr.op == "operand":
        number = int(expr.args[0])  # type: ignore[arg-type]
        return (1.0, []) if number == main else (0.0, [number])
    if expr.op in ("mul", "div"):
        a, b = expr.terms
        if a.value is not None and expr.op == "mul":
            a, b = b, a
        found = affine(a, main)
        if found is None or found[1] or b.value is None or not b.value:
            return None
        return (found[0] * b.value if expr.op == "mul" else found[0] / b.value), []
    if expr.op == "add":
        parts = [affine(term, main) for term in expr.terms]
        if None in parts:
            return None
        factors = [part[0] for part in parts if part is not None]
        return sum(factors), [i for part in parts if part is not None for i in part[1]]
    return None


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two products as attention: the sizes of its axes, split as far as labels are. inputs: q, k,
    v. word: the labels of the scores in memory; of these ``samples_word`` and so on. order: the
    permutation that brings the result into the order of the second product, or None.
    """

    inputs: tuple[Value, Value, Value]
    word: str
    sizes: Mapping[str, int]
    words: Mapping[str, str]
    length: int
    channels: int
    order: tuple[Sizes, Sizes] | None

    @property
    def samples(self) -> Sizes:
        return self._sizes("samples")

    @property
    def heads(self) -> Sizes:
        return self._sizes("heads")

    @property
    def queries(self) -> Sizes:
        return self._sizes("queries")

    @property
    def keys(self) -> Sizes:
        return self._sizes("keys")

    def _sizes(self, name: str) -> Sizes:
        return tuple(self.sizes[label] for label in self.words[name])

    @staticmethod
    def of(first: Node, second: Node, number: int, channels: int) -> "_Pair | None":
        """The two products; ``number``: the operand of the second one that is the softmax, along so
        many channels.
        """
        same = _same_labels(first, second, number)
        if same is None:
            return None
        one, two = same
        sizes = dict(one.sizes) | dict(two.sizes)
        weights, values = (two.a, two.b) if number == 0 else (two.b, two.a)
        keys = "".join(c for c in weights if c in values and c not in two.out)
        if not weights.endswith(keys) or prod(sizes[c] for c in keys) != channels:
            return None
        for a, b, turned in ((one.a, one.b, False), (one.b, one.a, True)):
            found = _roles(a, b, values, keys, one.out, two.out)
            if found is None:
                continue
            words, length, width = found
            inputs = first.inputs[::-1] if turned else first.inputs
            wanted = words["samples"] + words["queries"] + words["heads"] + width
            order = None
            if two.out != wanted:
                dims = tuple(sizes[c] for c in wanted)
                order = dims, tuple(wanted.index(c) for c in two.out)
            return _Pair(
                (inputs[0], inputs[1], second.inputs[1 - number]),
                *(weights, sizes, words),
                *(prod(sizes[c] for c in length), prod(sizes[c] for c in width)),
                order,
            )
        return None

    def mask(self, value: Value, over: Value) -> tuple[int, Sizes] | None:
        """A mask as samples of (keys, heads, queries), 1 for what it is broadcast along."""
        words = self.words
        if self.word != words["samples"] + words["heads"] + words["queries"] + words["keys"]:
            return None
        there = _there(value, over)
        if there is None:
            return None
        axes = (over.samples, *over.space, over.channels)
        present, left = "", self.word
        for size, here in zip(axes, there, strict=True):
            own, total = "", 1
            while total < size and left:
                own, left = own + left[0], left[1:]
                total *= self.sizes[own[-1]]
            if total != size:
                return None
            present += own * here
        made = []
        for name in ("keys", "heads", "queries"):
            own = "".join(c for c in words[name] if c in present)
            if own not in ("", words[name]):
                return None
            made.append(prod(self.sizes[c] for c in own))
        samples = "".join(c for c in words["samples"] if c in present)
        if not words["samples"].endswith(samples):
            return None
        return prod(self.sizes[c] for c in samples), tuple(made)


def _there(value: Value, over: Value) -> list[bool] | None:
    """For the samples, space and channels of a map whether an operand has more than one entry."""
    if not value.shape or value.kind != "float" or (value.batched and not over.batched):
        return None
    several = value.samples == over.samples and over.samples > 1
    if len(value.shape) == 1 and len(over.shape) > 1:
        if value.channels not in (1, over.channels):
            return None
        return [several, *(False for _ in over.space), value.channels > 1]
    if len(value.shape) != len(over.shape):
        return None
    sizes = zip((*value.space, value.channels), (*over.space, over.channels), strict=True)
    return [several, *(own == size and size > 1 for own, size in sizes)]


def _same_labels(first: Node, second: Node, number: int) -> tuple[Contract, Contract] | None:
    """Both products with the labels of the scores split alike, and with one name for each."""
    which = "ab"[number]
    one = plain(first)
    sizes = [dict(one.sizes)[c] for c in one.out]
    split_two = split(second, which, tuple(sizes))
    if split_two is None:
        return None
    sizes = [dict(split_two.sizes)[c] for c in getattr(split_two, which)]
    split_one = split(first, "out", tuple(sizes))
    if split_one is None or len(split_one.out) != len(sizes):
        return None
    # Names that the first one lacks for what only the second one has.
    names = dict(zip(getattr(split_two, which), split_one.out, strict=True))
    taken = set(dict(split_one.sizes))
    for label in dict(split_two.sizes):
        if label not in names:
            free = next((c for c in _LETTERS if c not in taken), None)
            if free is None:
                return None
            names[label] = free
            taken.add(free)
    old = split_two.a, split_two.b, split_two.out
    a, b, out = ("".join(names[c] for c in word) for word in old)
    renamed = tuple((names[c], size) for c, size in split_two.sizes)
    return split_one, Contract(a, b, out, renamed)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _roles(
    q: str, k: str, v: str, keys: str, scores: str, out: str
) -> tuple[dict[str, str], str, str] | None:
    """The labels of samples, heads, queries and keys, those of a head in q and in v; None where the
    operands do not lie as attention reads them.
    """
    both = [c for c in q if c in k]
    length = "".join(c for c in both if c not in scores)
    shared = [c for c in both if c in scores]
    queries = "".join(c for c in q if c not in k)
    width = "".join(c for c in v if c not in scores)
    first = q.index(queries[0]) if queries else None
    if first is None:
        first = len(q) - len(length) if not keys else k.find(keys[0])
    samples = "".join(c for c in shared if q.index(c) < first)
    heads = "".join(c for c in shared if q.index(c) >= first)
    lies = (
        q == samples + queries + heads + length
        and k == samples + keys + heads + length
        and v == samples + keys + heads + width
        and set(out) == set(samples + queries + heads + width)
        and bool(length)
        and bool(width)
    )
    if not lies:
        return None
    words = {"samples": samples, "heads": heads, "queries": queries, "keys": keys}
    return words, length, width
