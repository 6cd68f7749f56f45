"""From what LLVM and the system report to a machine."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from faltung.machine import detect
from faltung.machine.detect import cache_bytes, cores, describe, fits, here
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


@pytest.mark.parametrize("text", ["", "-avx", "+", ",,", "nonsense", "+neon"])
@pytest.mark.parametrize("triple", [LINUX, "riscv64-unknown-linux-gnu", "wasm32", ""])
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
def test_cores_follow_the_affinity():
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
