"""What ``Model.fit`` gives back: the epochs, and a table of them when printed."""

from faltung.train.metrics import EpochMetrics
from faltung.train.terminal import header, shown, table_line

WIDTH = 100


class History(list[EpochMetrics]):
    """A list of rows, one an epoch, that prints as a table."""

    def __repr__(self) -> str:
        if not self:
            return "no epochs"
        epochs = self[-1].epoch
        columns = shown(self[0], epochs, WIDTH)
        lines = [table_line(columns, row, epochs, best=False) for row in self]
        return "\n".join([header(columns, epochs), *lines])
