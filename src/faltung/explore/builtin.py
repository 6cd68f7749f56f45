"""The networks that the page has without any Python: ``python -m faltung.explore.builtin FILE``
writes them to ``explorer/src/sections/fields_builtin.json``, which a test compares.
"""

import json
import sys
from pathlib import Path
from typing import Any

from faltung import nets, nn
from faltung.explore.fields import fields
from faltung.formats.files import write_whole


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


def main() -> None:
    write_whole(Path(sys.argv[1]), written().encode())


if __name__ == "__main__":
    main()
