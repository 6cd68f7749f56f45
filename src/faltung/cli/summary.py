"""``faltung summary NET --input 3x224x224``: a network on paper, layer by layer."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.graph.summary import Summary
    from faltung.graph.value import Graph

# Arguments of functions that have another name here.
ARGUMENTS = {"input_shape": "input", "name": "net"}

HELP = """\
Each line is a layer with the normalisation and activation that follow it:

  Conv k7 s2 p3   kernel, stride, padding; also d (dilation), g (groups)
  sees            the receptive field, from the first input seen to the last
  memory          the size of the layer's output, for one sample
  method          how the layer would be computed on this machine

examples:
  faltung summary googlenet
  faltung summary resnet18 --input 3x32x32 --classes 10
  faltung summary googlenet --input 1x8x8 --set width=0.5 --training
  faltung summary model.onnx
  faltung summary runs/digits-lenet5-001

Of a run, or of a file model.safetensors, the table shows what each layer takes
in the file: bits, and bits for each of its numbers.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``summary``."""
    parser.epilog = HELP
    parser.add_argument(
        "net",
        metavar="NET",
        help="of `faltung nets`, a file model.onnx or model.safetensors, or a run",
    )
    parser.add_argument(
        "--input",
        metavar="3x224x224",
        help="shape of a sample, channels first (default: the paper's)",
    )
    parser.add_argument(
        "--classes", type=int, metavar="N", help="number of classes (default: the paper's)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of the network, e.g. width=0.5; may be repeated",
    )
    parser.add_argument(
        "--training", action="store_true", help="include what exists only in training"
    )
    parser.add_argument("--double", action="store_true", help="use float64")
    parser.add_argument(
        "--depth", type=int, metavar="N", help="levels of nesting to show (default: as many as fit)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the summary."""
    from faltung import nets
    from faltung.cli.options import options, sample
    from faltung.geometry.check import whole
    from faltung.graph.summary import summary

    depth = None if arguments.depth is None else whole("depth", arguments.depth, 1)
    given = None if arguments.input is None else sample(arguments.net, arguments.input)
    stored = _stored(arguments)
    if stored is not None:
        print_summary(arguments, stored, depth)
        return 0
    if arguments.net.lower().endswith(".onnx"):
        graph = _imported(arguments, given)
    else:
        graph = nets.graph(
            arguments.net,
            classes=arguments.classes,
            input_shape=given,
            training=arguments.training,
            dtype="float64" if arguments.double else "float32",
            **options(arguments.set),
        )
    print_summary(arguments, summary(graph), depth)
    return 0


def print_summary(arguments: argparse.Namespace, found: "Summary", depth: int | None) -> None:
    """The table, or JSON."""
    if arguments.json:
        print(json.dumps({"net": arguments.net} | found.as_dict(), indent=2))
    else:
        print(found.table(depth))


def _stored(arguments: argparse.Namespace) -> "Summary | None":
    """The summary of a run or of a model in a file; None of anything else."""
    from faltung.formats.tensors import load_tensors
    from faltung.graph.summary import summary, with_bits
    from faltung.train.opened import opened, run_of

    path = Path(arguments.net)
    if run_of(path) is None and path.suffix.lower() != ".safetensors":
        return None
    _check_options(arguments, "input", None)
    found = opened(path)
    model = found.model
    bits: dict[str, float] = {}
    load_tensors(found.file, own=found.folder is not None, bits=bits)
    known = {p.name for p in model.training_graph.parameters}
    # The last checkpoint of a run also has the state of its optimizer.
    mine = {name: each for name, each in bits.items() if name.removesuffix(".palette") in known}
    graph = model.training_graph if arguments.training else model.graph
    return with_bits(summary(graph), mine, found.file.stat().st_size)


def _check_options(arguments: argparse.Namespace, *more: object) -> None:
    """ValueError: an option that is for a network of faltung."""
    for name, option in (("classes", None), ("set", []), ("double", False), more):
        if getattr(arguments, str(name)) != option:
            raise FaltungError(f"{name}: is for the networks of faltung, not for a file")


def _imported(arguments: argparse.Namespace, sample: tuple[int, ...] | None) -> "Graph":
    """The network of an ONNX file, for one sample."""
    from faltung.onnx.model import load

    _check_options(arguments, "training", False)
    model = load(arguments.net)
    return model.graph() if sample is None else model.graph((1, *sample))
