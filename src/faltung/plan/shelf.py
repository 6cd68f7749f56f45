"""Plans that are kept: in memory for the process, and on disk for the next.

A plan is known by the whole question: spec, strides, epilogue, policy and machine. On disk, one
file holds all plans of a program; it is found by what the program computes, roughly, and each plan
in it by the words of its question. The machine and the source that makes plans are part of its
name, by the rules of ``jit/cache``, which also says when a file is believed.
"""

import atexit
import os
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from typing import Any

from faltung.geometry.errors import FaltungError
from faltung.jit import cache
from faltung.machine.table import Machine
from faltung.plan.choose import Policy
from faltung.plan.plan import Plan
from faltung.plan.written import Unreadable, Written, written

KIND = "plans"
# The most plans that are remembered in memory.
MOST = 512
# The most programs whose plans a process writes: pictures may all have other sizes, and plans must
# not drive out the code of kernels.
MOST_FILES = 8

Build = Callable[..., Plan]
_known: dict[Hashable, Plan] = {}
# The shelves that are still to be written, and how many this process has taken on.
_waiting: list["Shelf"] = []
_taken = 0
if hasattr(os, "register_at_fork"):  # they are the parent's
    os.register_at_fork(after_in_child=_waiting.clear)


class Shelf:
    """The plans of one program. about: what it computes, in words, for the name of its file."""

    def __init__(self, machine: Machine, policy: Policy, about: Iterable[str] = ()) -> None:
        self._machine, self._policy = machine, policy
        self._about = tuple(about)
        self._used: dict[Hashable, tuple[Build, tuple[Any, ...], dict[str, Any], Plan]] = {}
        self._made = 0
        self._file: Written | None = None
        self._key: str | None = None
        self._opened = False

    def plan(self, build: Build, arguments: tuple[Any, ...], named: dict[str, Any]) -> Plan:
        """What ``build`` makes of its arguments: from memory, from disk, or made now."""
        # In words too: constants of formulas that are equal, 0.0 and -0.0, make other code.
        words = repr((named.get("epilogue"), named.get("update")))
        own = self._machine, self._policy
        key = build.__name__, arguments, tuple(named.items()), words, *own
        found = _known.get(key)
        if found is None:
            found = self._read(build, arguments, named)
            if found is None:
                found = build(*arguments, **named, machine=self._machine, policy=self._policy)
                self._made += 1
            # Without a lock, which a fork could leave closed for ever.
            found = _known.setdefault(key, found)
            for old in list(_known)[: max(0, len(_known) - MOST)]:
                _known.pop(old, None)
        self._used[key] = build, arguments, named, found
        return found

    def save(self) -> None:
        """Keep the plans of the program on disk, if one of them was made for it: at once those of
        the first program of a process, which compiles anyway, and of others when it ends. Writing
        takes a fifth of the time in which a program is made for another size.
        """
        global _taken
        if not self._made or self._key is None or _taken >= MOST_FILES:
            return
        _taken += 1
        if _taken == 1:
            self.write()
        else:
            _waiting.append(self)

    def write(self) -> None:
        """Write the plans of the program."""
        if self._key is None:
            return
        plans = {
            self._question(build, arguments, named): plan
            for build, arguments, named, plan in self._used.values()
        }
        with suppress(FaltungError):
            cache.store(self._key, written(plans), KIND)

    def _question(self, build: Build, arguments: tuple[Any, ...], named: dict[str, Any]) -> str:
        return f"{build.__name__} {arguments!r} {named!r} {self._policy!r}"

    def _read(self, build: Build, arguments: tuple[Any, ...], named: dict[str, Any]) -> Plan | None:
        """The plan from disk; None where it is not there, or is none."""
        self._open()
        asked = self._question(build, arguments, named)
        if self._file is None or asked not in self._file:
            return None
        try:
            return self._file.plan(asked, self._machine)
        except (Unreadable, FaltungError):
            return None

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        # Where code is kept under its text, the source of plans may change at any time.
        if not self._about or cache.by_text():
            return
        self._key = cache.key(KIND, repr(self._machine), repr(self._policy), *self._about)
        data = None if self._key is None else cache.load(self._key, KIND)
        if data is not None:
            with suppress(Unreadable):
                self._file = Written(data)


@atexit.register
def write_all() -> None:
    """Write the plans that are still to be written."""
    while _waiting:
        _waiting.pop().write()
