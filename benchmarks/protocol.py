"""The messages between driver and worker: one JSON object per line, in both directions.

A worker is one peer in a process of its own, for one subject of ``SUBJECTS`` (``python -m
benchmarks.worker SUBJECT NAME --threads T``).

| request | answer |
|---|---|
| ``{"op": "hello"}`` | ``{"version": str}`` or ``{"missing": reason}`` |
| ``{"op": "build", "text", "direction", "reference": path}`` | ``{"ready_ns", "error"}``: until the first answer, all arrays there before; ``{"unable": reason}`` or ``{"wrong": reason, "error"}`` |
| ``{"op": "round", "seconds"}`` | ``{"ns": [...]}``: one number a call |
| ``{"op": "drop"}`` | ``{}``: forget the problem and its memory |
| ``{"op": "peak"}`` | ``{"gflops": float}`` (of FMAs alone, by faltung's own loop) |
| ``{"op": "bandwidth"}`` | ``{"sizes": [...], "seconds": [...]}`` (of copies, by faltung's own loop) |
| ``{"op": "answer", "text", "direction", "path"}`` | ``{}``: the right answer, in float64, is in the file; of ONNX files in float32 |
| ``{"op": "memory", "text", "direction"}`` | ``{"bytes": int}``: most memory above that before the problem was built |

Any answer may be ``{"failed": reason}`` instead. The end of stdin ends the worker.
"""  # noqa: E501  (a table row cannot be broken)

import json
from typing import IO, Any

Message = dict[str, Any]

FORWARD = "forward"
INPUT_GRAD = "input_grad"
WEIGHT_GRAD = "weight_grad"
DIRECTIONS = (FORWARD, INPUT_GRAD, WEIGHT_GRAD)
INFERENCE = "inference"
STEP = "step"
WINDOW = "window"
WINDOW_GRAD = "window_grad"
WINDOW_DIRECTIONS = (WINDOW, WINDOW_GRAD)
FILE = "file"
FILTER = "filter"

LAYERS, NETWORKS, TRAINING, WINDOWS = "layers", "networks", "training", "windows"
POINTWISE, DEPTHWISE, ONNX, FILTERS = "pointwise", "depthwise", "onnx", "filters"
SUBJECTS: dict[str, tuple[str, ...]] = {
    LAYERS: DIRECTIONS,
    POINTWISE: DIRECTIONS,
    DEPTHWISE: DIRECTIONS,
    ONNX: (FILE,),
    NETWORKS: (INFERENCE,),
    TRAINING: (STEP,),
    WINDOWS: WINDOW_DIRECTIONS,
    FILTERS: (FILTER,),
}
# Subjects whose rows are convolutions.
CONVOLUTIONS = (LAYERS, POINTWISE, DEPTHWISE)


def send(stream: IO[bytes], message: Message) -> None:
    """Write one line of JSON and flush it."""
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()


def receive(line: bytes) -> Message:
    """The object on one line. ValueError: it is not one object."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"line={line!r}: must hold one JSON object")
    return message
