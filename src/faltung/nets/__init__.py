"""Networks of the literature: one paper, one file, and a row of ``rows.NETS``.

>>> from faltung import nets
>>> net = nets.get("resnet18", classes=10, input_shape=(3, 32, 32))
"""

from faltung.nets.table import NETS, Row, get, graph, row

__all__ = ["NETS", "Row", "get", "graph", "row"]


def __dir__() -> list[str]:
    return __all__
