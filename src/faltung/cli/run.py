"""``faltung run model.onnx --input x.npy``: what an ONNX model makes of an array or a picture."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faltung.cli.line import line
from faltung.geometry.errors import FaltungError

if TYPE_CHECKING:
    from faltung.onnx.model import OnnxModel
    from faltung.onnx.read import Port

ARGUMENTS = {"inputs": "input"}

HELP = """\
An input is an array (.npy), a picture, whose numbers are from 0 to 1 and whose
size becomes that of the input, or "random". Of several inputs each is given as
NAME=FILE; those not given are random.

examples:
  faltung run resnet18.onnx --input dog.jpg
  faltung run detector.onnx --input random --shape 1x3x480x640 --output out.npz
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.epilog = HELP
    parser.add_argument("model", metavar="MODEL", help="the file, model.onnx")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="x.npy, a picture, or random (the usual one); may be repeated",
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="[NAME=]1x3x224x224",
        help="of an input whose sizes the file leaves free; may be repeated",
    )
    parser.add_argument("--output", metavar="out.npz", help="a file for the outputs")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(arguments: argparse.Namespace) -> int:
    """Run the model once, and say what comes out."""
    from faltung.onnx.model import load

    target = None if arguments.output is None else Path(arguments.output)
    if target is not None and target.suffix.lower() != ".npz":
        raise FaltungError(f"output={arguments.output!r}: must end in .npz")
    if target is not None and target.exists() and not arguments.force:
        raise FileExistsError(f"{target}: already exists; --force overwrites it")
    model = load(arguments.model)
    names = [port.name for port in model.inputs]
    files = _by_name("input", arguments.input, names)
    ports = {port.name: port for port in model.inputs}
    sizes = {
        name: _shape(ports[name], text)
        for name, text in _by_name("shape", arguments.shape, names).items()
    }
    given = {
        port.name: _input(port, files.get(port.name, "random"), sizes.get(port.name))
        for port in model.inputs
    }
    made = model.run(given)
    for port, array in zip(model.outputs, made, strict=True):
        print(f"{line(port.name)}: {array.dtype} {array.shape}{_numbers(array)}")
    if target is not None:
        _write(target, {p.name: a for p, a in zip(model.outputs, made, strict=True)})
    return 0


def random_inputs(model: "OnnxModel", shapes: list[str], batch: int = 1) -> dict[str, Any]:
    """Random arrays for all inputs. shapes: as given by ``--shape``; batch: where it is free."""
    names = [port.name for port in model.inputs]
    ports = {port.name: port for port in model.inputs}
    sizes = {
        name: _shape(ports[name], text) for name, text in _by_name("shape", shapes, names).items()
    }
    return {
        name: _random(port, sizes[name] if name in sizes else _known(port, batch))
        for name, port in ports.items()
    }


def _by_name(option: str, words: list[str], names: list[str]) -> dict[str, str]:
    """NAME=VALUE words; a VALUE alone is that of the first input."""
    made: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or (name not in names and option == "input"):
            name, value = (names[0] if names else ""), word
        if name not in names:
            raise FaltungError(f"{option}={word!r}: must be one of {', '.join(names) or 'none'}")
        if name in made:
            raise FaltungError(f"{option}={word!r}: {name} is given twice")
        made[name] = value
    return made


def _input(port: "Port", file: str, sizes: tuple[int, ...] | None) -> Any:
    """The array of an input."""
    from faltung.data.npy import read_npy

    if file != "random" and Path(file).suffix.lower() == ".npy":
        return read_npy(Path(file), file)
    shape = sizes if sizes is not None else _known(port)
    return _random(port, shape) if file == "random" else _picture(file, shape)


def _shape(port: "Port", text: str) -> tuple[int, ...]:
    """The sizes that were given for an input. FaltungError: not those of the file."""
    from faltung.cli.options import shape

    made = shape("shape", text)
    wanted = port.shape
    if wanted is not None:
        free = [n if isinstance(n, int) else None for n in wanted]
        fits = len(made) == len(free) and all(
            n in (None, m) for n, m in zip(free, made, strict=True)
        )
        if not fits or min(made, default=1) < 1:
            inner = "x".join("N" if n is None else str(n) for n in free)
            raise FaltungError(f"shape={text!r}: must be {inner} for {port.name}, all at least 1")
    return made


def _known(port: "Port", batch: int = 1) -> tuple[int, ...]:
    """The shape of an input, so many samples where the batch is free. FaltungError: other free
    sizes.
    """
    sizes = list(port.shape or ())
    if sizes and not isinstance(sizes[0], int):
        sizes[0] = batch
    if not sizes or not all(isinstance(n, int) for n in sizes):
        raise FaltungError(f"{port.name}: has free sizes; give --shape {port.name}=1x3x224x224")
    return tuple(n for n in sizes if isinstance(n, int))


def _random(port: "Port", shape: tuple[int, ...]) -> Any:
    """Numbers that are the same at every call."""
    from math import prod

    import numpy as np

    from faltung.runtime.memory import require

    require(8 * prod(shape), port.name)
    rng = np.random.default_rng(0)
    if port.dtype.startswith("float"):
        return rng.standard_normal(shape).astype(port.dtype)
    return rng.integers(0, 2, shape).astype(port.dtype)


def _picture(file: str, shape: tuple[int, ...]) -> Any:
    """A picture as (1, C, H, W), or (1, H, W, C) where the input has its channels last."""
    import numpy as np

    from faltung.data.pictures import decode

    if len(shape) != 4 or shape[0] != 1:
        raise FaltungError(f"{file}: an input of shape {shape} takes no picture")
    last = shape[1] not in (1, 3, 4) and shape[3] in (1, 3, 4)
    wanted = (shape[3], *shape[1:3]) if last else shape[1:]
    values = decode(Path(file), file, shape=wanted, fit=True, white=1.0)
    made = np.asarray(values, np.float32)[np.newaxis]
    return np.moveaxis(made, 1, -1) if last else made


def _numbers(array: Any) -> str:
    """What is in an array, in a few words."""
    if not array.size:
        return ""
    flat = array.reshape(-1)
    if array.size <= 10:
        return ": " + ", ".join(f"{value:.4g}" for value in flat.tolist())
    words = f", from {flat.min():.4g} to {flat.max():.4g}"
    if array.ndim == 2 and array.shape[0] == 1:
        best = sorted(range(array.size), key=lambda i: -float(flat[i]))[:5]
        words += ", largest at " + ", ".join(f"{i} ({flat[i]:.4g})" for i in best)
    return words


def _write(path: Path, arrays: dict[str, Any]) -> None:
    """The outputs by name, in one file."""
    import numpy as np

    from faltung.formats.files import write_whole

    write_whole(path, lambda file: np.savez(file, **arrays))
    print(f"{line(path)}: {path.stat().st_size:,} bytes")
