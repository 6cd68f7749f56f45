"""Random models that treat samples alike: a sample alone against the same one in a batch.

Thousands of them: ``python tests/onnx_batches_random.py 3000``. The batch is parted from other
axes, merged with them and moved among them; nothing is summed over it.
"""

import random
import sys
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from onnx_batches import Net, differences
from onnx_models import numbers

# An axis as its factors, the slowest first; the batch is 0.
Axis = tuple[int, ...]
Axes = tuple[Axis, ...]
SIZES = (1, 2, 3, 4, 8)
FORMULAS = ("Relu", "Sigmoid", "Abs", "Neg", "Tanh", "Erf")


class Walk:
    """A model in the making; ``known``: of each value the axes."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.net = Net()
        self.shape = tuple(self.rnd.choice(SIZES[1:]) for _ in range(self.rnd.randint(1, 4)))
        self.known: dict[str, Axes] = {"x": ((0,), *((n,) for n in self.shape))}

    def add(self, name: str, axes: Axes) -> str:
        self.known[name] = axes
        return name

    def sizes(self, name: str) -> list[int]:
        """The size of each axis, -1 with the batch."""
        return [-1 if 0 in axis else prod(axis) for axis in self.known[name]]

    def alike(self, name: str, minimum: int = 1) -> list[int]:
        """The axes without the batch."""
        return [i for i, n in enumerate(self.sizes(name)) if n >= minimum]

    def constant(self, name: str) -> Any:
        """Numbers that are broadcast over a value, along other axes than the batch."""
        sizes = [n if n > 0 and self.rnd.random() < 0.6 else 1 for n in self.sizes(name)]
        first = self.rnd.choice([0, 0, *range(len(sizes))])
        return self.net.weight(*sizes[first:]) + 1


def turned(w: Walk, x: str) -> str:
    axes = w.known[x]
    order = list(range(len(axes)))
    w.rnd.shuffle(order)
    return w.add(w.net.turned(x, *order), tuple(axes[i] for i in order))


def reshaped(w: Walk, x: str) -> str:
    """An axis parted, or two merged."""
    axes = list(w.known[x])
    at = w.rnd.randrange(len(axes))
    if w.rnd.random() < 0.5 and len(axes) < 6:
        own = list(axes[at])
        for i, n in enumerate(own):
            if n > 3 and n % 2 == 0:
                own[i : i + 1] = [2, n // 2]
                break
        cut = w.rnd.randint(0, len(own))
        axes[at : at + 1] = [tuple(own[:cut]), tuple(own[cut:])]
    elif at + 1 < len(axes):
        axes[at : at + 2] = [axes[at] + axes[at + 1]]
    sizes = [-1 if 0 in axis else prod(axis) for axis in axes]
    return w.add(w.net.seen(x, *sizes), tuple(axes))


def formula(w: Walk, x: str) -> str:
    return w.add(w.net.op(w.rnd.choice(FORMULAS), x), w.known[x])


def with_constant(w: Walk, x: str) -> str:
    return w.add(w.net.op(w.rnd.choice(["Add", "Mul"]), x, w.constant(x)), w.known[x])


def with_other(w: Walk, x: str) -> str:
    same = [name for name, axes in w.known.items() if axes == w.known[x]]
    op = w.rnd.choice(["Add", "Mul", "Sub"])
    return w.add(w.net.op(op, x, w.rnd.choice(same)), w.known[x])


def reduced(w: Walk, x: str) -> str:
    able = w.alike(x)
    if not able:
        return x
    axes = sorted(w.rnd.sample(able, w.rnd.randint(1, len(able))))
    kind = w.rnd.choice(["Mean", "Sum", "Max", "L2", "LogSumExp"])
    keep = w.rnd.random() < 0.8
    y = w.net.mean(x, *axes, keep=keep, kind=kind)
    if keep and w.rnd.random() < 0.7:
        return w.add(w.net.op(w.rnd.choice(["Sub", "Mul"]), x, y), w.known[x])
    own = w.known[x]
    left = tuple(() if i in axes else axis for i, axis in enumerate(own))
    return w.add(y, left if keep else tuple(a for i, a in enumerate(own) if i not in axes))


def softmax(w: Walk, x: str) -> str:
    able = w.alike(x)
    return w.add(w.net.op("Softmax", x, axis=w.rnd.choice(able)), w.known[x]) if able else x


def norm(w: Walk, x: str) -> str:
    size = w.sizes(x)[-1]
    return w.add(w.net.norm(x, size), w.known[x]) if size > 1 else x


def linear(w: Walk, x: str) -> str:
    size = w.sizes(x)[-1]
    if size < 1:
        return x
    features = w.rnd.choice(SIZES)
    return w.add(w.net.linear(x, size, features), (*w.known[x][:-1], (features,)))


def convolution(w: Walk, x: str) -> str:
    sizes = w.sizes(x)
    if len(sizes) != 4 or min(sizes[1:]) < 1:
        return x
    features = w.rnd.choice(SIZES[1:])
    y = w.net.conv(x, sizes[1], features, w.rnd.choice([1, 3]))
    return w.add(y, (w.known[x][0], (features,), *w.known[x][2:]))


def cut(w: Walk, x: str) -> str:
    able = w.alike(x, 2)
    if not able:
        return x
    axis = w.rnd.choice(able)
    size = w.sizes(x)[axis]
    start = w.rnd.randint(0, size - 1)
    end = w.rnd.randint(start + 1, size)
    y = w.net.op("Slice", x, *(np.array([i], np.int64) for i in (start, end, axis)))
    own = list(w.known[x])
    own[axis] = (end - start,)
    return w.add(y, tuple(own))


def joined(w: Walk, x: str) -> str:
    able = w.alike(x)
    if not able:
        return x
    axis = w.rnd.choice(able)

    def rest(axes: Axes) -> Axes:
        return (*axes[:axis], *axes[axis + 1 :])

    same = [
        name
        for name, axes in w.known.items()
        if len(axes) == len(w.known[x]) and rest(axes) == rest(w.known[x])
    ]
    other = w.rnd.choice(same)
    size = w.sizes(x)[axis] + w.sizes(other)[axis]
    own = list(w.known[x])
    own[axis] = (size,)
    return w.add(w.net.op("Concat", x, other, axis=axis), tuple(own))


def product(w: Walk, x: str) -> str:
    """Every row with every other."""
    axes = w.known[x]
    if len(axes) < 2 or any(0 in axis for axis in axes[-2:]):
        return x
    order = [*range(len(axes) - 2), len(axes) - 1, len(axes) - 2]
    y = w.net.op("MatMul", x, w.net.turned(x, *order))
    return w.add(y, (*axes[:-2], axes[-2], axes[-2]))


def attention(w: Walk, x: str) -> str:
    axes, (size, rows) = w.known[x], w.sizes(x)[:-3:-1] if len(w.known[x]) > 1 else (0, 0)
    if len(axes) < 2 or size < 2 or rows < 2:
        return x
    parts = [w.net.linear(x, size, size) for _ in range(3)]
    order = [*range(len(axes) - 2), len(axes) - 1, len(axes) - 2]
    scores = w.net.op("MatMul", parts[0], w.net.turned(parts[1], *order))
    if w.rnd.random() < 0.5:
        scores = w.net.op("Add", scores, w.net.weight(rows, rows))
    return w.add(w.net.op("MatMul", w.net.op("Softmax", scores, axis=-1), parts[2]), axes)


STEPS: tuple[Callable[[Walk, str], str], ...] = (
    *(turned, turned, reshaped, reshaped, reshaped, formula, with_constant, with_other),
    *(reduced, reduced, softmax, norm, linear, convolution, convolution, cut, joined),
    *(product, attention, attention),
)


def made(seed: int) -> tuple[bytes, tuple[int, ...], Callable[[Any], Any]]:
    """A file, the shape of its input without the batch, and what puts the samples of its output in
    front.
    """
    w = Walk(seed)
    last = "x"
    for _ in range(w.rnd.randint(3, 10)):
        source = last if w.rnd.random() < 0.8 else w.rnd.choice(list(w.known))
        last = w.rnd.choice(STEPS)(w, source)
    last = w.add(w.net.op("Neg", last), w.known[last])
    factors = [n for axis in w.known[last] for n in axis]

    def in_front(y: Any) -> Any:
        batch = y.size // prod(n for n in factors if n)
        return np.moveaxis(y.reshape([n or batch for n in factors]), factors.index(0), 0)

    return w.net.file(w.shape, last), w.shape, in_front


def main(count: int, first: int = 0) -> int:
    wrong = 0
    for seed in range(first, first + count):
        data, shape, in_front = made(seed)
        found = differences(data, numbers(3, *shape, seed=seed), in_front)
        if found:
            wrong += 1
            print(f"seed {seed}: {found}", flush=True)
    print(f"{count} models, {wrong} of which depend on the batch")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
