"""``faltung convert SOURCE --out model.safetensors``: weights of other programs as a model."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from faltung.cli.line import line
from faltung.cli.options import options, sample
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.data.standard import Standard
    from faltung.train.model import Model

# Arguments of functions that have another name here.
ARGUMENTS = {"input_shape": "input", "path": "out", "standard": "mean"}

HELP = """\
SOURCE is one of
  weights of torchvision or timm   .safetensors, or a state dict of torch.save
                                   (.pth, .pt, .bin), of which nothing is
                                   executed; --net says of which network
  an ONNX file                     of one input and one output
  a run, or a saved model

A pretrained network expects a mean and a standard deviation of pictures from 0
to 1. They are those of torchvision or timm, unless --mean and --std are given,
and become a part of the model.

examples:
  faltung convert resnet18.pth --net resnet18 --out resnet18.safetensors
  faltung convert pytorch_model.bin --net convnext_tiny --out model.onnx
  faltung convert weights.safetensors --net vit_tiny --out vit.safetensors \\
      --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --classes names.txt
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``convert``."""
    parser.epilog = HELP
    parser.add_argument("source", metavar="SOURCE", help="a file, or a run; see below")
    parser.add_argument("--net", metavar="NAME", help="the network, of `faltung nets`")
    parser.add_argument(
        "--out", metavar="FILE", required=True, help="model.safetensors, or model.onnx"
    )
    parser.add_argument(
        "--input", metavar="3x224x224", help="shape of a sample (default: the paper's)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of the network, e.g. width=0.5; may be repeated",
    )
    parser.add_argument("--mean", metavar="R,G,B", help="of each channel, of pictures from 0 to 1")
    parser.add_argument("--std", metavar="R,G,B", help="the standard deviation of each channel")
    parser.add_argument("--classes", metavar="FILE", help="the names of the outputs, one a line")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(arguments: argparse.Namespace) -> int:
    """Write the model."""
    from faltung.train.exchange import check_suffix

    path = Path(arguments.out)
    check_suffix(path)
    if path.exists() and not arguments.force:
        raise FileExistsError(f"{path}: already exists; --force overwrites it")
    model = _model(arguments)
    model.export(path)
    print(f"{line(path)}: {path.stat().st_size:,} bytes, {line(model)}")
    return 0


def _model(arguments: argparse.Namespace) -> "Model":
    from faltung.train.model import Model
    from faltung.train.pretrained import is_weights

    given = None if arguments.input is None else sample(arguments.net or "", arguments.input)
    classes = None if arguments.classes is None else _names(arguments.classes)
    if not is_weights(arguments.source):
        if options(arguments.set):
            raise FaltungError(f"set={arguments.set[0]!r}: is for weights without their network")
        for name in ("net", "mean", "std"):
            if getattr(arguments, name) is not None:
                raise FaltungError(
                    f"{name}={getattr(arguments, name)!r}: is for weights without their network"
                )
        if arguments.set:
            raise FaltungError(f"set={arguments.set[0]!r}: is for weights without their network")
        if arguments.source.lower().endswith(".onnx"):
            return Model.from_onnx(arguments.source, given, classes=classes)
        if classes is not None:
            raise FaltungError(f"classes={arguments.classes!r}: a model says what its outputs are")
        return Model.pretrained(arguments.source, input_shape=given)
    if arguments.net is None:
        raise FaltungError(
            f"{line(arguments.source)}: has weights without their network: --net NAME, of `faltung "
            "nets`, says which it is"
        )
    return Model.pretrained(
        arguments.source,
        arguments.net,
        input_shape=given,
        classes=classes,
        standard=_standard(arguments),
        **options(arguments.set),
    )


def _standard(arguments: argparse.Namespace) -> "Standard | None":
    """What ``--mean`` and ``--std`` say. ValueError: one without the other."""
    from faltung.data.standard import Standard

    if arguments.mean is None and arguments.std is None:
        return None
    for name, other in (("mean", "std"), ("std", "mean")):
        if getattr(arguments, name) is None:
            raise FaltungError(f"{other}={getattr(arguments, other)!r}: needs --{name} too")
    return Standard(_numbers("mean", arguments.mean), _numbers("std", arguments.std))


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise FaltungError(
            f"{name}={text!r}: must be a number for each channel, as 0.485,0.456,0.406"
        ) from None


def _names(file: str) -> list[str]:
    """The lines of a file that are not empty."""
    from faltung.formats.files import read_checked

    try:
        lines = read_checked(file, 1 << 24).decode().splitlines()
    except UnicodeDecodeError as error:
        raise FaltungError(f"{line(file)}: not text, byte {error.start} is not UTF-8") from None
    return [name.strip() for name in lines if name.strip()]
