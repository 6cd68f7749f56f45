"""``dataclass`` as of the standard library, but declared without writing code: imports are short.

The standard decorator compiles five functions for each class as it is imported, which is most of
the time in which a package of hundreds of small classes is imported. Here a class compares, hashes
and shows itself by functions that all classes share, and only ``__init__`` is compiled: when the
first object is made, so that classes that a process never uses cost nothing.

To type checkers, and to ``fields``, ``replace``, ``asdict``, ``copy`` and ``pickle``, it is the
standard decorator. It has no ``order`` and no ``unsafe_hash``, and knows no ``InitVar``.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, MISSING, Field, FrozenInstanceError, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_origin

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, **options):
        """The class with its methods; ``slots`` makes it again, with a place for each field."""
        made = _Options(**options)
        return (lambda cls: _declared(cls, made)) if cls is None else _declared(cls, made)


class _Options(NamedTuple):
    """What a class was declared with, under the names of the standard library."""

    init: bool = True
    repr: bool = True
    eq: bool = True
    frozen: bool = False
    match_args: bool = True
    kw_only: bool = False
    slots: bool = False
    weakref_slot: bool = False
    order: bool = False
    unsafe_hash: bool = False


# Annotations that Python 3.14 has not evaluated yet may name what only type checkers import: its
# format 3 leaves those as they are.
_LATER: dict[str, Any] = {"format": 3} if sys.version_info >= (3, 14) else {}
# What a class may have: a static method of an ``__init__`` and the name of its class, which gives
# the ``__init__`` to have instead.
WRAP = "wrapped_init"
# Where the standard library and ``match`` look.
_FIELDS, _OPTIONS, _MATCHED = "__dataclass_fields__", "__dataclass_params__", "__match_args__"


def _declared(cls: Any, options: _Options) -> Any:
    if options.order or options.unsafe_hash:
        raise TypeError(f"{cls.__name__}: a record has no order and no unsafe_hash")
    found = _inherited(cls, options)
    found |= {each.name: each for each in _own_fields(cls, options)}
    _check_defaults(cls, found)
    names = tuple(n for n, f in found.items() if f.init and not f.kw_only)
    if options.match_args and "__match_args__" not in cls.__dict__:
        setattr(cls, _MATCHED, names)
    setattr(cls, _FIELDS, found)
    setattr(cls, _OPTIONS, options)
    if options.slots:
        cls = _with_slots(cls, options)
    _add_methods(cls, list(found.values()), options)
    return cls


# Fields -------------------------------------------------------------------------------------------


def _inherited(cls: Any, options: _Options) -> dict[str, Any]:
    """The fields of the classes above. TypeError: some are frozen and this is not, or reversed."""
    found: dict[str, Any] = {}
    for base in cls.__mro__[-1:0:-1]:
        if _FIELDS in base.__dict__:
            found |= base.__dict__[_FIELDS]
            if base.__dict__[_OPTIONS].frozen != options.frozen:
                raise TypeError(f"{cls.__name__}: frozen must be as of {base.__name__}")
    return found


def _annotations(cls: Any) -> dict[str, Any]:
    return dict(inspect.get_annotations(cls, **_LATER))


def _own_fields(cls: Any, options: _Options) -> Iterator[Any]:
    """The fields that a class itself declares; those below ``_: KW_ONLY`` by keyword alone."""
    by_keyword = options.kw_only
    for name, kind in _annotations(cls).items():
        text = kind.rpartition(".")[2] if isinstance(kind, str) else ""
        if kind is KW_ONLY or text == "KW_ONLY":
            by_keyword = True
        elif not _of_class(kind):
            yield _field(cls, name, kind, by_keyword)


def _of_class(kind: Any) -> bool:
    """Whether an annotation is of a class variable."""
    text = kind.rpartition("typing.")[2] if isinstance(kind, str) else ""
    return kind is ClassVar or get_origin(kind) is ClassVar or text.startswith("ClassVar")


def _field(cls: Any, name: str, kind: Any, by_keyword: bool) -> Any:
    """The field of an annotation."""
    default = cls.__dict__.get(name, MISSING)
    made: Any = default if isinstance(default, Field) else field(default=default)
    if made.default is not MISSING and made.default.__class__.__hash__ is None:
        raise ValueError(f"{cls.__name__}.{name}={made.default!r}: use default_factory")
    made.name, made.type, made._field_type = name, kind, _OF_FIELDS  # as ``fields`` asks for
    if made.kw_only is MISSING:
        made.kw_only = by_keyword
    if made.default is not MISSING:
        setattr(cls, name, made.default)
    elif isinstance(default, Field):
        delattr(cls, name)
    return made


def _check_defaults(cls: Any, found: dict[str, Any]) -> None:
    last = ""
    for each in found.values():
        if each.init and not each.kw_only:
            if _is_given(each):
                last = each.name
            elif last:
                raise TypeError(f"{cls.__name__}.{each.name}: needs a default, as {last} has one")


def _is_given(each: Any) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def _with_slots(cls: Any, options: _Options) -> Any:
    """The class again: slots must be there before it is."""
    if "__slots__" in cls.__dict__:
        raise TypeError(f"{cls.__name__}: has __slots__ already")
    taken = {slot for base in cls.__mro__[1:-1] for slot in _slots_of(base)}
    names = [*getattr(cls, _FIELDS), *(("__weakref__",) if options.weakref_slot else ())]
    parts = dict(cls.__dict__)
    for name in getattr(cls, _FIELDS):
        parts.pop(name, None)
    parts.pop("__dict__", None)
    parts.pop("__weakref__", None)
    parts["__slots__"] = tuple(name for name in names if name not in taken)
    made = type(cls)(cls.__name__, cls.__bases__, parts)
    made.__qualname__ = cls.__qualname__
    return made


def _slots_of(base: type) -> tuple[str, ...]:
    found = base.__dict__.get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)


# Methods ------------------------------------------------------------------------------------------


def _add_methods(cls: Any, found: list[Any], options: _Options) -> None:
    own = cls.__dict__
    if options.init and "__init__" not in own:
        cls.__init__ = _Init(cls)
    if options.repr and "__repr__" not in own:
        cls.__repr__ = _repr([each.name for each in found if each.repr])
    compared = [each for each in found if each.compare]
    hashes = own.get("__hash__", MISSING)
    if options.eq:
        own_hash = hashes is not MISSING and not (hashes is None and "__eq__" in own)
        if "__eq__" not in own:
            cls.__eq__ = _eq([each.name for each in compared])
        if not own_hash:
            hashed = [f.name for f in found if (f.compare if f.hash is None else f.hash)]
            cls.__hash__ = _hash(hashed) if options.frozen else None
    if options.frozen:
        if "__setattr__" in own or "__delattr__" in own:
            raise TypeError(f"{cls.__name__}: a frozen class has no __setattr__ of its own")
        cls.__setattr__, cls.__delattr__ = _frozen(cls, frozenset(each.name for each in found))
        if options.slots and "__getstate__" not in own and "__setstate__" not in own:
            cls.__getstate__, cls.__setstate__ = _state, _set_state


def is_record(cls: type) -> bool:
    """Whether the ``__init__`` of a class is one that is made here, and not yet."""
    return isinstance(cls.__dict__.get("__init__"), _Init)


class _Init:
    """Stands for ``__init__`` until it is asked for, and then makes way for it."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        cls = self._cls
        if cls.__dict__["__init__"] is self:
            made = _init(cls)
            wrap = getattr(cls, WRAP, None)
            cls.__init__ = made if wrap is None else wrap(made, cls.__name__)
        return cls.__dict__["__init__"].__get__(instance, owner)


def _init(cls: Any) -> Callable[..., None]:
    """``__init__`` of a class, compiled: generic code would take three times as long."""
    options, found = getattr(cls, _OPTIONS), list(getattr(cls, _FIELDS).values())
    scope: dict[str, Any] = {"_set": object.__setattr__, "_unset": _UNSET}
    usual: list[str] = []
    named: list[str] = []
    body: list[str] = []
    for number, each in enumerate(found):
        name, value, given = each.name, each.name, f"_{number}"
        factory = each.default_factory is not MISSING
        if factory:
            scope[given] = each.default_factory
            value = f"{given}() if {name} is _unset else {name}" if each.init else f"{given}()"
        elif _is_given(each):
            scope[given] = each.default
        if each.init:
            default = "=_unset" if factory else f"={given}" if _is_given(each) else ""
            (named if each.kw_only else usual).append(name + default)
        elif not factory:
            if not (options.slots and _is_given(each)):
                continue
            value = given
        body.append(
            f"_set(self, {name!r}, {value})" if options.frozen else f"self.{name} = {value}"
        )
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    given_names = ", ".join(["self", *usual, *(["*", *named] if named else [])])
    lines = "\n  ".join(body or ["pass"])
    exec(f"def __init__({given_names}):\n  {lines}", scope)
    made: Any = scope["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    made.__annotations__ = {f.name: f.type for f in found if f.init} | {"return": None}
    return made  # type: ignore[no-any-return]


class _Unset:
    """The default of what a function makes, as signatures show it."""

    def __repr__(self) -> str:
        return "<factory>"


_UNSET = _Unset()


def _values(names: list[str]) -> Callable[[Any], Any]:
    """A function to the tuple of these attributes."""
    if len(names) > 1:
        return attrgetter(*names)
    return (lambda self: (getattr(self, names[0]),)) if names else lambda self: ()


def _repr(names: list[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:
        parts = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        return f"{self.__class__.__qualname__}({parts})"

    return __repr__


def _eq(names: list[str]) -> Callable[[Any, Any], bool]:
    values = _values(names)

    def __eq__(self: Any, other: Any) -> bool:
        if other.__class__ is self.__class__:
            return bool(values(self) == values(other))
        return NotImplemented

    return __eq__


def _hash(names: list[str]) -> Callable[[Any], int]:
    values = _values(names)

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __hash__


def _frozen(cls: Any, names: frozenset[str]) -> tuple[Callable[..., None], Callable[..., None]]:
    def __setattr__(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return __setattr__, __delattr__


def _state(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for each, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)


def _of_fields() -> Any:
    """What the standard library marks fields with, class variables aside."""
    import dataclasses

    return dataclasses.make_dataclass("_Sample", ["one"]).__dataclass_fields__["one"]._field_type  # type: ignore[attr-defined]


_OF_FIELDS = _of_fields()
