"""Attention against its reference: every size, mask and machine, and nothing outside is touched."""

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given, settings
from hypothesis import strategies as st
from laws.fences import between_fences, fenced
from methods.steps import Allocate, anywhere, run, wide

from faltung.jit.target import host
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Work
from faltung.methods.contract.attention import Mask, Rows, Sizes, attention
from faltung.reference import attention as reference

TOLERANCE = {"float32": 3e-6, "float64": 1e-14}


@dataclass(frozen=True)
class Case:
    """masks: the sizes of each, (samples, heads, queries, keys). extra: elements between rows."""

    queries: int
    keys: int
    heads: int = 2
    kv_heads: int = 1
    length: int = 5
    channels: int = 7
    samples: int = 2
    masks: tuple[tuple[int, int, int, int], ...] = ()
    causal: bool = False
    offset: int = 0
    softcap: float = 0.0
    weights: bool = False
    extra: int = 3


CASES = {
    "one": Case(1, 1, 1),
    "one query": Case(1, 9),
    "one key": Case(9, 1),
    "few": Case(3, 4),
    "a window": Case(49, 49, 3, 3, 32, 32),
    "many": Case(67, 70, 2, 2, 16, 40),
    "wide heads": Case(17, 33, 1, 1, 70, 65),
    "narrow heads": Case(40, 9, 4, 2, 1, 1),
    "no gaps": Case(21, 20, extra=0),
    "causal": Case(50, 50, causal=True),
    "causal after others": Case(5, 40, causal=True, offset=35),
    "causal before its time": Case(20, 7, causal=True, offset=-9),
    "capped": Case(20, 18, softcap=0.7),
    "masks": Case(20, 19, masks=((2, 2, 20, 19), (1, 1, 1, 19), (2, 1, 20, 1), (1, 2, 1, 1))),
    "one mask": Case(35, 33, masks=((1, 1, 35, 33),), causal=True, offset=2),
    "weights": Case(19, 23, weights=True),
    "masked weights": Case(40, 41, masks=((1, 2, 40, 41),), weights=True, causal=True),
}


def laid(
    array: np.ndarray, extra: int, allocate: Allocate
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """(samples, rows, heads, D) with NaN between rows: memory, and steps of sample, head, row."""
    samples, rows, heads, d = array.shape
    pitch = heads * d + extra
    size = (samples * rows - 1) * pitch + heads * d
    memory = allocate(size * array.itemsize).view(array.dtype)
    seen = np.lib.stride_tricks.as_strided(
        memory, (samples * rows, heads * d), (pitch * array.itemsize, array.itemsize)
    )
    seen[...] = array.reshape(samples * rows, heads * d)
    return memory, (rows * pitch, d, pitch)


def numbers(case: Case, dtype: str) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    c = case
    q, k, v = (
        rng.standard_normal(shape).astype(dtype)
        for shape in (
            (c.samples, c.queries, c.heads, c.length),
            (c.samples, c.keys, c.kv_heads, c.length),
            (c.samples, c.keys, c.kv_heads, c.channels),
        )
    )
    masks = []
    for shape in case.masks:
        mask = rng.standard_normal(shape)
        masks.append(np.where(rng.random(shape) < 0.2, -inf, mask).astype(dtype))
    return {"q": q, "k": k, "v": v, "masks": masks}


def computed(
    case: Case,
    given: dict[str, Any],
    machine: Machine,
    threads: int = 2,
    allocate: Allocate = anywhere,
) -> np.ndarray:
    c, dtype = case, str(given["q"].dtype)
    arrays, rows = {}, {}
    shape = (c.samples, c.queries, c.heads, c.channels)
    if c.weights:
        shape = (c.samples, c.heads, c.queries, c.keys)
    blank = np.full(shape, np.nan, dtype)
    for name, array in (*((n, given[n]) for n in "qkv"), ("out", blank)):
        if name == "out" and c.weights:  # (samples, heads, queries, keys)
            flat = array.reshape(c.samples, c.heads * c.queries, 1, c.keys)
            memory, (sample, _, step) = laid(flat, c.extra, allocate)
            steps = sample, c.queries * step, step
        else:
            memory, steps = laid(array, c.extra, allocate)
        arrays[name], rows[name] = memory, Rows(Operand(name), 0, *steps)
    masks = []
    for number, mask in enumerate(given["masks"]):
        name = f"mask{number}"
        memory = allocate(mask.nbytes).view(mask.dtype)
        memory[...] = mask.ravel()
        steps = [
            int(s) // mask.itemsize * (n > 1) for s, n in zip(mask.strides, mask.shape, strict=True)
        ]
        arrays[name] = memory
        masks.append(Mask(Operand(name), 0, mask.shape[0], *steps))
    work = Work()
    sizes = Sizes(
        *(1, c.samples, c.heads, c.kv_heads, c.queries, c.keys, c.length),
        0 if c.weights else c.channels,
    )
    cycles = attention(
        *(work, sizes, rows["q"], rows["k"], None if c.weights else rows["v"], rows["out"]),
        scale=0.4,
        dtype=dtype,
        machine=machine,
        masks=masks,
        causal=c.causal,
        offset=c.offset,
        softcap=c.softcap,
    )
    assert cycles > 0
    run(work, machine, arrays, threads, allocate)
    lead, last = (c.samples * c.queries, c.heads * c.channels)
    if c.weights:
        lead, last = c.samples * c.heads * c.queries, c.keys
    item, pitch = blank.itemsize, last + c.extra
    seen = np.lib.stride_tricks.as_strided(arrays["out"], (lead, last), (pitch * item, item))
    if c.extra and lead > 1:
        gaps = np.lib.stride_tricks.as_strided(
            arrays["out"][last:], (lead - 1, c.extra), (pitch * item, item)
        )
        assert np.isnan(gaps).all(), "written between the rows"
    return np.array(seen).reshape(shape)


def meant(case: Case, given: dict[str, Any]) -> np.ndarray:
    how: dict[str, Any] = {name: getattr(case, name) for name in ("causal", "offset", "softcap")}
    if given["masks"]:
        how["mask"] = sum(np.asarray(mask, np.float64) for mask in given["masks"])
    if case.weights:
        return reference.weights(given["q"], given["k"], scale=0.4, **how)
    return reference.attention(given["q"], given["k"], given["v"], scale=0.4, **how)


def check(case: Case, dtype: str, machine: Machine, **how: Any) -> None:
    given = numbers(case, dtype)
    got, want = computed(case, given, machine, **how), meant(case, given)
    scale = max(1.0, np.abs(want).max())
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE[dtype] * scale)


@grid(case=CASES, dtype=["float32", "float64"], machine=MACHINES, every=3)
def test_cases(case: str, dtype: str, machine: Machine) -> None:
    check(CASES[case], dtype, machine)


@pytest.mark.parametrize("case", CASES)
def test_wide_vectors(case: str) -> None:
    check(CASES[case], "float32", wide())


@between_fences(case=list(CASES), dtype=["float32", "float64"], every=4)
def test_nothing_outside_is_touched(case: str, dtype: str, side: str, machine: Machine) -> None:
    check(CASES[case], dtype, machine, allocate=lambda n: fenced(n, side == "after"))


@given(
    st.builds(
        Case,
        queries=st.integers(1, 40),
        keys=st.integers(1, 40),
        heads=st.sampled_from([2, 4]),
        kv_heads=st.sampled_from([1, 2]),
        length=st.integers(1, 20),
        channels=st.integers(1, 20),
        samples=st.integers(1, 2),
        causal=st.booleans(),
        offset=st.integers(-5, 9),
        softcap=st.sampled_from([0.0, 2.0]),
        weights=st.booleans(),
        extra=st.sampled_from([0, 1]),
    ),
    st.lists(st.tuples(*[st.booleans()] * 4), max_size=2),
)
@settings(max_examples=25)
def test_any_sizes(case: Case, masks: list[tuple[bool, ...]]) -> None:
    sizes = case.samples, case.heads, case.queries, case.keys
    shapes = tuple(
        tuple(size if full else 1 for size, full in zip(sizes, mask, strict=True)) for mask in masks
    )
    check(replace(case, masks=shapes), "float64", host())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a window", "causal", "masks", "masked weights"])
def test_the_same_bits(name: str) -> None:
    """For any number of threads, and for a sample alone."""
    case = CASES[name]
    given = numbers(case, "float32")
    whole = computed(case, given, host())
    for threads in (1, 3, 7):
        assert computed(case, given, host(), threads).tobytes() == whole.tobytes()
    for sample in range(case.samples):
        own = {n: given[n][sample : sample + 1] for n in "qkv"}
        own["masks"] = [m if len(m) == 1 else m[sample : sample + 1] for m in given["masks"]]
        alone = computed(replace(case, samples=1), own, host())
        assert alone.tobytes() == whole[sample : sample + 1].tobytes()


def test_numbers_that_are_none() -> None:
    """A NaN stays in the rows that read it; large scores do not overflow."""
    case = Case(5, 6, 1, 1, samples=1)
    given = numbers(case, "float32")
    given["q"][0, 2] = np.nan
    given["q"][0, 3] *= 1e4
    got = computed(case, given, host())
    rows = np.isnan(got).any((0, 2, 3))
    assert rows.tolist() == [False, False, True, False, False]
