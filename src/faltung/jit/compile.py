"""From a recipe to a callable kernel: memory, then disk, then the compiler."""

import ctypes
from collections import Counter
from collections.abc import Iterable
from typing import Literal, Protocol

from faltung.geometry.errors import FaltungTypeError
from faltung.jit import cache, llvm
from faltung.jit.target import check, current
from faltung.machine.table import Machine

__all__ = ["CompiledKernel", "Linked", "Recipe", "counts", "kernel", "linked", "object_code", "raw"]

Origin = Literal["compiled", "disk"]

_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Recipe(Protocol):
    """What one kernel is, before any code: a frozen dataclass.

    `repr(recipe)` must say everything that changes the code: it is the key under which the code
    is kept, in memory and on disk.  `emit` may read all of the machine but its `cores`.
    """

    @property
    def symbol(self) -> str:
        """The name of the public function in the module."""

    def emit(self, machine: Machine, /) -> str:
        """LLVM IR of a module with `void symbol(ptr params, i64 begin, i64 end)`."""


class Linked:
    """Machine code in this process, at an address. key: under which it is on disk, or None."""

    __slots__ = ("address", "key", "symbol")

    def __init__(self, address: int, symbol: str, key: str | None) -> None:
        self.address, self.symbol, self.key = address, symbol, key


class CompiledKernel(Linked):
    """Machine code in this process: `kernel(params, begin, end)` runs items begin..end.

    address: of the function.  origin: "compiled" here, or loaded from "disk".
    """

    __slots__ = ("_call", "machine", "origin", "recipe")

    def __init__(
        self, recipe: Recipe, machine: Machine, address: int, origin: Origin, key: str | None = None
    ) -> None:
        super().__init__(address, recipe.symbol, key)
        self.recipe = recipe
        self.machine = machine
        self.origin = origin
        self._call = _ENTRY(address)

    def __call__(self, params: int, begin: int, end: int) -> None:
        """Run items begin..end (half-open) with the parameters at address `params`.

        The GIL is released meanwhile.
        """
        self._call(params, begin, end)

    def llvm(self) -> str:
        """The LLVM IR, written again from the recipe."""
        return str(self.recipe.emit(self.machine))

    def assembly(self) -> str:
        """The assembly, compiled again from the recipe."""
        return llvm.assembly(self.llvm(), self.machine)

    def __repr__(self) -> str:
        return f"<CompiledKernel {self.recipe!r} on {self.machine.name}, {self.origin}>"


_kernels: dict[tuple[str, Machine], CompiledKernel] = {}
# The same by the keys under which they are on disk, and those that were asked for by their keys.
_linked: dict[str, Linked] = {}
_modules: dict[tuple[str, str, tuple[str, ...], Machine], dict[str, int]] = {}
_counts: Counter[str] = Counter()


def counts() -> dict[str, int]:
    """How many modules this process has compiled, and how many it has loaded from disk."""
    return {"compiled": _counts["compiled"], "disk": _counts["disk"]}


def identity(recipe: Recipe) -> str:
    """The text that stands for `recipe` in keys: its class with the module, and its repr.

    The text and not equality: 0.0 == -0.0 and 1 == True, and the code for them differs.
    TypeError where the repr shows an address instead of a value.
    """
    kind = type(recipe)
    text = f"{kind.__module__}.{kind.__qualname__}: {recipe!r}"
    if " at 0x" in text:
        raise FaltungTypeError(f"recipe={text}: its repr must say what it is, not where it is")
    return text


def kernel(recipe: Recipe, machine: Machine | None = None) -> CompiledKernel:
    """The kernel of `recipe` on `machine` (default: the current one), compiled at most once.

    Looked for in memory, then on disk.  Safe from several threads.  ValueError where this
    computer cannot run code for `machine`.
    """
    machine = current() if machine is None else machine
    key = identity(recipe), machine
    found = _kernels.get(key)
    if found is not None:
        return found
    with llvm.LOCK:
        found = _kernels.get(key)
        if found is None:
            address, origin, place = _build(recipe, check(machine), key[0])
            found = _kernels[key] = CompiledKernel(recipe, machine, address, origin, place)
            if place is not None:
                _linked[place] = found
        return found


def linked(key: str, symbol: str) -> Linked | None:
    """The kernel that is on disk under `key`, or in this process from there; None: it is not there,
    and has to be written again from its recipe.
    """
    with llvm.LOCK:
        found = _linked.get(key)
        if found is None:
            known = _load(key, (symbol,))
            if known is None:
                return None
            found = _linked[key] = Linked(known[symbol], symbol, key)
        return found if found.symbol == symbol else None


def _build(recipe: Recipe, machine: Machine, text: str) -> tuple[int, Origin, str | None]:
    symbol = recipe.symbol
    ir = ""
    if cache.by_text() or not cache.covers(type(recipe).__module__):
        # The source of a recipe from elsewhere is not in the fingerprint: its code is the key.
        ir = str(recipe.emit(machine))
        key = cache.text_key(ir, machine.code_key, llvm.versions())
    else:
        key = cache.key("kernel", text, symbol, machine.code_key, llvm.versions())
    known = _load(key, (symbol,))
    if known is not None:
        return known[symbol], "disk", key
    try:
        code = llvm.object_code(ir or str(recipe.emit(machine)), machine)
    except RuntimeError as error:
        error.add_note(f"while compiling {text} for {machine}")
        raise
    return _keep(key, code, (symbol,))[symbol], "compiled", key


def _load(key: str | None, symbols: tuple[str, ...]) -> dict[str, int] | None:
    code = None if key is None else cache.load(key)
    if code is None:
        return None
    try:
        addresses = llvm.link(code, symbols)
    except RuntimeError:  # intact, but not what we would have written: compile again
        return None
    _counts["disk"] += 1
    return addresses


def _keep(key: str | None, code: bytes, symbols: tuple[str, ...]) -> dict[str, int]:
    """Link first: what cannot be linked is not worth keeping."""
    addresses = llvm.link(code, symbols)
    _counts["compiled"] += 1
    if key is not None:
        cache.store(key, code)
    return addresses


def object_code(recipe: Recipe, machine: Machine) -> bytes:
    """The object file of `recipe` for any machine, also one that this computer cannot run."""
    return llvm.object_code(str(recipe.emit(machine)), machine)


def raw(
    name: str, ir: str, symbols: Iterable[str], machine: Machine | None = None
) -> dict[str, int]:
    """Addresses of `symbols` in a hand-written module of LLVM IR, loaded once in a process.

    name: for people.  Kept on disk under its text.
    """
    machine = current() if machine is None else machine
    wanted = tuple(symbols)
    where = name, ir, wanted, machine
    with llvm.LOCK:
        found = _modules.get(where)
        if found is None:
            check(machine)
            key = cache.text_key(ir, machine.code_key, llvm.versions())
            found = _load(key, wanted)
            if found is None:
                found = _keep(key, llvm.object_code(ir, machine), wanted)
            _modules[where] = found
        return dict(found)
