"""What the page has without any Python: networks whose units can be asked what they see, and
convolutions with what processors do for them.

``python -m faltung.explore.builtin explorer/src/sections`` writes ``fields_builtin.json`` and
``processor_builtin.json`` there; tests compare them.
"""

import json
import sys
from pathlib import Path
from typing import Any

from faltung import nets, nn
from faltung.explore.fields import fields
from faltung.explore.processor import processor
from faltung.formats.files import write_whole
from faltung.geometry.text import parse
from faltung.machine.table import row


def inception() -> nn.Layer:
    """A small stem and two blocks with branches of four sizes (Szegedy et al., 2014)."""

    def conv(channels: int, kernel: int) -> tuple[nn.Layer, nn.Layer]:
        return nn.Conv(channels, kernel, padding="same"), nn.ReLU()

    def block(some: int) -> nn.Layer:
        pooled = nn.MaxPool(3, stride=1, padding="same")
        return nn.Parallel(
            nn.Sequential(*conv(some, 1), name="one"),
            nn.Sequential(*conv(some, 1), *conv(2 * some, 3), name="three"),
            nn.Sequential(*conv(some // 2, 1), *conv(some, 5), name="five"),
            nn.Sequential(pooled, *conv(some, 1), name="pool"),
        )

    return nn.Sequential(*conv(16, 3), nn.MaxPool(2), block(8), block(16), nn.Conv(10, 1))


def dilated() -> nn.Layer:
    """Six layers of three taps whose dilation doubles: 127 entries seen (van den Oord, 2016)."""
    layers = [
        layer
        for i in range(6)
        for layer in (nn.Conv(16, 3, dilation=2**i, padding="same"), nn.ReLU())
    ]
    return nn.Sequential(*layers)


def builtin() -> list[dict[str, Any]]:
    """What the page is told of them."""
    said = "Nothing is measured here: these networks are not trained. With a run, `faltung see RUN "
    said += "FILE` measures it by gradients."
    some = [
        ("LeNet-5", nets.graph("lenet5")),
        ("Inception, two small blocks", nn.build(inception(), (3, 32, 32))),
        ("Dilated convolutions of a series", nn.build(dilated(), (1, 256))),
        ("ResNet-18 for 32x32", nets.graph("resnet18", input_shape=(3, 32, 32), classes=10)),
        ("U-Net for 64x64", nets.graph("unet", input_shape=(1, 64, 64))),
    ]
    return [fields(graph, title, said=said) for title, graph in some]


def written() -> str:
    """The file, with a line for each layer."""
    text = json.dumps(builtin(), separators=(",", ":"))
    return text.replace('},{"name"', '},\n{"name"') + "\n"


# The same convolution on three processors, and what other kernels look like.
EXPLAINED = (
    ("avx2", "n1 c64>64 56x56 k3 p1"),
    ("avx512", "n1 c64>64 56x56 k3 p1"),
    ("neon", "n1 c64>64 56x56 k3 p1"),
    ("avx2", "n1 c256>64 56x56 k1"),
    ("avx2", "n1 c64>64 56x56 k3 p1 g64"),
)


def explained() -> str:
    """The file of convolutions: rows of the table of processors, so the same on every computer."""
    made = [processor(parse(text), machine=row(name)) for name, text in EXPLAINED]
    return json.dumps(made, separators=(",", ":")).replace('],["', '],\n["') + "\n"


def main() -> None:
    folder = Path(sys.argv[1])
    write_whole(folder / "fields_builtin.json", written().encode())
    write_whole(folder / "processor_builtin.json", explained().encode())


if __name__ == "__main__":
    main()
