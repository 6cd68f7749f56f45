"""The door to llvmlite: laziness, errors, and calls out of compiled code."""

import ctypes
import math
import subprocess
import sys
from dataclasses import replace

import pytest

from faltung.jit import llvm
from faltung.jit.target import host, named, runs
from faltung.machine.detect import describe
from faltung.machine.table import AVX2, AVX512, GENERIC, NEON, ROWS, SSE

MACHINES = [row.name for row in ROWS if runs(row)]


def entry(text: str, machine_name: str, symbol: str, *types):
    code = llvm.object_code(text, named(machine_name))
    return ctypes.CFUNCTYPE(*types)(llvm.link(code, [symbol])[symbol])


def test_importing_the_package_does_not_import_llvmlite():
    script = (
        "import sys, faltung, faltung.jit.compile, faltung.jit.target, faltung.jit.cache\n"
        "assert not any(name.startswith('llvmlite') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_versions():
    assert llvm.versions().startswith("llvmlite ")
    assert llvm.llvm_version() >= (20,)


@pytest.mark.parametrize("name", MACHINES)
def test_calls_into_libc(name):
    """Memory of the program may lie gigabytes from libc: calls must reach it nevertheless."""
    yielded = entry(
        "declare i32 @sched_yield()\n"
        "define i32 @again() { %r = call i32 @sched_yield()\n ret i32 %r }",
        name,
        "again",
        ctypes.c_int,
    )
    assert yielded() == 0
    filled = entry(
        "declare ptr @memset(ptr, i32, i64)\n"
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"
        "define void @fill(ptr %p, i64 %n) {\n"
        "  %half = lshr i64 %n, 1\n  %q = getelementptr i8, ptr %p, i64 %half\n"
        "  %r = call ptr @memset(ptr %p, i32 7, i64 %half)\n"
        "  call void @llvm.memset.p0.i64(ptr %q, i8 9, i64 %half, i1 0)\n  ret void\n}",
        name,
        "fill",
        None,
        ctypes.c_void_p,
        ctypes.c_long,
    )
    data = ctypes.create_string_buffer(5000)
    filled(ctypes.addressof(data), 4000)
    assert data.raw == b"\7" * 2000 + b"\11" * 2000 + bytes(1000)


@pytest.mark.parametrize("name", MACHINES)
def test_fused_multiply_add_is_exact_with_or_without_the_instruction(name):
    """On a plain x86-64 it is a call to libm for each lane."""
    text = """
    declare <4 x float> @llvm.fma.v4f32(<4 x float>, <4 x float>, <4 x float>)
    define void @madd(ptr %p) {
      %x = load <4 x float>, ptr %p, align 4
      %y = call <4 x float> @llvm.fma.v4f32(<4 x float> %x, <4 x float> %x,
                                            <4 x float> splat (float -1.0))
      store <4 x float> %y, ptr %p, align 4
      ret void
    }"""
    madd = entry(text, name, "madd", None, ctypes.c_void_p)
    step = 2.0**-12
    data = (ctypes.c_float * 4)(*[1 + step] * 4)
    madd(ctypes.addressof(data))
    assert list(data) == [2 * step + step * step] * 4  # 1 + 2s would be lost by two roundings


@pytest.mark.parametrize("name", MACHINES)
def test_constants_and_tables_are_reached(name):
    text = """
    @table = private constant [3 x double] [double 0.5, double -2.0, double 0x10]
    define double @look(i64 %i) {
      %p = getelementptr [3 x double], ptr @table, i64 0, i64 %i
      %x = load double, ptr %p
      ret double %x
    }"""
    look = entry(text, name, "look", ctypes.c_double, ctypes.c_long)
    assert [look(i) for i in range(3)] == [0.5, -2.0, 16 * 5e-324]


def test_a_symbol_far_away_is_reached():
    """None lies in the interpreter, which is 4 GB and more from mapped memory if it is static."""
    text = "@_Py_NoneStruct = external global i8\ndefine ptr @none() { ret ptr @_Py_NoneStruct }"
    assert entry(text, host().name, "none", ctypes.c_void_p)() == id(None)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("kind, least", [("float", 2.0**-149), ("double", 2.0**-1074)])
def test_denormals_are_numbers(name, kind, least):
    """Neither folded to zero by the compiler nor flushed by the code."""
    text = f"""
    define void @work(ptr %p) {{
      %x = load <8 x {kind}>, ptr %p, align 8
      %y = fmul <8 x {kind}> %x, splat ({kind} 0.5)
      %half = fmul {kind} {0x10 / 2**1074 if kind == "double" else 2.0**-148:.17e}, 0.5
      %z = insertelement <8 x {kind}> %y, {kind} %half, i64 7
      store <8 x {kind}> %z, ptr %p, align 8
      ret void
    }}"""
    real = ctypes.c_float if kind == "float" else ctypes.c_double
    data = (real * 8)(*[least * k for k in (2, 4, 6, 8, -2, -4, 1, 0)])
    entry(text, name, "work", None, ctypes.c_void_p)(ctypes.addressof(data))
    last = least if kind == "float" else 8 * least
    assert list(data) == [least * k for k in (1, 2, 3, 4, -1, -2, 0)] + [last]
    assert math.copysign(1, data[6]) == 1


def test_inline_assembly():
    text = 'define i32 @nop() { call void asm sideeffect "nop", ""()\n ret i32 5 }'
    assert entry(text, host().name, "nop", ctypes.c_int)() == 5


@pytest.mark.parametrize(
    "text",
    [
        "not a module",
        "define void @f() { ret i32 0 }",
        "define i32 @f() {\n %x = add i32 %y, 1\n br label %b\nb: %y = add i32 1, 1\n ret i32 %x}",
    ],
)
def test_an_illegal_module_is_an_error_and_not_the_end(text):
    with pytest.raises(RuntimeError):
        llvm.object_code(text, host())


def test_a_missing_symbol_is_an_error(capfd):
    calls = llvm.object_code(
        "declare void @no_such_function()\n"
        "define void @f() { call void @no_such_function()\n ret void }",
        host(),
    )
    with pytest.raises(RuntimeError):
        llvm.link(calls, ["f"])
    assert "no_such_function" in capfd.readouterr().err
    with pytest.raises(RuntimeError, match="absent"):
        llvm.link(llvm.object_code("define void @g() { ret void }", host()), ["absent"])


WIDE = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define void @f(ptr %p) {
  %x = load <16 x float>, ptr %p, align 4
  %y = fmul <16 x float> %x, %x
  store <16 x float> %y, ptr %p, align 4
  ret void
}"""


@pytest.mark.parametrize(
    "machine, has, lacks",
    [(AVX512, "zmm", None), (AVX2, "ymm", "zmm"), (SSE, "xmm", "ymm"), (NEON, "fmul\tv", None)],
    ids=lambda value: getattr(value, "name", None),
)
def test_each_row_uses_its_own_registers(machine, has, lacks):
    """Compiled for every row, whatever this processor is."""
    text = llvm.assembly(WIDE, machine)
    assert has in text
    assert lacks is None or lacks not in text
    magic = llvm.object_code(WIDE, machine)[:20]
    assert magic[:4] == b"\x7fELF"
    assert int.from_bytes(magic[18:20], "little") == (183 if machine is NEON else 62)


MACHO, COFF, ELF = b"\xcf\xfa\xed\xfe", b"\x64\xaa", b"\x7fELF"


@pytest.mark.parametrize("cpu", ["apple-m1", "generic"])
@pytest.mark.parametrize(
    ("triple", "magic"),
    [
        ("arm64-apple-darwin23.1.0", MACHO),
        ("arm64-apple-macosx14.0.0", MACHO),
        ("aarch64-pc-windows-msvc", COFF),
        ("aarch64-unknown-linux-gnu", ELF),
    ],
)
def test_an_aarch64_that_reports_no_features(triple: str, magic: bytes, cpu: str, capfd) -> None:
    """Fused multiply-adds of 16 bytes, in the object format of the system."""
    machine = describe(triple, cpu, "")
    text = WIDE.replace("%y = fmul <16 x float> %x, %x", FUSED)
    assert llvm.assembly(text, machine).count("fmla") == 4
    assert llvm.object_code(text, machine).startswith(magic)
    assert capfd.readouterr().err == "", "LLVM knows the processor and its features"


FUSED = """%y = call <16 x float> @llvm.fma.v16f32(<16 x float> %x, <16 x float> %x,
                                            <16 x float> %x)"""


@pytest.mark.parametrize("triple", ["x86_64-apple-darwin21.6.0", "x86_64-pc-windows-msvc"])
def test_an_x86_that_reports_no_features(triple: str, capfd) -> None:
    """The name of the processor alone switches nothing on: neither AVX nor single instructions."""
    count = "declare i32 @llvm.ctpop.i32(i32)\ndefine i32 @g(i32 %i) {\n"
    count += "  %n = call i32 @llvm.ctpop.i32(i32 %i)\n  ret i32 %n\n}"
    haswell = replace(describe(triple, "haswell", ""), features="")
    assert "popcnt" in llvm.assembly(count, haswell) and "ymm" in llvm.assembly(WIDE, haswell)
    machine = describe(triple, "haswell", "")
    assert "popcnt" not in llvm.assembly(count, machine)
    assert "ymm" not in llvm.assembly(WIDE, machine)
    assert capfd.readouterr().err == ""


def test_generic_is_narrow():
    assert "ymm" not in llvm.assembly(WIDE, named("generic"))
    assert GENERIC.features == ""


def test_a_processor_that_tells_no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> None:
        raise RuntimeError("not for this processor")

    triple, cpu, features = llvm.probe()
    assert features
    monkeypatch.setattr(llvm._binding(), "get_host_cpu_features", unknown)
    assert llvm.probe() == (triple, cpu, "")
