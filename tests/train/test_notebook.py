"""A training in a notebook, executed: what stands below its cell stays short."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from limits import limit

import faltung

SOURCE = Path(faltung.__file__).parents[1]
CELL = """
import numpy as np
from faltung import Model, nn
from faltung.train import progress
progress.NOTEBOOK_SECONDS = 0  # every epoch is drawn
rng = np.random.default_rng(0)
x = rng.standard_normal((64, 4)).astype(np.float32)
model = Model(nn.Linear(2), (4,))
history = model.fit(x, (x.sum(1) > 0).astype(int), validation=0.25, epochs=80, lr=0.01)
print(len(history))
"""


# In a process of its own, which may talk to the kernel.
EXECUTE = """
import json, sys
import nbclient, nbformat
cells = [nbformat.v4.new_code_cell(cell) for cell in json.load(sys.stdin)]
book = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(book, timeout=int(sys.argv[1]), kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in book.cells]))
"""


def executed(folder: Path, *cells: str) -> list[list[dict[str, Any]]]:
    """The outputs of each cell."""
    for module in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(module)
    seconds = limit(60)
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(round(seconds))],
        input=json.dumps(cells),
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * seconds,
    )
    assert not done.returncode, done.stderr
    found: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return found


def test_a_cell_has_lines_that_move_instead_of_eighty(tmp_path: Path) -> None:
    outputs, shown = executed(tmp_path, CELL, "history")
    drawn, printed = outputs
    assert printed["text"] == "80\n"
    assert drawn["output_type"] == "display_data" and set(drawn["data"]) == {"text/plain"}
    lines = drawn["data"]["text/plain"].splitlines()
    assert len(lines) <= 3
    assert lines[0].startswith("epoch 80/80  loss 0.") and " val accuracy " in lines[0]
    assert lines[1].startswith("best  ") and "left" not in lines[0]
    table = shown[0]["data"]["text/plain"].splitlines()
    assert table[0].split()[:2] == ["epoch", "loss"] and len(table) < 20 and "..." in table
