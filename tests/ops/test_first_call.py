"""What the first call of a process imports: nothing of Faltung, and nothing that it can do without.

A module that one thread imports while another forks stays locked in the child for ever. So all of
Faltung that a function needs comes with its name; LLVM comes later, under a lock that a fork waits
for.
"""

import os
import subprocess
import sys
from pathlib import Path

from limits import limit

import faltung

CODE = """
import sys
import numpy as np
import faltung

f4 = np.float32
x, w, g = np.ones((1, 4, 9, 9), f4), np.ones((4, 4, 3, 3), f4), np.ones((1, 4, 7, 7), f4)
v = faltung.pack_local(np.broadcast_to(w, (7, 7, 4, 4, 3, 3)))
calls = [
    (faltung.conv, (x, w)),
    (faltung.Conv(w), (x,)),
    (faltung.conv_input_grad, (g, w, x.shape)),
    (faltung.conv_weight_grad, (x, g, w.shape)),
    (faltung.conv_transpose, (x, w)),
    (faltung.conv_local, (x, v)),
    (faltung.max_pool, (x, 2)),
    (faltung.conv, (x.astype(np.complex64), w.astype(np.complex64))),
]
before = set(sys.modules)
for call, given in calls:
    call(*given)
print(*sorted(name for name in set(sys.modules) - before if name.startswith("faltung")))
needless = {"numpy.ma", "scipy", "torch", "ml_dtypes", "safetensors", "jinja2", "PIL", "tomllib"}
print(*sorted(needless & set(sys.modules)))
"""


def test_a_first_call_imports_little() -> None:
    paths = os.pathsep.join(p for p in [str(Path(faltung.__file__).parents[1]), *sys.path] if p)
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=limit(120),
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert (done.stdout, done.stderr) == ("\n\n", "")
