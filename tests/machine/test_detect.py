"""From what LLVM and the system report to a machine."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from faltung.machine import detect
from faltung.machine.detect import cache_bytes, completed, cores, describe, fits, here
from faltung.machine.table import AVX2, AVX512, GENERIC, NEON, SSE

LINUX = "x86_64-unknown-linux-gnu"


def features(machine, *, without=()):
    return ",".join(f"+{name}" for name in sorted(machine.enabled - set(without)))


@pytest.mark.parametrize("machine", [AVX512, AVX2, SSE], ids=lambda m: m.name)
def test_x86_is_the_widest_row_that_fits(machine):
    found = describe(LINUX, "rocketlake", features(machine))
    assert (found.name, found.vector_bytes) == (machine.name, machine.vector_bytes)
    assert (found.cpu, found.features) == ("rocketlake", features(machine))


def test_features_decide_and_not_the_name():
    """A hypervisor that hides FMA, or AVX-512, from a processor that is called after it."""
    assert describe(LINUX, "znver5", features(AVX512, without=["fma"])).name == "sse"
    assert describe(LINUX, "znver5", features(AVX512, without=["avx512vl"])).name == "avx2"
    assert describe(LINUX, "", features(AVX2)).cpu == "generic"


def test_arm():
    found = describe("arm64-apple-darwin23.0", "apple-m1", "+neon,+aes")
    assert (found.name, found.triple) == ("neon", "arm64-apple-darwin23.0")


ARM64 = [
    "arm64-apple-darwin23.1.0",
    "arm64-apple-macosx14.0.0",
    "arm64e-apple-darwin23.1.0",
    "aarch64-apple-darwin",
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "aarch64-linux-android",
    "aarch64-pc-windows-msvc",
    "arm64-pc-windows-msvc",
]


@pytest.mark.parametrize("cpu", ["apple-m1", "apple-m4", "neoverse-n1", "generic", ""])
@pytest.mark.parametrize("text", ["", "+", ",,", "+neon", "+aes,+crc", "-aes,-sha2,-sve", "-neon"])
@pytest.mark.parametrize("triple", ARM64)
def test_every_aarch64_has_neon_and_fma(triple: str, text: str, cpu: str):
    """They are part of it: macOS reports no features, an emulator those of another processor."""
    found = describe(triple, cpu, text)
    assert (found.name, found.triple, found.cpu) == ("neon", triple, cpu or "generic")
    assert (found.fma, found.masks, found.registers, found.vector_bytes) == (True, False, 32, 16)
    assert found.arch == "aarch64" and "neon" in found.enabled
    assert "-neon" not in found.features.split(",")
    assert fits(NEON, found.arch, found.enabled)
    assert {"aes", "crc"} <= found.enabled or "aes" not in text.replace("-aes", "")


@pytest.mark.parametrize("triple", [LINUX, "x86_64-apple-darwin21.6.0", "amd64-pc-windows-msvc"])
@pytest.mark.parametrize("text", ["", "+", ",,", "nonsense", "-avx", "-sse2"])
def test_every_x86_64_has_sse2(triple: str, text: str):
    found = describe(triple, "haswell", text)
    assert (found.name, found.triple, found.cpu) == ("sse", triple, "haswell")
    assert found.enabled == SSE.enabled
    # The name alone would switch on all that this processor usually has.
    assert all(f"-{name}" in found.features.split(",") for name in AVX512.enabled - SSE.enabled)


def test_what_is_reported_stays_as_it_is():
    for text in ("+neon", "+aes,+fp-armv8,+neon,-sve", "-sve,+neon"):
        assert completed("aarch64", text) == text
    assert completed("x86_64", features(AVX2)) == features(AVX2)
    assert completed("riscv64", "+m,+a") == "+m,+a"
    assert completed("aarch64", "+aes,-neon,,-sve,x") == "+aes,-sve,+neon"


@pytest.mark.parametrize("text", ["", "-avx", "+", ",,", "nonsense", "+neon"])
@pytest.mark.parametrize(
    "triple", ["riscv64-unknown-linux-gnu", "wasm32", "", "armv7l-linux-gnueabihf", "i686-pc"]
)
def test_anything_else_is_generic(triple, text):
    found = describe(triple, "strange", text)
    assert (found.name, found.triple, found.cpu) == ("generic", triple, "generic")
    assert (found.features, found.vector_bytes, found.fma) == ("", 16, False)


def test_fits():
    assert fits(GENERIC, "anything", frozenset())
    assert fits(SSE, "x86_64", AVX512.enabled)
    assert not fits(AVX512, "x86_64", AVX2.enabled)
    assert not fits(NEON, "x86_64", AVX512.enabled | NEON.enabled)


def write_cache(folder: Path, index: int, level: str, kind: str, size: str) -> None:
    place = folder / f"cpu{(detect.affinity() or (0,))[0]}" / "cache" / f"index{index}"
    place.mkdir(parents=True)
    for name, text in (("level", level), ("type", kind), ("size", size)):
        (place / name).write_text(text + "\n")


def test_caches_are_read(tmp_path: Path):
    write_cache(tmp_path, 0, "1", "Data", "48K")
    write_cache(tmp_path, 1, "1", "Instruction", "64K")
    write_cache(tmp_path, 2, "2", "Unified", "2M")
    assert cache_bytes(1, tmp_path) == 48 << 10
    assert cache_bytes(2, tmp_path) == 2 << 20


@pytest.mark.parametrize("size", ["", "0K", "-1K", "480M", "one", "9" * 400, "48K ways"])
def test_what_cannot_be_a_cache_is_not_believed(tmp_path: Path, size: str):
    write_cache(tmp_path, 0, "1", "Data", size)
    assert cache_bytes(1, tmp_path) is None
    assert cache_bytes(2, tmp_path) is None


def test_a_damaged_or_missing_folder(tmp_path: Path):
    assert cache_bytes(1, tmp_path / "nowhere") is None
    write_cache(tmp_path, 0, "1", "Data", "48K")
    size = next(tmp_path.glob("cpu*/cache/index0/size"))
    size.write_bytes(b"\xff\xfe")
    assert cache_bytes(1, tmp_path) is None


def test_defaults_remain_where_nothing_is_known(monkeypatch):
    monkeypatch.setattr(detect, "cache_bytes", lambda level: None)
    found = here(replace(AVX2, cores=0))
    assert (found.l1, found.l2) == (AVX2.l1, AVX2.l2)
    assert found.cores == cores() >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_cores_follow_the_affinity(monkeypatch):
    monkeypatch.setattr(detect, "quota", lambda: None)
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert cores() == len(before)


def test_cores_without_affinity(monkeypatch):
    monkeypatch.setattr(detect, "affinity", lambda: ())
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
