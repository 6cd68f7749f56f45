"""The one door to llvmlite: IR text in, object code or addresses out.

llvmlite is imported when the first of these functions is called, not before: opening it takes
longer than everything else in `import faltung` together.
"""

import os
import threading
from collections.abc import Iterable
from functools import cache
from itertools import count
from typing import Any

from faltung.machine.table import Machine

# Held around every use of LLVM.  llvmlite has a lock of its own; this one is outside it, so that
# two threads that ask for one kernel compile it once, and so that a fork never copies a locked
# LLVM into the child: the fork waits until the compilation of another thread is over.
LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release
    )

_names = count()


@cache
def _binding() -> Any:
    """llvmlite.binding, ready for this processor."""
    with LOCK:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()  # inline assembly in hand-written modules
        return llvm


@cache
def versions() -> str:
    """The versions that decide what an object contains, on one line."""
    _binding()
    import llvmlite

    return f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm_version()))}"


def llvm_version() -> tuple[int, ...]:
    """The version of LLVM, as (22, 1, 0)."""
    return tuple(_binding().llvm_version_info)


def probe() -> tuple[str, str, str]:
    """(triple, cpu, features) of this computer as LLVM sees it; features "" where it cannot say."""
    with LOCK:
        llvm = _binding()
        try:
            features = llvm.get_host_cpu_features().flatten()
        except RuntimeError:
            features = ""
        return str(llvm.get_process_triple()), str(llvm.get_host_cpu_name()), str(features)


@cache
def _every_target() -> None:
    llvm = _binding()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@cache
def _target_machine(triple: str, cpu: str, features: str) -> Any:
    llvm = _binding()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:  # not this processor's family
        _every_target()
        target = llvm.Target.from_triple(triple)
    # Position independent: the loader puts an object anywhere, with libc gigabytes away.
    # llvmlite's own default, the large code model, makes every access to a constant an indirect
    # one.
    return target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small"
    )


def target_machine(machine: Machine) -> Any:
    """llvmlite's TargetMachine for `machine`, kept."""
    with LOCK:
        return _target_machine(machine.triple, machine.cpu, machine.features)


def _emit(text: str, machine: Machine, method: str) -> Any:
    """Parse and check `text`, then run the code generator and nothing before it."""
    with LOCK:
        llvm, target = _binding(), target_machine(machine)
        # A context of its own: the global one grows with every type and constant ever seen.
        module = llvm.parse_assembly(text, context=llvm.create_context())
        try:
            module.triple = machine.triple
            module.data_layout = str(target.target_data)
            module.verify()
            return getattr(target, method)(module)
        finally:
            module.close()


def object_code(text: str, machine: Machine) -> bytes:
    """The object file of the module in `text` (LLVM IR), for `machine`.

    RuntimeError from LLVM where the text is not a legal module.
    """
    return bytes(_emit(text, machine, "emit_object"))


def assembly(text: str, machine: Machine) -> str:
    """The assembly of the module in `text` (LLVM IR), for `machine`."""
    return str(_emit(text, machine, "emit_assembly"))


@cache
def _linker() -> Any:
    # JITLink reserves one stretch of memory for an object, so that code and constants cannot end
    # up further apart than the small code model reaches; it does not know Windows well.
    return _binding().create_lljit_compiler(use_jit_link=os.name != "nt")


def link(code: bytes, symbols: Iterable[str]) -> dict[str, int]:
    """Load an object file into this process; addresses of its `symbols`.

    The code stays for as long as the process: it is never unmapped, because a thread may still
    run in it when the interpreter ends.  RuntimeError where a symbol is missing.
    """
    wanted = tuple(symbols)
    with LOCK:
        builder = _binding().JITLibraryBuilder().add_object_img(code).add_current_process()
        for symbol in wanted:
            builder.export_symbol(symbol)
        library = builder.link(_linker(), f"faltung.{next(_names)}")
        library.detach()
        return {symbol: int(library[symbol]) for symbol in wanted}
