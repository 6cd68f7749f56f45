"""The text of the team: legal for every architecture, ordered where memory is not."""

from dataclasses import replace

import pytest

from faltung.jit import llvm
from faltung.machine.detect import describe
from faltung.machine.table import GENERIC, NEON, SSE, Machine
from faltung.runtime import layout
from faltung.runtime.team_ir import SYMBOLS, module

RISCV = replace(GENERIC, triple="riscv64-unknown-linux-gnu", features="+m,+a")


MAC = describe("arm64-apple-darwin23.1.0", "apple-m1", "")
WINDOWS = describe("aarch64-pc-windows-msvc", "generic", "")


@pytest.mark.parametrize(
    "machine", [SSE, NEON, MAC, WINDOWS, RISCV], ids=lambda machine: machine.triple
)
def test_compiles(machine: Machine):
    code = llvm.assembly(module(machine.arch), machine)
    assert all(f"{symbol}:" in code for symbol in SYMBOLS)
    assert (machine.arch == "aarch64") == ("fpcr" in code.lower())


def function(code: str, name: str) -> str:
    return code.split(f"\n{name}:", 1)[1].split(".cfi_endproc", 1)[0].split(f".size\t{name}", 1)[0]


def test_weak_memory_is_ordered():
    # Every hand-over acquires and releases; a relaxed one would be a plain ldr, ldxr, str or stxr.
    code = llvm.assembly(module("aarch64"), NEON)
    assert "ldxr" not in code.replace("ldaxr", "")
    assert "\tstxr" not in code
    assert "ldar" in function(code, "until")
    assert "stlr" in function(code, "meet") and "ldaxr" in function(code, "meet")
    assert "ldar" in function(code, "help") and "stlxr" in function(code, "help")
    assert "stlxr" in function(code, "own") and "stlr" in function(code, "region")
    assert "stlr" in function(code, "faltung_team_launch")
    assert "ldar" in function(code, "faltung_team_worker")
    assert code.count("\tisb") >= 3


def test_waiting_pauses():
    code = llvm.assembly(module("x86_64"), SSE)
    for name in ("until", "faltung_team_worker", "faltung_team_spin"):
        assert "pause" in function(code, name)


def test_no_two_shared_words_on_a_line():
    shared = [
        layout.BUSY,
        layout.COUNT,
        layout.GENERATION,
        layout.PENDING,
        layout.READY,
        layout.ALLOWED,
        layout.GONE,
        layout.CONSTANTS,
        layout.MAILBOXES,
    ]
    assert layout.LINE_BYTES % 64 == 0 and all(word % layout.LINE_BYTES == 0 for word in shared)
    assert len(set(shared)) == len(shared)
    assert layout.CROWDED < layout.CONSTANTS + layout.LINE_BYTES
    assert layout.YIELD_AFTER < layout.SHARE < layout.LINE_BYTES and layout.SHARE % 64 == 0
