"""Plans and programs as data: what they consist of in JSON, and their tables behind it.

Only numbers, words and the fields of frozen dataclasses of this package are written, and read
again by their constructors. Code is not among them: it is written by recipes when it is needed.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np

from faltung.geometry.errors import FaltungError
from faltung.machine.table import Machine
from faltung.methods.base.step import Step, Work
from faltung.plan.plan import Plan

# The stages that have the classes of which plans and programs consist.
_STAGES = ("faltung.geometry.", "faltung.graph.", "faltung.methods.", "faltung.plan.")
_WORD = 8


class Unreadable(Exception):
    """What was read is no plan."""


# Writing ------------------------------------------------------------------------------------------


class _Writer:
    """Values as JSON. shared: what occurs several times, tables and recipes, by where it is."""

    def __init__(self) -> None:
        self.words = 0
        self.tables: list[np.ndarray[Any, Any]] = []
        self.shared: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._alive: list[object] = []

    def value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple | list):
            return ["t" if isinstance(value, tuple) else "l", *map(self.value, value)]
        if isinstance(value, dict):
            return ["d", *(self.value(part) for pair in value.items() for part in pair)]
        return ["s", self.number(value)]

    def number(self, value: Any) -> int:
        """The place of a table or of a dataclass among what is shared."""
        found = self._numbers.get(id(value))
        if found is None:
            made = self.table(value) if isinstance(value, np.ndarray) else self.record(value)
            found = self._numbers[id(value)] = len(self.shared)
            self.shared.append(made)
            self._alive.append(value)  # ids stay taken
        return found

    def table(self, value: np.ndarray[Any, Any]) -> list[Any]:
        if value.dtype != np.int64:
            raise FaltungError(f"dtype={value.dtype}: must be int64")
        self.tables.append(np.ascontiguousarray(value))
        self.words += value.size
        return ["a", self.words - value.size, *value.shape]

    def record(self, value: Any) -> list[Any]:
        kind: Any = type(value)
        name = f"{kind.__module__}:{kind.__qualname__}"
        if _kind(name) is not kind:
            raise FaltungError(f"{name}: must be a dataclass of a plan")
        return ["o", name, *(self.value(getattr(value, field)) for field in _fields(kind))]


def written(plans: Mapping[str, Plan]) -> bytes:
    """Plans by their questions, as bytes. FaltungError: one that cannot be written."""
    return values_written({question: _parts(plan) for question, plan in plans.items()})


def values_written(values: Mapping[str, Any]) -> bytes:
    """Values by their names, as bytes: of numbers, words, tables, and frozen dataclasses of the
    stages. FaltungError: one that cannot be written.
    """
    writer = _Writer()
    found = {name: writer.value(value) for name, value in values.items()}
    text = json.dumps([found, writer.shared], separators=(",", ":")).encode()
    text += b" " * (-(len(text) + _WORD) % _WORD)
    size = len(text).to_bytes(_WORD, "little")
    return b"".join([size, text, *(table.astype("<i8").tobytes() for table in writer.tables)])


def _parts(plan: Plan) -> tuple[Any, ...]:
    """What a plan is made of again, without its machine."""
    work = plan.work
    steps = ([_step(step) for step in part] for part in (work.prepare, work.steps))
    own = plan.direction, plan.reasons, plan.cycles, plan.aux
    return (plan.spec, *own, *steps, work.kept, work.scratch, work.packs)


def _step(step: Step) -> tuple[Any, ...]:
    return step.recipe, step.items, tuple(step.arguments), step.title, step.barrier


# Reading ------------------------------------------------------------------------------------------


class Written:
    """Bytes of ``written``, of which each plan is read when it is asked for.

    Unreadable: they are none.
    """

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[:_WORD], "little")
        try:
            if size > len(data) - _WORD or (len(data) - size) % _WORD:
                raise Unreadable
            self._plans, self._shared = json.loads(data[_WORD : _WORD + size])
            if not (isinstance(self._plans, dict) and isinstance(self._shared, list)):
                raise Unreadable
        except (ValueError, TypeError, RecursionError):
            raise Unreadable from None
        self._words = np.frombuffer(data, "<i8", offset=_WORD + size).astype(np.int64, copy=False)
        self._made: dict[int, Any] = {}

    def __contains__(self, question: str) -> bool:
        return question in self._plans

    def plan(self, question: str, machine: Machine) -> Plan:
        """The plan of a question. Unreadable: it is none."""
        try:
            spec, direction, reasons, cycles, aux, prepare, steps, *rest = self.value(question)
            kept, scratch, packs = rest
            work = Work(
                [Step(*s) for s in prepare], [Step(*s) for s in steps], kept, scratch, packs
            )
            return Plan(spec, direction, machine, work, reasons, cycles, aux)
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
            raise Unreadable from None

    def value(self, name: str) -> Any:
        """A value by its name. Unreadable, or an error of a constructor: it is none."""
        return self._value(self._plans[name])

    def _value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        kind, *parts = value
        if kind == "s":
            return self._place(*parts)
        made = [part if type(part) is not list else self._value(part) for part in parts]
        if kind == "t":
            return tuple(made)
        if kind == "l":
            return made
        if kind == "d":
            return dict(zip(made[::2], made[1::2], strict=True))
        raise Unreadable

    def _place(self, number: int) -> Any:
        if number not in self._made:
            kind, *parts = self._shared[number]
            self._made[number] = self._table(*parts) if kind == "a" else self._record(*parts)
        return self._made[number]

    def _table(self, start: int, *shape: int) -> np.ndarray[Any, Any]:
        if start < 0 or min(shape) < 0 or start + prod(shape) > len(self._words):
            raise Unreadable
        return self._words[start : start + prod(shape)].reshape(shape)

    def _record(self, name: str, *given: Any) -> Any:
        kind = _kind(name)
        if kind is None:
            raise Unreadable
        return kind(**dict(zip(_fields(kind), map(self._value, given), strict=True)))


# Classes ------------------------------------------------------------------------------------------


@cache
def _kind(name: object) -> type | None:
    """The class of a part of a plan, by its module and name: a frozen dataclass that is there."""
    if not isinstance(name, str):
        return None
    module, _, word = name.partition(":")
    kind = getattr(sys.modules.get(module), word, None) if module.startswith(_STAGES) else None
    frozen = isinstance(kind, type) and is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return kind if frozen and kind.__module__ == module else None


@cache
def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.init)
