"""``faltung profile model.onnx``: where the time of a network goes, step by step."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.graph.value import Graph
    from faltung.program.profile import Profile
    from faltung.program.profile_page import Yardsticks
    from faltung.program.state import State

# Arguments of functions that have another name here.
ARGUMENTS = {"input_shape": "input", "name": "net", "n": "threads"}

HELP = """\
Each line is a step: what it computes, how, the size of its result, the least
time of all runs, the part of the whole, the speed of its products, and the
bytes that it reads and writes.

examples:
  faltung profile resnet18
  faltung profile model.onnx --threads 1
  faltung profile detector.onnx --shape 1x3x480x640
  faltung profile efficientnet_b0.onnx --markdown
  faltung profile resnet18 --training --input 3x32x32 --batch 32
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``profile``."""
    parser.epilog = HELP
    parser.add_argument(
        "net", metavar="NET", help="of `faltung nets`, a file model.onnx, a run or a saved model"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="samples (default: 1)")
    parser.add_argument(
        "--input", metavar="3x224x224", help="shape of a sample (default: the paper's)"
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="[NAME=]1x3x224x224",
        help="of an input of the file, the batch included; may be repeated",
    )
    parser.add_argument(
        "--repeats", type=int, default=20, metavar="N", help="runs of each step (default: 20)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="number of threads (default: one per core)"
    )
    parser.add_argument(
        "--training", action="store_true", help="a step of training: SGD with momentum"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument(
        "--markdown",
        action="store_true",
        help="print how much each kind of work takes, and the largest steps beside the peak of "
        "multiply-adds and the bandwidth of copies, which are measured first",
    )
    parser.add_argument(
        "--largest", type=int, default=12, metavar="N", help="steps of --markdown (default: 12)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from faltung.geometry.check import whole

    whole("batch", arguments.batch, 1)
    whole("repeats", arguments.repeats, 1)
    if arguments.threads is not None:
        from faltung.runtime.threads import set_threads

        set_threads(arguments.threads)
    whole("largest", arguments.largest, 1)
    of_file = arguments.net.lower().endswith(".onnx")
    measured = _yardsticks() if arguments.markdown else None
    found = _of_file(arguments) if of_file else _of_run(arguments) or _of_net(arguments)
    if arguments.json:
        import json

        print(json.dumps(asdict(found), indent=2))
    elif measured is not None:
        from pathlib import Path

        from faltung.program.profile_page import markdown

        print(markdown(Path(arguments.net).stem, found, measured, arguments.largest))
    else:
        print(found)
    return 0


def _yardsticks() -> "Yardsticks":
    from faltung.program.profile_page import yardsticks
    from faltung.runtime.threads import get_threads

    return yardsticks(get_threads())


def _of_run(arguments: argparse.Namespace) -> "Profile | None":
    """Of a run, or of a model in a file; None of anything else."""
    from pathlib import Path

    from faltung.program.inference import Inference
    from faltung.program.profile import profile
    from faltung.train.opened import open_model, run_of

    place = Path(arguments.net)
    if run_of(place) is None and place.suffix.lower() != ".safetensors":
        return None
    for name, option in (("shape", []), ("input", None)):
        if getattr(arguments, name) != option:
            raise FaltungError(f"{name}: a trained model says the shape of its samples")
    model = open_model(place)
    if arguments.training:
        return _of_step(model.training_graph, model.state, arguments)
    return profile(Inference(model.graph, model.state, arguments.batch), arguments.repeats)


def _of_net(arguments: argparse.Namespace) -> "Profile":
    """Of a network of ours, with random parameters."""
    from faltung import nets
    from faltung.cli.options import sample
    from faltung.graph.initial import parameters
    from faltung.program.inference import Inference
    from faltung.program.profile import profile
    from faltung.program.state import State

    if arguments.shape:
        raise FaltungError(
            "shape: is for the inputs of a file; --input is for a network of faltung"
        )
    given = None if arguments.input is None else sample(arguments.net, arguments.input)
    graph = nets.graph(arguments.net, input_shape=given, training=arguments.training)
    state = State(graph.parameters, graph.dtype)
    state.update(parameters(graph, 0))
    if arguments.training:
        return _of_step(graph, state, arguments)
    return profile(Inference(graph, state, arguments.batch), arguments.repeats)


def _of_step(graph: "Graph", state: "State", arguments: argparse.Namespace) -> "Profile":
    """Of a step of training: SGD with momentum."""
    from faltung.graph.differentiate import differentiate
    from faltung.program.optimizer import SGD
    from faltung.program.profile import profile
    from faltung.program.training import Slots, TrainingStep

    slots = Slots(state, SGD(0.9))
    step = TrainingStep(differentiate(graph), state, slots, arguments.batch)
    return profile(step, arguments.repeats)


def _of_file(arguments: argparse.Namespace) -> "Profile":
    """Of an ONNX file, fed with random numbers."""
    from faltung.cli.options import sample
    from faltung.cli.run import random_inputs
    from faltung.onnx.model import load

    if arguments.training:
        from faltung.train.model import Model

        sizes = None if arguments.input is None else sample(arguments.net, arguments.input)
        trained = Model.from_onnx(arguments.net, sizes)
        return _of_step(trained.training_graph, trained.state, arguments)
    model = load(arguments.net)
    if arguments.input is not None:
        raise FaltungError(
            "input: is for a network of faltung; --shape is for the inputs of a file"
        )
    given = random_inputs(model, arguments.shape, arguments.batch)
    return model.profile(given, repeats=arguments.repeats)
