"""Networks of torchvision and timm, and some written by hand, through ``faltung.torch.compile``.

Each gets random weights, and its errors against PyTorch in float64 are set beside those of PyTorch
in float32; none may have a gap:

    python tests/torch_networks.py                     # all of them
    python tests/torch_networks.py resnet18 hand.*     # those of these names
    python tests/torch_networks.py --train resnet18    # gradients of one step instead
    python tests/torch_networks.py --json out.jsonl    # a line for each; those there are left out

Columns at inference: error of ours, of ours with a channels-last input, of PyTorch; the larger of
the first two as a multiple of the third; whether a sample alone has the bits that it has in a
batch; whether results lie in memory as in eager. In training: largest error of a gradient, of ours
and of PyTorch; the largest ratio of both; the same of running statistics; the parameter of the
largest ratio; where that is large, the error in float64. What is not installed is left out, and
said.
"""

import argparse
import fnmatch
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from onnx_networks import TIMM, VISION, of_timm, of_vision, vision

# How much larger than PyTorch's an error may be.
RATIO = 6.0


def makers() -> dict[str, Any]:
    """How each network is made, of those whose packages are installed; says which are not."""
    from torch_handwritten import NETWORKS

    found: dict[str, Any] = {}
    for name, (make, shapes) in NETWORKS.items():
        found[f"hand.{name}"] = lambda m=make, s=shapes: (m(), s)
    for package, table, make in (("torchvision", VISION, of_vision), ("timm", TIMM, of_timm)):
        try:
            vision()
            __import__(package)
        except ImportError as error:
            print(f"left out: the {len(table)} networks of {package} ({error})")
            continue
        for name, (size, options) in table.items():
            key = name if package == "torchvision" else f"timm.{name}"
            found[key] = lambda n=name, s=size, o=options, m=make: m(n, s, o)
    return found


def verdict(name: str, make: Any, train: bool, batch: int) -> dict[str, Any]:
    """One network's row: what was found, or what went wrong."""
    import torch
    from torch_against_eager import inference, prepared, training

    start = perf_counter()
    row: dict[str, Any] = {"name": name, "train": train}
    try:
        torch.manual_seed(0)
        module, shapes = make()
        prepared(module)
        found = training(module, shapes, batch) if train else inference(module, shapes)
        row |= asdict(found) | {"ratio": found.ratio}
    except Exception as error:  # whatever PyTorch or Faltung raises: it is the row's text
        row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
    return row | {"seconds": round(perf_counter() - start, 1)}


def good(row: dict[str, Any]) -> bool:
    if "error" in row:
        return False
    if row["train"]:
        near = row["ratio"] <= RATIO or row["double"] <= 1e-9
        return near and row["buffers"] <= RATIO and row["whole"] and not row["missing"]
    return bool(row["ratio"] <= RATIO and row["alone"] and row["strides"])


def printed(row: dict[str, Any]) -> str:
    name, time = f"{row['name']:42}", f"({row['seconds']} s)"
    if "error" in row:
        return f"{name} {row['error']} {time}"
    mark = "" if good(row) else "  <--"
    if row["train"]:
        double = row["double"]
        float64 = "" if double is None else f" (in float64 {double:.1e})"
        missing = f" gradients on one side: {row['missing']}" if row["missing"] else ""
        return (
            f"{name} {row['ours']:8.1e} {row['torch']:8.1e} {row['ratio']:6.2f} "
            f"{row['buffers']:6.2f}{'' if row['whole'] else ' OTHER'}  {row['worst']}"
            f"{float64}"
            f"{missing}{mark}  {time}"
        )
    return (
        f"{name} {row['ours']:8.1e} {row['last']:8.1e} {row['torch']:8.1e} {row['ratio']:6.2f}  "
        f"{'same' if row['alone'] else 'OTHER'}  {'same' if row['strides'] else 'OTHER'}"
        f"{mark}  {time}"
    )


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="networks through faltung.torch.compile")
    parser.add_argument("names", nargs="*", default=["*"], help="as in a shell: resnet*")
    parser.add_argument("--train", action="store_true", help="gradients of one step")
    parser.add_argument("--batch", type=int, default=2, help="samples of a training step")
    parser.add_argument("--json", type=Path, help="a file that gets a line for each network")
    options = parser.parse_args(words)
    warnings.filterwarnings("ignore")
    try:
        import torch
    except ImportError as error:
        print(f"nothing to compare with: {error}")
        return 0
    torch.set_num_threads(1)
    done = set()
    if options.json and options.json.exists():
        done = {json.loads(line)["name"] for line in options.json.read_text().splitlines()}
    rows = []
    for name, make in makers().items():
        if name in done or not any(fnmatch.fnmatch(name, word) for word in options.names):
            continue
        row = verdict(name, make, options.train, options.batch)
        rows.append(row)
        print(printed(row), flush=True)
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps(row) + "\n")
    wrong = [row for row in rows if not good(row)]
    print(f"{len(rows)} networks, {len(rows) - len(wrong)} as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
