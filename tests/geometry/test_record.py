"""Our ``dataclass`` beside that of the standard library, on classes of every form."""

import copy
import dataclasses
import inspect
import pickle
import re
from dataclasses import FrozenInstanceError, asdict, astuple, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from faltung.geometry import record

Make = Any


def _plain(dataclass: Make) -> type:
    @dataclass
    class Plain:
        a: int
        b: str = "b"
        c: "ClassVar[int]" = 3
        d: ClassVar[str] = "d"

        def twice(self) -> int:
            return 2 * self.a

    return Plain


def _frozen(dataclass: Make) -> type:
    @dataclass(frozen=True, slots=True)
    class Frozen:
        a: int
        parts: list[int] = field(default_factory=list, compare=False)
        c: float = field(default=2.5, repr=False)
        d: int = field(default=7, init=False)

    return Frozen


def _derived(dataclass: Make) -> type:
    @dataclass(frozen=True)
    class Base:
        a: int
        b: int = 1

        def __post_init__(self) -> None:
            if self.a < 0:
                raise ValueError(f"a={self.a}")

    @dataclass(frozen=True, kw_only=True)
    class Derived(Base):
        b: int = 5
        c: int = field(default=9, hash=False)
        d: tuple[int, ...] = ()

        def __repr__(self) -> str:
            return f"<{self.a}>"

    return Derived


def _odd(dataclass: Make) -> type:
    @dataclass(eq=False, slots=True, weakref_slot=True)
    class Odd:
        a: int = 0
        b: Any = field(default_factory=dict, kw_only=True)

    return Odd


def _single(dataclass: Make) -> type:
    @dataclass(slots=True)
    class Single:
        a: float

    return Single


FORMS = _plain, _frozen, _derived, _odd, _single


def _said(function: Any) -> Any:
    """What a call gives, or how it fails."""
    try:
        return function()
    except (TypeError, ValueError, AttributeError) as error:
        return type(error)


@pytest.mark.parametrize("form", FORMS)
def test_a_class_is_that_of_the_standard_library(form: Any) -> None:
    ours, theirs = form(record.dataclass), form(dataclasses.dataclass)
    assert is_dataclass(ours)
    for ask in (
        lambda kind: str(inspect.signature(kind)).replace("_Unset", ""),
        lambda kind: [(f.name, f.type, f.kw_only, f.init, f.compare) for f in fields(kind)],
        lambda kind: kind.__match_args__,
        lambda kind: kind.__dict__.get("__slots__"),
        lambda kind: kind.__qualname__,
        lambda kind: kind(),
        lambda kind: kind(1, 2, 3, 4, 5),
        lambda kind: repr(kind(3)),
        lambda kind: asdict(kind(3)),
        lambda kind: astuple(kind(3)),
        lambda kind: kind(3) == kind(3),
        lambda kind: kind(3) == kind(4),
        lambda kind: kind(3) == 3,
        lambda kind: isinstance(hash(kind(3)), int),
        lambda kind: hash(kind(3)) == hash(kind(3)),
        lambda kind: repr(replace(kind(3), a=-4)),
        lambda kind: repr(replace(kind(3), d=4)),
        lambda kind: repr(copy.copy(kind(3))),
        lambda kind: repr(copy.deepcopy(kind(3))),
        lambda kind: repr(kind(3, b=8)),
        lambda kind: setattr(kind(3), "a", 4),
        lambda kind: delattr(kind(3), "a"),
        lambda kind: kind(b=1, a=2).a,
    ):
        one, other = (_said(lambda kind=kind, ask=ask: ask(kind)) for kind in (ours, theirs))
        if dataclasses.is_dataclass(other):  # of different classes
            one, other = asdict(one), asdict(other)  # type: ignore[arg-type]
        assert one == other, inspect.getsource(ask)


@record.dataclass(frozen=True, slots=True)
class Kept:
    """At the top of a module, so that pickle finds it."""

    a: int
    b: tuple[str, ...] = ("x",)


def test_frozen_records_are_pickled_and_stay_frozen() -> None:
    again = pickle.loads(pickle.dumps(Kept(3)))
    assert again == Kept(3) and hash(again) == hash(Kept(3))
    with pytest.raises(FrozenInstanceError):
        again.a = 4


def test_what_cannot_be_declared_is_refused() -> None:
    with pytest.raises(TypeError, match="order"):
        record.dataclass(order=True)(type("A", (), {"__annotations__": {"a": int}}))
    with pytest.raises(ValueError, match="default_factory"):
        record.dataclass(type("A", (), {"__annotations__": {"a": list}, "a": []}))
    with pytest.raises(TypeError, match="default"):
        record.dataclass(type("A", (), {"__annotations__": {"a": int, "b": int}, "a": 1}))
    with pytest.raises(TypeError, match="frozen"):
        record.dataclass(type("A", (Kept,), {"__annotations__": {"c": int}}))


def test_the_standard_decorator_may_derive_from_one() -> None:
    @dataclasses.dataclass(frozen=True)
    class Theirs(Kept):
        c: int = 4

    assert Theirs(1) == Theirs(1) != Theirs(2)
    assert repr(Theirs(1, c=2)).endswith("Theirs(a=1, b=('x',), c=2)")


def test_the_package_declares_no_other_records() -> None:
    source = Path(record.__file__).parents[1]
    found = re.compile(
        r"from dataclasses import [^\n]*\bdataclass\b|import dataclasses\n.*@dataclasses"
    )
    named = [path.name for path in source.rglob("*.py") if found.search(path.read_text("utf-8"))]
    assert named == ["record.py"]


def test_nothing_is_compiled_before_the_first_object() -> None:
    made = _single(record.dataclass)
    assert not inspect.isfunction(made.__dict__["__init__"])
    assert made(2.0).a == 2.0
    assert inspect.isfunction(made.__dict__["__init__"])
