"""Which machine kernels are written for: this one, unless someone says otherwise.

`FALTUNG_MACHINE=avx2` chooses a row of the table for the process, `use("sse")` for a block.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache

from faltung.geometry.errors import FaltungError
from faltung.jit import llvm
from faltung.jit.llvm import target_machine
from faltung.machine.detect import describe, fits, here
from faltung.machine.table import Machine, row

__all__ = ["check", "current", "host", "named", "runs", "target_machine", "use"]

_chosen: ContextVar[Machine | None] = ContextVar("faltung_machine", default=None)


@cache
def host() -> Machine:
    """The processor of this computer, with every feature that it has."""
    return describe(*llvm.probe())


@cache
def runs(machine: Machine) -> bool:
    """Whether this computer can run code written for `machine`."""
    return fits(machine, host().arch, host().enabled)


def check(machine: Machine) -> Machine:
    """`machine` itself; ValueError where this computer cannot run code written for it."""
    if runs(machine):
        return machine
    mine = host()
    if machine.arch != mine.arch:
        raise FaltungError(
            f"machine={machine.name!r}: written for {machine.arch}, this processor is {mine.arch}"
        )
    missing = ", ".join(sorted(machine.enabled - mine.enabled))
    raise FaltungError(f"machine={machine.name!r}: this processor lacks {missing}")


@cache
def named(name: str) -> Machine:
    """The machine called `name`, on this computer: with its triple, caches and cores.

    The host's own name gives the host, with every feature that it has; another name gives the
    features of the row and no more, so that narrower processors can be tried on a wide one.
    ValueError for a name that the table lacks, or a row that this processor cannot run.
    """
    mine, wanted = host(), row(name)
    if wanted.name == mine.name:
        return mine
    return here(replace(check(wanted), triple=mine.triple))


@cache
def _default() -> Machine:
    name = os.environ.get("FALTUNG_MACHINE", "").strip()
    try:
        return named(name) if name else host()
    except ValueError as error:
        raise FaltungError(f"FALTUNG_MACHINE: {error}") from None


def current() -> Machine:
    """The machine that kernels are written for now.

    That of the innermost `use`, else FALTUNG_MACHINE (read once), else the host.
    """
    return _chosen.get() or _default()


@contextmanager
def use(machine: str | Machine) -> Iterator[Machine]:
    """Write kernels for `machine`, a name of the table or a row, within the block.

    Holds for this thread (more exactly, this context); threads started in the block begin with
    the default.  ValueError for an unknown name and for a row that this processor cannot run.
    """
    chosen = named(machine) if isinstance(machine, str) else check(machine)
    token = _chosen.set(chosen)
    try:
        yield chosen
    finally:
        _chosen.reset(token)
