"""An ONNX file with inputs, the same in every process.

Its text is the path, a bar, and the sizes of each input: ``models/resnet18.onnx | x=8x3x224x224``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.problem import Array, relative_error

# Against another runtime in float32: both round, Winograd more than plain sums. In 8 bits numbers
# that round otherwise are a step of a grid apart, layer after layer.
LIMIT, LIMIT_8_BITS = 1e-4, 0.1
_BAR = " | "


@dataclass(frozen=True)
class FileProblem:
    """A file to run; each input is float32 and drawn with a fixed seed."""

    text: str

    @property
    def limit(self) -> float:
        return LIMIT_8_BITS if self.path.stem.endswith(".int8") else LIMIT

    @property
    def path(self) -> Path:
        return Path(self.text.rpartition(_BAR)[0])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        words = (word.rpartition("=") for word in self.text.rpartition(_BAR)[2].split())
        return {name: tuple(map(int, sizes.split("x"))) for name, _, sizes in words}

    @cached_property
    def inputs(self) -> dict[str, Array]:
        """Random numbers for each input."""
        return {
            name: np.random.default_rng(number).standard_normal(shape, dtype=np.float32)
            for number, (name, shape) in enumerate(self.shapes.items())
        }

    def error(self, got: Array, want: Array) -> float:
        """RMS of the difference, relative to that of the right outputs."""
        return relative_error(got, want)


def text_of(path: Path, shapes: Mapping[str, Sequence[int]]) -> str:
    """The text of a problem."""
    return str(path) + _BAR + " ".join(f"{n}={'x'.join(map(str, s))}" for n, s in shapes.items())


def shapes_of(path: Path, batch: int) -> dict[str, tuple[int, ...]]:
    """The sizes of the inputs of a file; where the first axis is free it is the batch. ValueError:
    other free axes, or inputs that are not float32.
    """
    from faltung.onnx.read import read

    made = {}
    for port in read(path).inputs:
        first, *others = port.shape or (None,)
        sizes = [first if isinstance(first, int) else batch, *others]
        if port.dtype != "float32" or not all(isinstance(size, int) for size in sizes):
            raise ValueError(f"{path.name}: {port.name} is no float32 array of known sizes")
        made[port.name] = tuple(size for size in sizes if isinstance(size, int))
    return made
