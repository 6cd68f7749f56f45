"""The walk of `faltung compress` on a model and arrays, without the folder of a run."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy.typing as npt

from faltung.compress.budget import Budget
from faltung.compress.end import End, end_of
from faltung.compress.journal import Entry, Journal
from faltung.compress.parts import Origin, Parts, halves
from faltung.compress.walk import Walk
from faltung.data.source import Source, is_source, split
from faltung.geometry.check import whole
from faltung.geometry.errors import FaltungError
from faltung.train.model import Model
from faltung.train.samples import as_source
from faltung.train.settings import Settings
from faltung.train.transfer import digest

Samples = tuple[npt.ArrayLike, npt.ArrayLike] | Source


def compress(
    model: Model,
    x: npt.ArrayLike | Source,
    y: npt.ArrayLike | None = None,
    *,
    held: float | Samples = 0.2,
    report: Samples | None = None,
    drop: float | None = None,
    bytes: int | None = None,
    speed: float | None = None,
    epochs: int = 5,
    out: str | os.PathLike[str] | None = None,
    show: bool = False,
    **fit: Any,
) -> tuple[Model, tuple[Entry, ...], End]:
    """A smaller model that answers as well: the walk of `faltung compress`.

    Parameters
    ----------
    model : Model
        A trained one. It is not changed.
    x : array_like or Source
        Samples that it was trained on, as for ``Model.fit``: fine-tuning uses them.
    y : array_like, optional
        Their targets.
    held : float, (x, y) or Source
        Samples that it was not trained on, which choose; by default a fifth of ``x``, by its seed
        that which ``Model.fit(x, y, validation=0.2)`` has held out.
    report : (x, y) or Source, optional
        Samples that choose nothing; by default half of those that are held out.
    drop, bytes, speed : float, int, float, optional
        The limits: points of accuracy that may be lost, bytes on disk, times as fast.
    epochs : int
        Of each fine-tuning.
    out : path-like, optional
        A folder for the steps, from which a walk that was stopped goes on. By default a temporary
        one.
    show : bool
        Whether fine-tuning shows its progress.
    **fit
        How the model was trained, as for ``Model.fit``: ``batch``, ``lr``, ``seed``, ...

    Returns
    -------
    model, entries, end : Model, tuple of Entry, End
        The chosen model, what was measured of each step, and why it was chosen.

    Raises
    ------
    ValueError, TypeError
        Samples that do not fit, no limit that can be one, or limits that no step keeps: the message
        names the nearest.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung import Model, nn
    >>> from faltung.compress.arrays import compress
    >>> x = np.random.default_rng(0).standard_normal((80, 1, 8, 8), dtype=np.float32)
    >>> y = (x.mean((1, 2, 3)) > 0).astype(int)
    >>> net = nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
    >>> model = Model(net, (1, 8, 8))
    >>> history = model.fit(x, y, validation=0.2, epochs=3, show=False)
    >>> small, entries, end = compress(model, x, y, bytes=1500, epochs=1)
    >>> entries[end.chosen].bytes <= 1500
    True
    """
    limits = Budget(drop, bytes, speed)
    count = whole("epochs", epochs, 1)
    loss = fit.pop("loss", model.loss or "cross_entropy")
    settings = Settings(epochs=count, loss=loss, **fit)
    found = _parts(model, x, y, held, report, settings)
    config = {"data": {"path": "arrays"}, "net": {"name": "model"}, "train": settings.as_dict()}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary if out is None else out)
        plan = {
            "digest": digest(model),
            "samples": [len(part) for part in (found.train, found.choose, found.report)],
            "limits": limits.as_dict(),
            "train": settings.as_dict(),
        }
        journal = Journal.opened(place, plan)
        walk = Walk(Origin(model, settings, found, config), journal, limits, count, show=show)
        walk.run()
        end = end_of(walk.entries, limits)
        if end.chosen is None:
            raise FaltungError(f"limits: {end.why}")
        return walk.model(end.chosen), walk.entries, end


def _parts(
    model: Model,
    x: npt.ArrayLike | Source,
    y: npt.ArrayLike | None,
    held: float | Samples,
    report: Samples | None,
    settings: Settings,
) -> Parts:
    """The three parts. ValueError, TypeError: samples that do not fit."""
    train, loss, seed = as_source(x, y, model, settings.loss), settings.loss, settings.seed
    if isinstance(held, tuple) or is_source(held):
        choose: Source = _source(held, model, loss)
    else:
        train, choose = split(train, held, seed=seed)  # type: ignore[arg-type]
    if report is not None:
        return Parts(train, choose, _source(report, model, loss))
    return Parts(train, *halves(choose, seed))


def _source(given: Samples, model: Model, loss: str) -> Source:
    if is_source(given):
        return as_source(given, None, model, loss)
    one, two = given  # type: ignore[misc]
    return as_source(one, two, model, loss)
