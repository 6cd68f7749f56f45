"""Random ONNX models of views, formulas, reductions, parts and joins, against ONNX's evaluator.

Thousands of them: ``python tests/onnx_random.py 3000``. Each is refused as unsupported or right.
"""

import random
import sys
from collections import Counter
from math import prod
from typing import Any

import numpy as np
from onnx_models import made, node, numbers


def model(seed: int) -> tuple[bytes, dict[str, Any]]:
    """A file of a few nodes, and its inputs."""
    rnd = random.Random(seed)
    batch = rnd.choice([1, 2, 3])
    shape = (batch, *(rnd.choice([1, 2, 3, 4]) for _ in range(rnd.randint(1, 4))))
    nodes: list[Any] = []
    constants: dict[str, Any] = {}
    known = {"x": shape}
    given = {"x": numbers(*shape, seed=seed)}
    if rnd.random() < 0.3:
        known["z"] = shape
        given["z"] = numbers(*shape, seed=seed + 1)
    last = "x"
    for _ in range(rnd.randint(2, 6)):
        step = _Step(rnd, nodes, constants, known, batch)
        source = last if rnd.random() < 0.8 else rnd.choice(list(known))
        last = rnd.choice(STEPS)(step, source)
    outputs = [last] if last not in given else []
    if not outputs or rnd.random() < 0.3:
        nodes.append(node("Neg", last, "extra"))
        known["extra"] = known[last]
        outputs.append("extra")
    inputs = {name: known[name] for name in given}
    return made(nodes, inputs, outputs, constants), given


class _Step:
    def __init__(
        self, rnd: random.Random, nodes: list[Any], constants: Any, known: Any, batch: int
    ) -> None:
        self.rnd, self.nodes, self.constants = rnd, nodes, constants
        self.known, self.batch = known, batch

    def add(self, op: str, inputs: str, shape: Any, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(op, inputs, name, **attributes))
        self.known[name] = tuple(shape)
        return name

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name


def _reshape(s: _Step, x: str) -> str:
    shape = list(s.known[x])
    if s.rnd.random() < 0.5 and len(shape) > 2:
        at = s.rnd.randrange(1, len(shape) - 1)
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    else:
        at = s.rnd.randrange(1, len(shape) + 1)
        size = shape[at] if at < len(shape) else 1
        ways = [(n, size // n) for n in range(1, size + 1) if size % n == 0]
        shape[at : at + 1] = s.rnd.choice(ways)
    return s.add("Reshape", f"{x} {s.constant(np.array(shape, np.int64))}", shape)


def _transpose(s: _Step, x: str) -> str:
    shape = s.known[x]
    axes = list(range(1, len(shape)))
    s.rnd.shuffle(axes)
    perm = [0, *axes]
    return s.add("Transpose", x, [shape[p] for p in perm], perm=perm)


def _unary(s: _Step, x: str) -> str:
    functions = ["Relu", "Neg", "Tanh", "Abs", "Sigmoid", "Sin", "Atan", "Asinh", "Cos"]
    return s.add(s.rnd.choice(functions), x, s.known[x])


def _constant(s: _Step, x: str) -> str:
    shape = s.known[x]
    wide = [n if s.rnd.random() < 0.5 else 1 for n in shape[s.rnd.randint(0, len(shape)) :]]
    if len(wide) == len(shape) and s.rnd.random() < 0.9:
        wide[0] = 1
    c = s.constant(numbers(*wide, seed=len(s.nodes)))
    if s.rnd.random() < 0.15:
        condition = s.add("Greater", f"{x} {c}", shape)
        del s.known[condition]  # of another type
        return s.add("Where", f"{condition} {x} {c}", shape)
    pair = f"{x} {c}" if s.rnd.random() < 0.5 else f"{c} {x}"
    return s.add(s.rnd.choice(["Add", "Mul", "Sub"]), pair, shape)


def _pair(s: _Step, x: str) -> str:
    fits = []
    for name, other in s.known.items():
        try:
            fits.append((name, np.broadcast_shapes(s.known[x], other)))
        except ValueError:
            continue
    name, shape = s.rnd.choice([f for f in fits if prod(f[1]) < 5000])
    if s.rnd.random() < 0.2 and tuple(shape) == tuple(s.known[x]):  # the evaluator adds in place
        return s.add(s.rnd.choice(["Sum", "Mean", "Min"]), f"{x} {name} {x}", shape)
    return s.add(s.rnd.choice(["Add", "Mul", "Max"]), f"{x} {name}", shape)


def _reduce(s: _Step, x: str) -> str:
    shape = s.known[x]
    axes = [i for i in range(1, len(shape)) if s.rnd.random() < 0.4]
    if not axes:
        return _unary(s, x)
    keep = s.rnd.random() < 0.7
    out = [1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes]
    op = s.rnd.choice(["ReduceMean", "ReduceMax", "ReduceL2"])
    axes_name = s.constant(np.array(axes, np.int64))
    return s.add(op, f"{x} {axes_name}", out, keepdims=int(keep))


def _slice(s: _Step, x: str) -> str:
    shape = list(s.known[x])
    axis = s.rnd.randrange(1, len(shape)) if len(shape) > 1 else 0
    if len(shape) < 2:
        return _unary(s, x)
    start = s.rnd.randrange(shape[axis])
    step = s.rnd.choice([1, 1, 2])
    end = s.rnd.randrange(start + 1, shape[axis] + 1)
    words = [s.constant(np.array([n], np.int64)) for n in (start, end, axis, step)]
    shape[axis] = len(range(start, end, step))
    return s.add("Slice", f"{x} {' '.join(words)}", shape)


def _concat(s: _Step, x: str) -> str:
    shape = list(s.known[x])
    if len(shape) < 2:
        return _unary(s, x)
    same = [name for name, other in s.known.items() if other == tuple(shape)]
    axis = s.rnd.randrange(1, len(shape))
    names = [x, s.rnd.choice(same)]
    shape[axis] *= 2
    return s.add("Concat", " ".join(names), shape, axis=axis)


def _softmax(s: _Step, x: str) -> str:
    rank = len(s.known[x])
    if rank < 2:
        return _unary(s, x)
    return s.add(
        s.rnd.choice(["Softmax", "LogSoftmax"]), x, s.known[x], axis=s.rnd.randrange(1, rank)
    )


def _matmul(s: _Step, x: str) -> str:
    shape = list(s.known[x])
    if len(shape) < 2:
        return _unary(s, x)
    w = s.constant(numbers(shape[-1], 3, seed=len(s.nodes)))
    return s.add("MatMul", f"{x} {w}", [*shape[:-1], 3])


def _pad(s: _Step, x: str) -> str:
    shape = list(s.known[x])
    if len(shape) < 2:
        return _unary(s, x)
    pads = [0] * (2 * len(shape))
    axis = s.rnd.randrange(1, len(shape))
    pads[axis], pads[len(shape) + axis] = s.rnd.randrange(3), s.rnd.randrange(3)
    shape[axis] += pads[axis] + pads[len(shape) + axis]
    return s.add("Pad", f"{x} {s.constant(np.array(pads, np.int64))}", shape)


STEPS = [
    _reshape,
    _transpose,
    _unary,
    _constant,
    _pair,
    _reduce,
    _slice,
    _concat,
    _softmax,
    _matmul,
    _pad,
]


def outcome(seed: int) -> str:
    """ "right" or "unsupported". AssertionError: wrong."""
    from onnx import load_from_string
    from onnx.reference import ReferenceEvaluator

    from faltung.geometry.errors import UnsupportedError
    from faltung.onnx import load

    data, given = model(seed)
    want = ReferenceEvaluator(load_from_string(data)).run(None, given)
    try:
        got = load(data).run(given, exact=True)
    except UnsupportedError:
        return "unsupported"
    for ours, theirs in zip(got, want, strict=True):
        assert ours.shape == theirs.shape, seed
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4, err_msg=str(seed))
    return "right"


def main() -> int:
    counts: Counter[str] = Counter()
    for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1000):
        try:
            counts[outcome(seed)] += 1
        except Exception as error:  # whatever it is, this model is not right
            counts["wrong"] += 1
            print("WRONG", seed, " ".join(str(error).split())[:200])
    print(dict(counts))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
