"""``python -m benchmarks``: runs ``run.py``, or the file that the first argument names."""

import sys

from benchmarks import accuracy, beside, choices, cycles, denormals, pytorch
from benchmarks.run import main

OTHERS = {
    "choices": choices.main,
    "accuracy": accuracy.main,
    "beside": beside.main,
    "denormals": denormals.main,
    "elementary": cycles.main,
    "pytorch": pytorch.main,
}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in OTHERS:
        raise SystemExit(OTHERS[sys.argv[1]](sys.argv[2:]))
    raise SystemExit(main())
