"""What ``Model.fit`` returns: the metrics of all epochs, printed as a table."""

from collections.abc import Iterable
from importlib import import_module

from faltung.train.metrics import EpochMetrics, columns_of
from faltung.train.terminal import header, shown, table_line

TABLE_WIDTH = 100
# Epochs of which a table shows all; of more the first and the last, and the best.
SHOWN, ENDS = 60, 5


class History(list[EpochMetrics]):
    """A list with the metrics of each epoch, which prints as a table.

    Parameters
    ----------
    rows : iterable of EpochMetrics
        The epochs in order.
    best : EpochMetrics, optional
        The epoch whose weights the model has.
    notes : sequence of str
        What is worth saying about the training as a whole: that it ended early, or overfits.
    lr_test : sequence of (float, float)
        With ``lr="find"``, the rates that were tried, and the smoothed loss at each.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import Model, nn
    >>> x = np.random.default_rng(0).standard_normal((64, 3))
    >>> model = Model(nn.Linear(1), (3,))
    >>> history = model.fit(x, x.sum(1), loss="mse", epochs=3, lr=0.1, show=False)
    >>> table = history.to_dict()  # pandas.DataFrame(table) is a table of it
    >>> table["epoch"]
    [1, 2, 3]
    >>> history.best is history[-1]
    True
    """

    def __init__(
        self,
        rows: Iterable[EpochMetrics] = (),
        *,
        best: EpochMetrics | None = None,
        notes: Iterable[str] = (),
        lr_test: Iterable[tuple[float, float]] = (),
    ) -> None:
        super().__init__(rows)
        self.best = best
        self.notes, self.lr_test = tuple(notes), tuple(lr_test)

    def to_dict(self) -> dict[str, list[float | None]]:
        """Columns by name, each with a number for every epoch; None where nothing was measured.

        Columns without any number are left out. ``pandas.DataFrame`` takes it as it is.
        """
        rows = [row.as_dict() for row in self]
        found = {name: [row.get(name) for row in rows] for name in columns_of(rows)}
        return {n: column for n, column in found.items() if any(v is not None for v in column)}

    def table(self, width: int = TABLE_WIDTH) -> str:
        """All epochs as lines of text, at most ``width`` characters wide."""
        return "\n".join(self._lines(width, list(self)))

    def _repr_html_(self) -> str:
        """For notebooks."""
        made: str = import_module("faltung.train.notebook").history_html(self)
        return made

    def __repr__(self) -> str:
        if not self:
            return "no epochs"
        if len(self) <= SHOWN:
            return "\n".join([*self._lines(TABLE_WIDTH, list(self)), *self.notes])
        first, last = self[:ENDS], self[-ENDS:]
        middle = [row for row in self[ENDS:-ENDS] if row is self.best]
        top, *lines = self._lines(TABLE_WIDTH, [*first, *middle, *last])
        gap = "..."
        lines[ENDS:ENDS] = [gap]
        if middle:
            lines[ENDS + 2 : ENDS + 2] = [gap]
        return "\n".join([top, *lines, *self.notes])

    def _lines(self, width: int, rows: list[EpochMetrics]) -> list[str]:
        if not rows:
            return ["no epochs"]
        epochs = self[-1].epoch
        columns = shown(self[0], epochs, width)
        lines = [table_line(columns, row, epochs, best=row is self.best) for row in rows]
        return [header(columns, epochs), *lines]
