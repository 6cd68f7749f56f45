"""Attention recognised at inference: a product, formulas that scale and mask it, a softmax, and a
product with the values become one operation, which stores none of what lies between.

Whatever views lie between, the numbers of the scores stay in one order; so the labels of both
products say which axes are samples, heads, queries, keys and channels.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, replace
from math import prod

from faltung.geometry.expr import Expr, operand, select
from faltung.geometry.record import dataclass
from faltung.graph.fuse_moves import plain, split
from faltung.graph.ops import Attention, Contract, Elementwise, Permute, Softmax, View
from faltung.graph.value import Node, Value, consumers

Sizes = tuple[int, ...]

# What scores become where they are not to count; added to any score that there is, it is itself.
HIDDEN = -1e30
# Numbers for each score that are brought into another order at most: else the scores are stored.
MOST_MOVED = 8


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
                return self.attention(first, scores, node, number, softmax.output.channels)
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

    def attention(
        self, first: Node, scores: _Scores, node: Node, number: int, channels: int
    ) -> list[Node] | None:
        """The operation, of what moves least, in place of the second product ``node``."""
        ways: list[tuple[_Pair, list[tuple[int, Sizes]]]] = []
        for pair in _Pair.of(first, node, number, channels):
            found = [pair.mask(mask.value, mask.over) for mask in scores.masks]
            forms = [form for form in found if form is not None]
            if pair.to_move <= MOST_MOVED * pair.count(pair.word) and len(forms) == len(found):
                ways.append((pair, forms))
        if not ways:
            return None
        pair, forms = min(ways, key=lambda way: way[0].to_move)
        return self.written(pair, scores, node, forms)

    def written(
        self, pair: "_Pair", scores: _Scores, node: Node, forms: Sequence[tuple[int, Sizes]]
    ) -> list[Node]:
        """The operation, with views and moves around it. forms: of the masks."""
        q, k, v = pair.inputs
        (q, by_q), (k, by_k) = self.unscaled(q), self.unscaled(k)
        heads, samples = pair.size("heads"), pair.size("samples")
        scale = scores.scale * by_q * by_k
        op = Attention(heads, heads, scale, softcap=scores.softcap)
        made: list[Node] = []

        def seen(x: Value, samples: int, shape: Sizes, op: View | Permute = _SEEN) -> Value:
            if op == _SEEN and (x.samples, x.shape) == (samples, shape):
                return x
            name = f"{node.output.name}.{len(made)}"
            value = Value(name, shape, x.batched, x.kind, samples)
            made.append(Node(op, (x,), (value,), node.layer))
            return value

        inputs = []
        sizes = ("queries", "length"), ("keys", "length"), ("keys", "width")
        for x, lies, wanted, (positions, length) in zip(
            (q, k, v), pair.lies, pair.wanted, sizes, strict=True
        ):
            shape = heads * pair.size(length), pair.size(positions)
            if lies != wanted and not pair.ends_with(lies, x.channels):
                x = seen(x, 1, (x.size,))
            inputs.append(seen(x, samples, shape, _move(pair, lies, wanted)))
        for number, (mask, form) in enumerate(zip(scores.masks, forms, strict=True)):
            read = mask.value
            if mask.formula is not None:
                name = f"{node.output.name}.mask{number}"
                made_of = Elementwise(read.shape, (mask.formula,), batched=read.batched)
                read = replace(read, name=name)
                made.append(Node(made_of, (mask.value,), (read,), node.layer))
            inputs.append(seen(read, *form))
        shape = heads * pair.size("width"), pair.size("queries")
        name = f"{node.output.name}.heads"
        out = Value(name, shape, node.output.batched, samples=samples)
        made.append(Node(op, tuple(inputs), (out,), node.layer))
        back = _move(pair, pair.result, pair.out)
        made.append(Node(back, (out,), node.outputs, node.layer))
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


_SEEN = View()


def _move(pair: "_Pair", lies: str, wanted: str) -> View | Permute:
    """What brings axes from one order into another."""
    if lies == wanted:
        return _SEEN
    dims = tuple(pair.sizes[c] for c in lies)
    return Permute(dims, tuple(lies.index(c) for c in wanted))


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
    v, and the labels of each in memory. word: those of the scores; out: those of the result.
    words: of these "samples", "heads" and so on, in the order in which attention reads them.
    """

    inputs: tuple[Value, Value, Value]
    lies: tuple[str, str, str]
    word: str
    out: str
    sizes: Mapping[str, int]
    words: Mapping[str, str]

    def size(self, name: str) -> int:
        return self.count(self.words[name])

    def count(self, word: str) -> int:
        return prod(self.sizes[label] for label in word)

    def ends_with(self, word: str, channels: int) -> bool:
        """Whether some of the last labels are the channels of a value."""
        return channels in {self.count(word[i:]) for i in range(len(word) + 1)}

    @property
    def wanted(self) -> tuple[str, str, str]:
        """How q, k and v lie for attention."""
        words = self.words
        ends = ("queries", "length"), ("keys", "length"), ("keys", "width")
        q, k, v = (words["samples"] + words[a] + words["heads"] + words[b] for a, b in ends)
        return q, k, v

    @property
    def result(self) -> str:
        """The labels of what attention makes."""
        words = self.words
        return words["samples"] + words["queries"] + words["heads"] + words["width"]

    @property
    def to_move(self) -> int:
        """Numbers that do not lie as attention reads them."""
        pairs = zip(self.lies, self.wanted, strict=True)
        return sum(self.count(lies) for lies, wanted in pairs if lies != wanted)

    @staticmethod
    def of(first: Node, second: Node, number: int, channels: int) -> "Iterator[_Pair]":
        """The ways to see two products as attention; ``number``: the operand of the second one that
        is the softmax, along so many channels.
        """
        same = _same_labels(first, second, number)
        if same is None:
            return
        one, two = same
        sizes = dict(one.sizes) | dict(two.sizes)
        weights, values = (two.a, two.b) if number == 0 else (two.b, two.a)
        keys = "".join(c for c in weights if c in values and c not in two.out)
        if not weights.endswith(keys) or prod(sizes[c] for c in keys) != channels:
            return
        for a, b, turned in ((one.a, one.b, False), (one.b, one.a, True)):
            q, k = first.inputs[::-1] if turned else first.inputs
            inputs = q, k, second.inputs[1 - number]
            for words in _roles(a, b, values, keys, one.out, two.out):
                yield _Pair(inputs, (a, b, values), weights, two.out, sizes, words)

    def mask(self, value: Value, over: Value) -> tuple[int, Sizes] | None:
        """A mask as samples of (keys, heads, queries), 1 for what it is broadcast along."""
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
        parts = {
            name: "".join(c for c in self.words[name] if c in present)
            for name in ("samples", "heads", "queries", "keys")
        }
        samples = parts.pop("samples")
        if present != samples + "".join(parts.values()):
            return None
        whole = all(own in ("", self.words[name]) for name, own in parts.items())
        if not whole or not self.words["samples"].endswith(samples):
            return None
        heads, queries, keys = map(self.count, parts.values())
        return self.count(samples), (keys, heads, queries)


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


def _roles(q: str, k: str, v: str, keys: str, scores: str, out: str) -> Iterator[Mapping[str, str]]:
    """The labels of samples, heads, queries and keys, those of a head in q and in v; none where the
    products are no attention. Where axes lie is not asked: what has to be moved costs a pass.
    """
    shared = [c for c in q if c in k and c in scores]
    length = "".join(c for c in q if c in k and c not in scores)
    queries = "".join(c for c in q if c not in k)
    width = "".join(c for c in v if c not in scores)
    means = (
        set(k) == {*shared, *keys, *length}
        and set(v) == {*shared, *keys, *width}
        and set(scores) == {*shared, *queries, *keys}
        and set(out) == {*shared, *queries, *width}
        and all(len(set(word)) == len(word) for word in (q, k, v))
        and bool(length)
        and bool(width)
    )
    if not means:
        return
    # Heads lie behind the positions, or else they are samples like others.
    behind = q if queries else k
    last = max((behind.index(c) for c in queries or keys), default=len(behind))
    inside = [c for c in shared if behind.index(c) > last]
    for count in range(len(inside) + 1):
        heads = inside[count:]
        samples = [c for c in shared if c not in heads]
        for order in dict.fromkeys((q, scores)):
            parts = {"samples": samples, "heads": heads, "queries": queries}
            words = {name: "".join(sorted(p, key=order.index)) for name, p in parts.items()}
            yield words | {"keys": keys, "length": length, "width": width}
