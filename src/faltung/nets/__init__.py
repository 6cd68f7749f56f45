"""Networks of the literature: one paper, one file, and a row of ``rows.NETS``.

>>> from faltung import nets
>>> net = nets.get("resnet18", classes=10, input_shape=(3, 32, 32))
"""

from typing import TYPE_CHECKING

from faltung.nets.table import NETS, Row, get, graph, row

__all__ = ["NETS", "Row", "get", "graph", "row"]


if not TYPE_CHECKING:  # for type checkers there are the names above, and no other

    def __getattr__(name: str) -> object:
        from faltung.geometry import words
        from faltung.geometry.errors import FaltungAttributeError
        from faltung.nets.table import like

        said = "" if name.startswith("_") else like(name)
        if said or name in NETS:
            said = f'; write nets.get("{name}")' if name in NETS else said
            raise FaltungAttributeError(f"faltung.nets has no {name}{said}")
        raise FaltungAttributeError(words.no_such("faltung.nets", name, __all__, {}))


def __dir__() -> list[str]:
    return __all__
