"""No kernel touches a byte outside its arrays, writes to what it may only read, or reads scratch
that nobody has written.
"""

import ctypes
import faulthandler
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from apart import apart
from jit.recipes import Text
from laws.fences import POSIX, SIDES, Fences, Pool, beside, between_fences, fenced
from laws.layouts import back, options, to

import faltung
from cases import CASES, Case, integers
from faltung import reference
from faltung.geometry import ConvSpec
from faltung.jit.target import current
from faltung.methods.base.step import Operand, Step, Work
from faltung.ops.run import scratch_bytes
from faltung.plan.binding import Region, places
from faltung.plan.choose import FORWARD

pytestmark = [pytest.mark.memory, POSIX]
TRANSFORMS = tuple(name for name, row in FORWARD.items() if row.transform)


def results(
    spec: ConvSpec, last: bool, after: bool, given: dict[str, Any]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What functions and a layer make of whole numbers against a fence, and what is right.

    A function that refuses the problem is left out.
    """
    x, w, bias, g = integers(spec)
    w_in, bias_in = (beside(a, after, write=False) for a in (w, bias))
    x_in, g_in = (beside(to(a, last), after, write=False) for a in (x, g))
    given = {**options(spec), "channels_last": last, **given}
    layer = faltung.Conv(w_in, bias_in, **given)
    forward = reference.conv(x, w, bias, spec)
    by_x = reference.conv_input_grad(g, w, spec)
    calls: list[tuple[str, Callable[[Any], Any], np.ndarray, np.ndarray]] = [
        ("conv", lambda o: faltung.conv(x_in, w_in, bias_in, out=o, **given), g_in, forward),
        ("Conv", lambda o: layer(x_in, out=o), g_in, forward),
        ("Conv, called again", lambda o: layer(x_in, out=o), g_in, forward),
        (
            "conv_input_grad",
            lambda o: faltung.conv_input_grad(g_in, w_in, x_in.shape, out=o, **given),
            x_in,
            by_x,
        ),
        (
            "conv_weight_grad",
            lambda o: faltung.conv_weight_grad(x_in, g_in, w_in.shape, out=o, **given),
            w_in,
            reference.conv_weight_grad(x, g, spec),
        ),
    ]
    for name, call, like, want in calls:
        for out in (beside(np.full_like(like, np.nan), after), None):
            try:
                out = call(out)
            except ValueError as refusal:
                if "must be one of" not in str(refusal):
                    raise
                break
            yield name, out if name == "conv_weight_grad" else back(out, last), want


# By plain sums in both layouts, by a transform in one of them.
@between_fences(
    case=CASES,
    last=[False, True],
    method=["sums", *TRANSFORMS],
    where=lambda case, last, method, **_: method == "sums" or last != len(case.name) % 2,
    every=48,
)
def test_every_convolution(case: Case, last: bool, method: str, side: str, machine: object) -> None:
    exact = method == "sums"
    given = {"precision": "strict"} if exact else {"method": method}
    for name, got, want in results(case.spec, last, side == "after", given):
        near = np.abs(got - want).max(initial=0) <= 1e-4 * np.abs(want).max(initial=1)
        assert np.array_equal(got, want) if exact else near, f"{name} is wrong"


# The fences hold ----------------------------------------------------------------------------------


def touch(address: int, write: bool) -> None:
    faulthandler.disable()  # it is meant to happen
    byte = (ctypes.c_ubyte * 1).from_address(address)
    if write:
        byte[0] = 1
    else:
        assert byte[0] >= 0


@pytest.mark.parametrize(("side", "index"), [("after", 20), ("before", -1)])
def test_a_byte_outside_ends_the_process(side: str, index: int) -> None:
    array = fenced(20, side == "after")
    for write in (False, True):
        found = apart(lambda _: touch(array.ctypes.data + index, write), 1)  # noqa: B023
        assert found == [(0, "ended the process: SIGSEGV")]
    assert apart(lambda _: touch(array.ctypes.data, True), 1) == []
    assert apart(lambda _: touch(array.ctypes.data + 19, True), 1) == []


def test_what_is_only_read_cannot_be_written() -> None:
    array = beside(np.ones(5, np.float32), True, write=False)
    assert apart(lambda _: touch(array.ctypes.data, False), 1) == []
    found = apart(lambda _: touch(array.ctypes.data, True), 1)
    assert found == [(0, "ended the process: SIGSEGV")]


# Reads a byte, so far from where its first argument points to, or from where its arguments begin.
STRAY = """
define void @stray(ptr %arguments, i64 %begin, i64 %end) nounwind {{
  %given = load ptr, ptr %arguments
  %second = getelementptr i64, ptr %arguments, i64 1
  %offset = load i64, ptr %second
  %place = getelementptr i8, ptr %{base}, i64 %offset
  %byte = load volatile i8, ptr %place
  ret void
}}"""


def stray(what: str, side: str, inside: bool) -> None:
    """A step that reads the first byte of an array, or the next one outside it."""
    faulthandler.disable()  # it is meant to happen
    with Fences(side):
        array = beside(np.ones(16, np.int64), side == "after")
        work = Work(scratch={"other": 100, "scratch": 128}, kept={"packed": 128, "another": 100})
        table = what == "table"
        given = array if table else Operand("x" if what == "arguments" else what)
        size = 16 if what == "arguments" else 128
        offset = 0 if inside else size if side == "after" else -1
        recipe = Text("stray", STRAY.format(base="arguments" if size == 16 else "given"))
        region = Region([Step(recipe, 1, (given, offset), "stray")], places(work), current())
        held, borrowed = scratch_bytes(work, kept=False)
        with Pool(side == "after").borrow(held + borrowed) as block:
            operands = [int(array.ctypes.data)] * 4
            region.run((*operands, block.address, block.address + held), 1)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("what", ["x", "scratch", "packed", "arguments", "table"])
def test_what_kernels_are_given_is_fenced(what: str, side: str) -> None:
    found = apart(lambda inside: stray(what, side, bool(inside)), 2)
    assert found == [(0, "ended the process: SIGSEGV")]


def test_the_points_after_a_crash_still_run() -> None:
    def run(number: int) -> None:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        assert number != 3, "three"

    (one, killed), (three, text) = apart(run, 5)
    assert (one, killed, three) == (1, "ended the process: SIGKILL", 3)
    assert text.endswith("AssertionError: three\nassert 3 != 3\n")
