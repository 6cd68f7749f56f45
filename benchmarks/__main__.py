"""``python -m benchmarks``: runs ``run.py``, or the file that the first argument names."""

import sys

from benchmarks import (
    accuracy,
    beside,
    choices,
    compress,
    cycles,
    denormals,
    integer,
    onnx_files,
    pruned,
    pytorch,
    quantised,
    recipes,
    where,
)
from benchmarks.run import main

OTHERS = {
    "choices": choices.main,
    "compress": compress.main,
    "accuracy": accuracy.main,
    "beside": beside.main,
    "denormals": denormals.main,
    "integer": integer.main,
    "elementary": cycles.main,
    "onnx": onnx_files.main,
    "pruned": pruned.main,
    "pytorch": pytorch.main,
    "quantised": quantised.main,
    "recipes": recipes.main,
    "where": where.main,
}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in OTHERS:
        raise SystemExit(OTHERS[sys.argv[1]](sys.argv[2:]))
    raise SystemExit(main())
