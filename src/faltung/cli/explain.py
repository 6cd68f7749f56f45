"""``faltung explain "n1 c3>64 224x224 k7 s2 p3"``: a convolution, its cost, how it would run; or
``faltung explain NET``: which layers of a network run together.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from math import prod
from typing import TYPE_CHECKING, Any

from faltung.cli import conv_facts
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.geometry import ConvSpec
    from faltung.plan import Plan

# The direction, and the function of faltung.plan that plans it.
DIRECTIONS = {
    "forward": "plan_forward",
    "input-grad": "plan_input_grad",
    "weight-grad": "plan_weight_grad",
}

HELP = """\
A convolution is one line of words; quote it because of the '>':

  n1          batch (default: 1)
  c3>64       channels in and out
  224x224     the size of each axis; any number of axes
  k7 k3x5     kernel          s2 s1x2  stride          d2  dilation
  p3 p1x2     padding         p(0,1)x(1,1)  before and after
  psame pvalid psame_upper psame_lower pcausal
  m:circular  padding mode    m:zeros,circular  one for each axis
  g32         groups          f64  float64             flip  true convolution

examples:
  faltung explain "n1 c3>64 224x224 k7 s2 p3"
  faltung explain "c1>1 1000000 k101" --asm
  faltung explain "n8 c64>64 32x32x32 k3 psame" --direction weight-grad
  faltung explain "c64>64 56x56 k3 p1" --integers

A network of `faltung nets`, or a file model.onnx, is explained as a program:
which layers run as a chain in bands of rows, and why others run alone.

  faltung explain mobilenetv2 --batch 8
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``explain``."""
    parser.epilog = HELP
    parser.add_argument(
        "spec",
        nargs="+",
        help="the convolution, e.g. 'n1 c3>64 224x224 k7 s2 p3', or a network",
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="samples of a network (default: 1)"
    )
    parser.add_argument(
        "--direction",
        choices=tuple(DIRECTIONS),
        default="forward",
        help="plan the convolution, or its gradient for the input or the weight (default: forward)",
    )
    parser.add_argument(
        "--channels-first",
        action="store_true",
        help="plan for arrays (batch, channels, *space) (default: channels last)",
    )
    parser.add_argument(
        "--machine", metavar="NAME", help="plan for this processor: avx512, avx2, sse, ..."
    )
    parser.add_argument(
        "--precision",
        default="fast",
        help="fast, or strict: plain sums of products only (default: fast)",
    )
    parser.add_argument("--method", default="auto", help="plan with this method (default: auto)")
    parser.add_argument(
        "--integers",
        action="store_true",
        help="plan the convolution of 8-bit numbers: uint8 in and out, channels last",
    )
    parser.add_argument(
        "--llvm", action="store_true", help="print only the LLVM IR of every kernel"
    )
    parser.add_argument(
        "--asm", action="store_true", help="print only the assembly of every kernel"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Explain the convolution, or the network."""
    if len(arguments.spec) == 1 and _is_network(arguments.spec[0]):
        print(_network(arguments.spec[0], arguments))
        return 0
    spec = _parsed(arguments.spec)
    with _machine(arguments.machine):
        plan = (
            _integers(spec, arguments)
            if arguments.integers
            else make_plan(
                spec,
                arguments.direction,
                not arguments.channels_first,
                precision=arguments.precision,
                method=arguments.method,
            )
        )
        for line in _report(spec, plan, arguments):
            print(line)
    return 0


def _is_network(word: str) -> bool:
    """Whether a word is a file, or a name of ``faltung nets``."""
    from faltung.nets.table import key

    if word.lower().endswith(".onnx"):
        return True
    with suppress(FaltungError):
        return bool(key(word))
    return False


def _network(name: str, arguments: argparse.Namespace) -> str:
    """The programs of a network of ours, or of a file."""
    from faltung.geometry.check import whole
    from faltung.program.explained import explained

    batch = whole("batch", arguments.batch, 1)
    with _machine(arguments.machine):
        if name.lower().endswith(".onnx"):
            from faltung.cli.run import random_inputs
            from faltung.onnx.model import load

            model = load(name, precision=arguments.precision)
            model.run(random_inputs(model, [], batch))
            return model.explain()
        from faltung import nets
        from faltung.graph.initial import parameters
        from faltung.program.inference import Inference
        from faltung.program.state import State

        graph = nets.graph(name)
        state = State(graph.parameters, graph.dtype)
        state.update(parameters(graph, 0))
        return explained(Inference(graph, state, batch, precision=arguments.precision))


def _parsed(words: Sequence[str]) -> "ConvSpec":
    """The convolution. FaltungError: none, with the word that is to blame: "s0: stride=0: ..."."""
    from faltung.geometry.text import parse
    from faltung.geometry.text import words as meanings

    text = " ".join(words)
    try:
        return parse(text)
    except FaltungError as error:
        said = str(error).removeprefix("text=")
        word = meanings(text).get(said.partition("=")[0])
        # The shell may have taken the '>' out of words without quotes.
        broken = len(words) > 1 and ">" not in text
        hint = " (put the convolution in quotes: '>' sends the output to a file)" if broken else ""
        raise FaltungError(f"{word}: {said}{hint}" if word else f"{said}{hint}") from None


def _machine(name: str | None) -> Any:
    if name is None:
        return nullcontext()
    from faltung.jit.target import use

    return use(name)


def _integers(spec: "ConvSpec", arguments: argparse.Namespace) -> "Plan":
    """The plan for 8-bit numbers. FaltungError: options that it does not have."""
    from faltung.plan.build_integer import plan_integers

    if arguments.direction != "forward" or arguments.channels_first:
        raise FaltungError(
            "--integers: plans the convolution itself, channels last; leave out --direction and "
            "--channels-first"
        )
    return plan_integers(spec)


def make_plan(spec: "ConvSpec", direction: str, channels_last: bool, **policy: str) -> "Plan":
    """The plan of one direction of ``DIRECTIONS``; ``policy``: precision, method. MemoryError:
    arrays that this computer cannot hold, whose plan would have tables as long.
    """
    import faltung.plan
    from faltung.geometry.conv import ITEMSIZE
    from faltung.runtime.memory import require

    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    require(sum(map(prod, shapes)) * ITEMSIZE[spec.dtype], f"{spec}: this problem alone")
    make = getattr(faltung.plan, DIRECTIONS[direction])
    plan: Plan = make(spec, channels_last=channels_last, **policy)
    return plan


def _report(spec: "ConvSpec", plan: "Plan", arguments: argparse.Namespace) -> Iterator[str]:
    code = [
        (kind, [getattr(kernel, method)() for kernel in plan.kernels()])
        for kind, method, wanted in (
            ("llvm", "llvm", arguments.llvm),
            ("assembly", "assembly", arguments.asm),
        )
        if wanted
    ]
    if arguments.json:
        layout = "channels-first" if arguments.channels_first else "channels-last"
        found = conv_facts.facts(spec) | {
            "direction": arguments.direction,
            "layout": layout,
            "plan": str(plan),
        }
        yield json.dumps(found | dict(code), indent=2)
    elif code:
        for kind, texts in code:
            yield from _listing(_comment(kind), f"{spec}: {kind}", texts)
    else:
        layout = "(N, C, *space)" if arguments.channels_first else "(N, *space, C)"
        yield from conv_facts.page(spec)
        yield ""
        yield f"Plan: {arguments.direction}, arrays {layout}"
        yield from (f"  {line}".rstrip() for line in str(plan).splitlines())


def _comment(kind: str) -> str:
    """The comment sign of LLVM IR, or of the assembly of the current machine."""
    from faltung.jit.target import current

    return ";" if kind == "llvm" else {"aarch64": "//"}.get(current().arch, "#")


def _listing(sign: str, title: str, texts: list[str]) -> Iterator[str]:
    """The texts, each after a comment; with one kernel the output is a valid file."""
    for number, text in enumerate(texts, 1):
        yield f"{sign} {title} of kernel {number} of {len(texts)}"
        yield text.rstrip("\n")
