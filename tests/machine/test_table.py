"""The table of processors."""

from dataclasses import FrozenInstanceError, replace

import pytest

from faltung.machine.speed import Speed
from faltung.machine.table import (
    AVX2,
    AVX512,
    BASELINES,
    GENERIC,
    NAMES,
    NEON,
    ROWS,
    SSE,
    Machine,
    row,
)


def test_names_are_the_rows_and_differ():
    assert NAMES == ("avx512", "avx2", "sse", "neon", "generic")
    assert [row(name) for name in NAMES] == list(ROWS)


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match=r"^machine='avx': must be one of avx512, avx2, sse, "):
        row("avx")


@pytest.mark.parametrize("machine", ROWS, ids=NAMES)
def test_lanes(machine: Machine):
    assert machine.lanes("float32") * 4 == machine.vector_bytes
    assert machine.lanes("float64") * 8 == machine.vector_bytes
    with pytest.raises(ValueError, match="dtype='int8': must be one of float32, float64"):
        machine.lanes("int8")


@pytest.mark.parametrize("machine", ROWS, ids=NAMES)
def test_repr_reads_back_and_rows_are_frozen(machine: Machine):
    assert eval(repr(machine), {"Machine": Machine, "Speed": Speed}) == machine
    with pytest.raises(FrozenInstanceError):
        machine.name = "other"  # type: ignore[misc]


def test_prints_on_one_line():
    assert str(AVX512) == (
        "avx512: x86_64 x86-64-v4, 32 vectors of 64 bytes, fma, masks, "
        "L1 32 KiB, L2 1024 KiB, 1 cores"
    )
    assert str(SSE).count("\n") == 0


def test_each_x86_row_has_what_the_narrower_one_has():
    assert SSE.enabled < AVX2.enabled < AVX512.enabled
    assert "fma" in AVX2.enabled and "fma" not in SSE.enabled
    assert not any(feature.startswith("avx512") for feature in AVX2.enabled)


def test_arch_has_one_spelling():
    assert NEON.arch == replace(NEON, triple="arm64-apple-darwin23.0").arch == "aarch64"
    assert AVX2.arch == replace(AVX2, triple="amd64-pc-windows-msvc").arch == "x86_64"
    for triple in ("arm64e-apple-macosx14", "ARM64-pc-windows-msvc", "aarch64-linux-android"):
        assert replace(NEON, triple=triple).arch == "aarch64"
    for triple in ("arm64_32-apple-watchos", "aarch64_be-unknown-linux-gnu", "armv7l-linux-gnu"):
        assert replace(NEON, triple=triple).arch == triple.split("-")[0]
    assert replace(AVX2, triple="x86_64h-apple-macosx10.15").arch == "x86_64"


def test_baselines_are_the_narrowest_rows():
    assert {arch: row.name for arch, row in BASELINES.items()} == {
        "x86_64": "sse",
        "aarch64": "neon",
    }
    for arch, base in BASELINES.items():
        assert all(base.enabled <= row.enabled for row in ROWS if row.arch == arch)


def test_code_key_holds_everything_but_the_cores():
    assert replace(AVX2, cores=64).code_key == AVX2.code_key
    for change in (
        {"name": "x"},
        {"triple": "x"},
        {"cpu": "x"},
        {"features": "+x"},
        {"vector_bytes": 16},
        {"registers": 8},
        {"fma": False},
        {"masks": True},
        {"l1": 1},
        {"l2": 1},
    ):
        assert replace(AVX2, **change).code_key != AVX2.code_key
    assert GENERIC.triple == ""
