"""The description of a model as JSON, checked when it is read back."""

from typing import Any

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.graph.losses import check_loss
from faltung.plan.words import PRECISIONS

# Entries of ``Model.about`` and their types. With NoneType an entry is optional.
ENTRIES: dict[str, tuple[type, ...]] = {
    "net": (str,),
    "input_shape": (list, tuple),
    "dtype": (str,),
    "tokens": (bool,),
    "loss": (str, type(None)),
    "precision": (str, type(None)),
    "classes": (list, tuple, type(None)),
    "standard": (dict, type(None)),
    "units": (dict, type(None)),
    "target_scale": (dict, type(None)),
    "layout": (str, type(None)),
    "words": (str, type(None)),
}


def checked(about: Any) -> dict[str, Any]:
    """The entries of ``Model.about``, each of the right type. ValueError."""
    if not isinstance(about, dict):
        raise FaltungError(f"about={show(about)}: must be a table")
    for name in about:
        if name not in ENTRIES:
            raise FaltungError(f"{show(name)}: is not known")
    for name, kinds in ENTRIES.items():
        if not isinstance(about.get(name), kinds):
            raise FaltungError(f"{name}={show(about.get(name))}: must be {kinds[0].__name__}")
    if about.get("loss") is not None:
        check_loss(about["loss"])
    precision = about.get("precision")
    if precision not in (None, *PRECISIONS):
        names = ", ".join(PRECISIONS)
        raise FaltungError(f"precision={show(precision)}: must be one of {names}")
    classes = about.get("classes")
    if classes is not None and not all(isinstance(name, str) for name in classes):
        raise FaltungError(f"classes={show(classes)}: must be a list of text")
    return {name: about.get(name) for name in ENTRIES}
