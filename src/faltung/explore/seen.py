"""From what a user names to the parts of a page: a run, a file in it, an ONNX file, a network."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faltung.data.names import printable
from faltung.data.tables import Labels
from faltung.geometry.errors import FaltungError

UNTRAINED = "Nothing is measured: the page has the network's shape, not its weights."


def named(what: str | os.PathLike[str], file: str | None = None, **options: Any) -> dict[str, Any]:
    """The parts of a page about a network of ``faltung nets``; an ONNX file; or a run or a saved
    model, with a file also at work on it. options: as for ``of_run``. ValueError, OSError: nothing
    of these; a file for what has no weights.
    """
    onnx, net = _kind(what)
    if not onnx and not net:
        return of_run(what, file, **options)
    if file is not None:
        raise FaltungError(
            f"{printable(file)}: is for a run, whose weights it goes through; of "
            f"{printable(what)} the page shows what its units see, and takes no file"
        )
    return of_onnx(what) if onnx else of_net(str(what))


def shaped(what: str | os.PathLike[str], shape: Sequence[int]) -> dict[str, Any]:
    """The parts of a page about an ONNX file or a network, for samples of this shape. ValueError:
    a run, whose samples have one shape.
    """
    onnx, net = _kind(what)
    if onnx:
        return of_onnx(what, shape)
    if net:
        return of_net(str(what), input_shape=tuple(shape))
    raise FaltungError(
        f"input={'x'.join(map(str, shape))}: is for a network of `faltung nets` or model.onnx; a "
        "run has the shape that it was trained on"
    )


def _kind(what: str | os.PathLike[str]) -> tuple[bool, bool]:
    """Whether this is an ONNX file; a name that is no file, also a misspelled one."""
    path = Path(what)
    onnx = path.suffix.lower() == ".onnx"
    return onnx, not onnx and not path.exists() and path.name == str(what) and not path.suffix


def of_run(
    run: str | os.PathLike[str],
    file: str | None = None,
    *,
    label: str | None = None,
    layer: str | None = None,
    labels: Labels | None = None,
) -> dict[str, Any]:
    """What the units of a run see; with a file also the network at work on it. ValueError: as for
    ``train.explain.explain``.
    """
    from faltung.explore.fields import fields
    from faltung.explore.measured import measured
    from faltung.explore.network import network
    from faltung.explore.shown import sample as shown
    from faltung.train.explain import sample_of, seen_in
    from faltung.train.opened import opened

    found = opened(run)
    model = found.model
    if file is None:
        heat, said = measured(model, None)
        return {"fields": [fields(model.graph, _name(run), measured=heat, said=said)]}
    sample = sample_of(found, file, labels)
    view = seen_in(model, sample, label, layer)
    heat, said = measured(model, sample)
    drawn = shown(sample, view.words, tokens=model.tokens)
    return {
        "fields": [fields(model.graph, _name(run), sample=drawn, measured=heat, said=said)],
        "network": network(view, Path(file).name, printable(run)),
    }


def of_onnx(path: str | os.PathLike[str], shape: Sequence[int] | None = None) -> dict[str, Any]:
    """What the units of an ONNX model see. shape: of a sample, where the file leaves it free."""
    from faltung.explore.fields import fields
    from faltung.onnx.model import load

    model = load(path)
    graph = model.graph() if shape is None else model.graph((1, *shape))
    return {"fields": [fields(graph, _name(path), said=UNTRAINED)]}


def of_net(name: str, **options: Any) -> dict[str, Any]:
    """What the units of a network of ``faltung nets`` see. options: as for ``nets.graph``."""
    from faltung import nets
    from faltung.explore.fields import fields

    return {"fields": [fields(nets.graph(name, **options), name)]}


def _name(path: str | os.PathLike[str]) -> str:
    return printable(Path(path).name or path)
