"""What ``Model.fit`` returns: the metrics of all epochs, printed as a table."""

from faltung.train.metrics import EpochMetrics
from faltung.train.terminal import header, shown, table_line

TABLE_WIDTH = 100


class History(list[EpochMetrics]):
    """A list with the metrics of each epoch, which prints as a table."""

    def __repr__(self) -> str:
        if not self:
            return "no epochs"
        epochs = self[-1].epoch
        columns = shown(self[0], epochs, TABLE_WIDTH)
        lines = [table_line(columns, row, epochs, best=False) for row in self]
        return "\n".join([header(columns, epochs, self[0].metric), *lines])
