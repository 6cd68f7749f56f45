"""Damaged ONNX files: what a small model becomes when bytes, or numbers and names in it, change.

Thousands of them: ``python tests/onnx_mutations.py 3000`` (a minute). Each must be an error of one
line or a model that runs, within seconds.
"""

import random
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from faltung.geometry.errors import FaltungError

NUMBERS = [0, 1, -1, 2, 3, 7, 8, 255, 1 << 20, 1 << 31, 1 << 40, 1 << 62, -(1 << 63), (1 << 63) - 1]
OPERATORS = """
    Nope Loop If ConstantOfShape Tile Expand Range Resize ConvTranspose GlobalAveragePool Gather
    Transpose LRN ReduceMean Unsqueeze Flatten Einsum MatMul AveragePool LayerNormalization Clip Pow
    Where Conv Slice Concat Split Reshape Gemm Softmax Shape Pad NonZero TopK GatherND ScatterND
    OneHot QuantizeLinear ConvInteger Scan NonMaxSuppression Unique CumSum Mod BitShift Cast
""".split()
WORDS = """
    axis pads strides dilations group kernel_shape auto_pad mode axes perm ceil_mode to output_shape
    size batch_dims reduction block_size num_scan_inputs k
""".split()


def model() -> Any:
    """A network with something of everything."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)

    def real(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    def whole(*numbers: int) -> Any:
        return np.array(numbers, np.int64)

    arrays = {
        "w": real(4, 3, 3, 3),
        "b": real(4),
        "g": np.ones(4, np.float32),
        "fc": real(5, 64),
        "shape": whole(0, -1),
        "pads": whole(0, 0, 1, 1, 0, 0, 1, 1),
        "starts": whole(1, 1),
        "ends": whole(5, 5),
        "axes": whole(2, 3),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["c", "g", "b", "b", "g"], ["bn"], epsilon=1e-3),
        helper.make_node("Relu", ["bn"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Pad", ["p", "pads"], ["wide"]),
        helper.make_node("Slice", ["wide", "starts", "ends", "axes"], ["cut"]),
        helper.make_node("Concat", ["cut", "p"], ["both"], axis=1),
        helper.make_node("Split", ["both"], ["q1", "q2"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["q1", "q2"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["f"]),
        helper.make_node("Gemm", ["f", "fc"], ["y0"], transB=1),
        helper.make_node("Softmax", ["y0"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def model_in_parts() -> Any:
    """A network with nodes on the host, a loop and a branch."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    real, whole, truth = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
    info, node = helper.make_tensor_value_info, helper.make_node
    body = helper.make_graph(
        [
            node("Conv", ["v", "w"], ["vc"], pads=[1] * 4),
            node("Tanh", ["vc"], ["v2"]),
            node("Identity", ["go"], ["go2"]),
            node("ReduceMax", ["v2"], ["m"], keepdims=0),
        ],
        "body",
        [info("i", whole, []), info("go", truth, []), info("v", real, None)],
        [info("go2", truth, []), info("v2", real, None), info("m", real, [])],
    )
    branches = [
        helper.make_graph([node(op, ["out"], [op])], op, [], [info(op, real, None)])
        for op in ("Neg", "Relu")
    ]
    arrays = {
        "w": rng.standard_normal((3, 3, 3, 3)).astype(np.float32),
        "n": np.array(3),
        "half": np.array(0.2, np.float32),
        "k": np.array([2]),
        "axes": np.array([1]),
        "s": np.array(0.05, np.float32),
        "z": np.array(10, np.uint8),
        "one": np.array(1),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("Loop", ["n", "", "d"], ["out", "all"], body=body),
        node("Greater", ["all", "half"], ["hot"]),
        node("NonZero", ["hot"], ["at"]),
        node("Gather", ["all", "at"], ["picked"]),
        node("ReduceSum", ["picked"], ["total"], keepdims=0),
        node("Cast", ["total"], ["some"], to=truth),
        node("If", ["some"], ["chosen"], then_branch=branches[0], else_branch=branches[1]),
        node("TopK", ["chosen", "k"], ["top", "place"], axis=1),
        node("Add", ["place", "one"], ["next"]),
        node("Cast", ["next"], ["f"], to=real),
        node("Mul", ["top", "f"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", real, [1, 3, 4, 4])],
        [info("y", real, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def mutated(base: Any, seed: int) -> bytes:
    """A damaged file; every second one still is a file of the format."""
    rnd = random.Random(seed)
    return _in_meaning(base, rnd) if seed % 2 else _in_bytes(base.SerializeToString(), rnd)


def _in_bytes(data: bytes, rnd: random.Random) -> bytes:
    made = bytearray(data)
    at = rnd.randrange(len(made))
    match rnd.randrange(4):
        case 0:
            del made[at:]
        case 1:
            for _ in range(rnd.randint(1, 8)):
                made[rnd.randrange(len(made))] = rnd.randrange(256)
        case 2:
            made[at:at] = made[at : at + rnd.randint(1, 40)]
        case _:
            del made[at : at + rnd.randint(1, 20)]
    return bytes(made)


def _in_meaning(base: Any, rnd: random.Random) -> bytes:
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(base)
    for _ in range(rnd.randint(1, 3)):
        _one(made, rnd)
    if rnd.random() < 0.1:
        made.opset_import[0].version = rnd.choice([*NUMBERS, 6, 9, 11, 13, 21])
    return bytes(made.SerializeToString())


def _one(made: Any, rnd: random.Random) -> None:
    from onnx import numpy_helper

    graph = made.graph
    node, tensor = rnd.choice(graph.node), rnd.choice(graph.initializer)
    names = [name for other in graph.node for name in other.output]
    names += [*(t.name for t in graph.initializer), "x", "", "nowhere"]
    match rnd.randrange(11):
        case 0 if node.attribute:
            attribute = rnd.choice(node.attribute)
            attribute.i = rnd.choice(NUMBERS)
            if attribute.ints:
                attribute.ints[rnd.randrange(len(attribute.ints))] = rnd.choice(NUMBERS)
        case 1:
            node.input[rnd.randrange(len(node.input))] = rnd.choice(names)
        case 2:
            node.output[0] = rnd.choice(names)
        case 3:
            node.op_type = rnd.choice(OPERATORS)
        case 4 if tensor.dims:
            tensor.dims[rnd.randrange(len(tensor.dims))] = rnd.choice(NUMBERS)
        case 5:
            tensor.data_type = rnd.randrange(24)
        case 6:
            tensor.raw_data = tensor.raw_data[: rnd.randrange(len(tensor.raw_data) + 1)]
        case 7:
            numbers = [rnd.choice(NUMBERS) for _ in range(rnd.randint(0, 8))]
            tensor.CopyFrom(numpy_helper.from_array(np.array(numbers, np.int64), tensor.name))
        case 8:
            tensor.data_location = 1
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", rnd.choice(["../x", "/etc/passwd", "a", ""])
        case 9:
            del node.attribute[:]
        case _:
            attribute = node.attribute.add()
            attribute.name, attribute.type = rnd.choice(WORDS), rnd.choice([1, 2, 3, 6, 7])
            attribute.i, attribute.f = rnd.choice(NUMBERS), rnd.choice([0, float("nan"), 1e30])
            attribute.ints.extend([rnd.choice(NUMBERS) for _ in range(rnd.randint(0, 6))])
            attribute.s = rnd.choice([b"SAME_UPPER", b"\xff", b""])


def outcome(data: bytes) -> str:
    """ "ran", or the name of the error. Anything but an error of ours is raised."""
    from faltung.onnx import load

    try:
        made = load(data)
        made.run({port.name: _input(port) for port in made.inputs})
    except (FaltungError, MemoryError) as error:
        assert "\n" not in str(error), error
        return type(error).__name__
    return "ran"


def _input(port: Any) -> Any:
    sizes = port.shape or (2, 3, 8, 8)
    shape = [n if isinstance(n, int) and 0 < n < 64 else 2 for n in sizes]
    return np.ones(shape, port.dtype)


def main() -> int:
    for base in (model(), model_in_parts()):
        counts, slowest = Counter[str](), 0.0
        for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3000):
            before = time.perf_counter()
            counts[outcome(mutated(base, seed))] += 1
            slowest = max(slowest, time.perf_counter() - before)
        print(dict(counts), f"slowest {slowest:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
