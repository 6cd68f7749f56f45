"""Surgery on networks: layers found by their names, and replaced, inserted or removed.

A layer has the name that its parameters and the summary have: "stage1.block1.conv2". Numbers that
a network gives would move when a layer before them comes or goes; then the layers that stay get
their old names as given ones, so that parameters keep theirs.

>>> from faltung import nn
>>> from faltung.nn.edit import edit, paths
>>> net = nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.Conv(4, 1))
>>> list(paths(net))
['conv1', 'relu1', 'conv2']
>>> edit(net, {"conv1": (nn.Conv(8, (3, 1)), nn.Conv(8, (1, 3)))}).net
Sequential(Conv(8, (3, 1), name='conv1_conv1'), Conv(8, (1, 3), name='conv1_conv2'), ReLU(), \
Conv(4, 1, name='conv2'))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.nn.layer import Layer, checked
from faltung.nn.structure import Identity, Sequential
from faltung.nn.wired import Read, Wired

T = TypeVar("T")
Edits = Mapping[str, "Layer | Sequence[Layer]"]


@dataclass(frozen=True, slots=True)
class Edited:
    """A network after surgery, and what became of its layers.

    Attributes
    ----------
    net : Layer
        The new network.
    moved : dict
        For each layer of the old network that is still there its name then and its name now.
    gone : frozenset of str
        The names of the others.
    """

    net: Layer
    moved: Mapping[str, str]
    gone: frozenset[str]

    def parameter(self, name: str) -> str | None:
        """The name that a parameter of the old network has in the new one.

        Parameters
        ----------
        name : str
            As in ``Model.parameters``.

        Returns
        -------
        str or None
            None: its layer is gone.

        Examples
        --------
        >>> from faltung import nn
        >>> from faltung.nn.edit import behind
        >>> net = nn.Residual(nn.Conv(3, 1))
        >>> behind(net, "residual1.conv1", nn.ReLU()).parameter("residual1.conv1.bias")
        'residual1.conv1.conv1.bias'
        """
        words = name.split(".")
        for count in range(len(words), -1, -1):
            path = ".".join(words[:count])
            if path in self.gone:
                return None
            if path in self.moved:
                return ".".join((self.moved[path], *words[count:]))
        return name

    def parameters(self, values: Mapping[str, T]) -> dict[str, T]:
        """What belongs to parameters of the old network, by their names in the new one.

        Parameters
        ----------
        values : mapping
            By the old names, such as ``Model.parameters``.

        Returns
        -------
        dict
            Without the parameters of layers that are gone.
        """
        pairs = ((self.parameter(name), value) for name, value in values.items())
        return {name: value for name, value in pairs if name is not None}


def paths(net: Layer) -> dict[str, Layer]:
    """All layers of a network by their names, a layer before those in it.

    Those that a layer makes by itself, such as the two of ``SqueezeExcite``, are not among them,
    nor is a ``Sequential`` that is the whole network.

    Parameters
    ----------
    net : Layer

    Returns
    -------
    dict
        In the order in which they are built.

    Examples
    --------
    >>> from faltung import nn
    >>> from faltung.nn.edit import paths
    >>> list(paths(nn.Residual(nn.Sequential(nn.Conv(3, 1), nn.ReLU(), name="body"))))
    ['residual1', 'residual1.body', 'residual1.body.conv1', 'residual1.body.relu1']
    """
    checked(net)
    return dict(_below(net) if net.bare else _walk(net, _named([net])[0]))


def _walk(layer: Layer, path: str) -> Iterator[tuple[str, Layer]]:
    yield path, layer
    for inner, part in _below(layer):
        yield f"{path}.{inner}", part


def _below(layer: Layer) -> Iterator[tuple[str, Layer]]:
    parts = [part for _, part in _slots(layer)]
    for name, part in zip(_named(parts), parts, strict=True):
        yield from _walk(part, name)


def edit(net: Layer, edits: Edits) -> Edited:
    """Replace layers of a network.

    Parameters
    ----------
    net : Layer
        It is not changed.
    edits : mapping of str to Layer or sequence of Layer
        For names of layers what comes in their place: a layer, several in sequence, or none, which
        leaves the input as it is. The layer itself may be among them; what is inserted then stands
        before or behind it.

    Returns
    -------
    Edited
        The layer that was there keeps its name; if it is gone, the only new one gets it, or the
        only new one of its class. Other new layers without a name get one that begins with it.
        Where there is room for one layer only, a ``Sequential`` of that name holds several.

    Raises
    ------
    ValueError, TypeError
        A name that no layer has, one within a layer that is replaced, a new layer with the name of
        another; not a layer.

    Notes
    -----
    Layers of one scope are numbered in the order of the fields of the layer that holds them, and
    all of ``faltung.nn`` build them in this order. A layer of your own that does otherwise must
    name its parts.

    Examples
    --------
    >>> from faltung import nn
    >>> from faltung.nn.edit import edit
    >>> net = nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.Conv(4, 1))
    >>> edit(net, {"relu1": (), "conv2": nn.Conv(6, 1)}).net
    Sequential(Conv(8, 3), Conv(6, 1))
    """
    known = paths(net)
    given = _Edits({path: _layers(path, layers) for path, layers in edits.items()})
    words = [str(path).split(".") for path in given]
    given.touched = frozenset(".".join(w[:n]) for w in words for n in range(1, len(w) + 1))
    for path, layers in given.items():
        _check(path, layers, known, list(given))
    if net.bare:
        made, moved = _rebuilt(net, "", given)
    else:
        (name,) = _named([net])
        placed, moved = _final(_replaced(net, name, name, given))
        made = placed[0] if len(placed) == 1 else Sequential(*(placed or (Identity(),)))
    return Edited(checked(made), moved, frozenset(known) - set(moved))


def behind(net: Layer, path: str, *layers: Layer) -> Edited:
    """Insert layers that read what a layer makes; whatever read it reads them. As ``edit``."""
    return edit(net, {path: (_at(net, path), *layers)})


def before(net: Layer, path: str, *layers: Layer) -> Edited:
    """Insert layers that read what a layer read, and are all that it reads. As ``edit``."""
    return edit(net, {path: (*layers, _at(net, path))})


def without(net: Layer, *removed: str) -> Edited:
    """Remove layers: what read them reads what they read. As ``edit``."""
    return edit(net, dict.fromkeys(removed, ()))


def _at(net: Layer, path: str) -> Layer:
    known = paths(net)
    _check(path, (), known)
    return known[path]


def _layers(path: str, given: Layer | Sequence[Layer]) -> tuple[Layer, ...]:
    made = (given,) if isinstance(given, Layer) else tuple(given)
    for layer in made:
        if not isinstance(layer, Layer):
            raise FaltungTypeError(f"edits[{path!r}]={show(layer)}: must be layers of faltung.nn")
    return made


def _check(
    path: str, layers: Sequence[Layer], known: Mapping[str, Layer], edits: Sequence[str] = ()
) -> None:
    if path not in known:
        near = get_close_matches(str(path), known, 3, 0.3) or list(known)[:3]
        raise FaltungError(
            f"path={show(path)}: must be the name of a layer of the network, such as "
            f"{', '.join(near)}"
        )
    if not any(layer is known[path] for layer in layers):
        inside = next((other for other in edits if other.startswith(f"{path}.")), None)
        if inside is not None:
            raise FaltungError(f"path={inside!r}: is within {path!r}, which is replaced too")


# Layers and their names ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Placed:
    """A layer in a place of a new network.

    name: what it must be called; None: to be chosen, beginning with ``old``, the name of the layer
    that was in this place. kept: of the old layer and those in it, (name then, name now), each
    within the layer: "" is itself. Empty for layers that are new.
    """

    layer: Layer
    name: str | None
    old: str
    kept: Mapping[str, str]


def _slots(layer: Layer) -> list[tuple[str, Layer]]:
    """The layers that a layer is made of, each with the field that holds it."""
    found: list[tuple[str, Layer]] = []
    for each in fields(layer):
        value = getattr(layer, each.name)
        parts = value if isinstance(value, tuple) else (value,)
        found += [(each.name, part) for part in parts if isinstance(part, Layer)]
    return found


class _Scope:
    """The names of the layers of one scope, as ``Builder.layer`` gives them."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._taken: Counter[str] = Counter()

    def automatic(self, layer: Layer) -> str:
        """What the next layer is called if it has no name."""
        kind = type(layer).__name__.lower()
        number = self._taken[kind] + 1
        while f"{kind}{number}" in self._names:
            number += 1
        return f"{kind}{number}"

    def add(self, layer: Layer) -> str:
        name = layer.name
        if name is None:
            name = self.automatic(layer)
            kind = type(layer).__name__.lower()
            self._taken[kind] = int(name[len(kind) :])
        self._names.add(name)
        return name


def _named(layers: Sequence[Layer]) -> list[str]:
    """The names of the layers of one scope."""
    scope = _Scope()
    return [scope.add(layer) for layer in layers]


def _with(layer: Layer, /, **changes: Any) -> Layer:
    """A layer with other fields, also one whose ``__init__`` does not take them by name."""
    if type(layer).__dataclass_params__.init:  # type: ignore[attr-defined]
        return replace(layer, **changes)
    made = object.__new__(type(layer))
    for each in fields(layer):
        object.__setattr__(made, each.name, changes.get(each.name, getattr(layer, each.name)))
    return made


# Surgery ------------------------------------------------------------------------------------------


class _Edits(dict[str, tuple[Layer, ...]]):
    """What comes in the place of layers. touched: their names, and those of what holds them."""

    touched: frozenset[str]


def _rebuilt(layer: Layer, path: str, edits: _Edits) -> tuple[Layer, dict[str, str]]:
    """A layer with all edits within it, and the layers within it: (name then, name now)."""
    parts = _slots(layer)
    names = _named([part for _, part in parts])
    paths = [f"{path}.{name}" if path else name for name in names]
    if edits.touched.isdisjoint(paths):
        return layer, {name: name for name, _ in _below(layer)}
    placed: list[_Placed] = []
    counts: Counter[str] = Counter()
    for (field, part), name, inner in zip(parts, names, paths, strict=True):
        made = _replaced(part, name, inner, edits)
        if not _has_room(layer, part):
            made = [_single(made, part, name, inner)]
        placed += made
        counts[field] += len(made)
    layers, moved = _final(placed)
    given = iter(layers)
    changes: dict[str, Any] = {}
    for field in dict.fromkeys(field for field, _ in parts):
        new = tuple(next(given) for _ in range(counts[field]))
        several = isinstance(getattr(layer, field), tuple)
        changes[field] = (new or (Identity(),)) if several else new[0]
    return _with(layer, **changes), moved


def _has_room(holder: Layer, part: Layer) -> bool:
    """Whether several layers in sequence can stand where a layer stands. In ``Wired`` those with a
    name may be read by others, and a ``Read`` reads others.
    """
    if isinstance(holder, Wired):
        return part.name is None and not isinstance(part, Read)
    return isinstance(holder, Sequential)


def _replaced(layer: Layer, name: str, path: str, edits: _Edits) -> list[_Placed]:
    """What comes in the place of a layer."""
    inside, moved = _rebuilt(layer, path, edits)
    if path not in edits:
        return [_Placed(inside, name, name, {"": "", **moved})]
    given = edits[path]
    heir = _heir(layer, given)
    placed = []
    for number, new in enumerate(given):
        if number != heir:
            own = name if new.name is None and len(given) == 1 else new.name
            placed.append(_Placed(new, own, name, {}))
        elif new is layer:
            placed.append(_Placed(inside, name, name, {"": "", **moved}))
        else:
            own = name if new.name in (None, layer.name) else new.name
            now = dict(_below(new))
            kept = {p: p for p, was in _below(layer) if type(now.get(p)) is type(was)}
            placed.append(_Placed(new, own, name, {"": "", **kept}))
    return placed


def _heir(layer: Layer, given: Sequence[Layer]) -> int | None:
    """Which of the layers that come in its place is the layer, or stands for it."""
    same = [number for number, new in enumerate(given) if new is layer]
    alike = [number for number, new in enumerate(given) if type(new) is type(layer)]
    return same[0] if same else alike[0] if len(alike) == 1 else None


def _single(placed: Sequence[_Placed], was: Layer, name: str, path: str) -> _Placed:
    """One layer that does what several in sequence do, under the name of the one that was there."""
    if len(placed) == 1:
        return placed[0]
    if isinstance(was, Read):
        inner = next(_below(was))[0]
        raise FaltungError(
            f"path={path!r}: a Read has one layer in its place; edit what is in it, "
            f"{f'{path}.{inner}'!r}"
        )
    if not placed:
        return _Placed(Identity(), name, name, {})
    heir = next((number for number, each in enumerate(placed) if each.kept), None)
    if heir is not None and type(placed[heir].layer) is Sequential:
        # A sequence takes them in, and the names of its layers stay.
        sequence = placed[heir].layer
        assert isinstance(sequence, Sequential)
        names = _named(sequence.layers)
        own = [_Placed(part, n, n, {}) for part, n in zip(sequence.layers, names, strict=True)]
        layers, _ = _final([*placed[:heir], *own, *placed[heir + 1 :]])
        return _Placed(_with(sequence, layers=tuple(layers)), name, name, placed[heir].kept)
    layers, moved = _final(placed)
    kept = {old.removeprefix(name).removeprefix("."): new for old, new in moved.items()}
    return _Placed(Sequential(*layers), name, name, kept)


def _final(placed: Sequence[_Placed]) -> tuple[list[Layer], dict[str, str]]:
    """The layers of a scope with their names, and what became of those that were there: (name then,
    name now). A name is given only where the number that the layer would get is another.
    """
    names = _chosen(placed)
    layers: list[Layer] = []
    moved: dict[str, str] = {}
    scope = _Scope()
    for each, name in zip(placed, names, strict=True):
        layer = each.layer
        if layer.name != name:
            layer = _with(layer, name=None if scope.automatic(layer) == name else name)
        scope.add(layer)
        layers.append(layer)
        for old, new in each.kept.items():
            moved[f"{each.old}.{old}" if old else each.old] = f"{name}.{new}" if new else name
    return layers, moved


def _chosen(placed: Sequence[_Placed]) -> list[str]:
    """The names of the layers of a scope. ValueError: one twice."""
    taken = [each.name for each in placed if each.name is not None]
    for name, times in Counter(taken).items():
        if times > 1:
            raise FaltungError(f"name={name!r}: a layer beside it has this name; give another")
    new = Counter(_stem(each) for each in placed if each.name is None)
    numbers: Counter[str] = Counter()
    names: list[str] = []
    for each in placed:
        stem = _stem(each)
        name = each.name or (stem if new[stem] == 1 else f"{stem}1")
        while each.name is None and name in taken:
            numbers[stem] += 1
            name = f"{stem}{numbers[stem]}"
        taken.append(name)
        names.append(name)
    return names


def _stem(placed: _Placed) -> str:
    return f"{placed.old}_{type(placed.layer).__name__.lower()}"
