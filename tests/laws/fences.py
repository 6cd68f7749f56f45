"""Memory with an unreadable page right behind it, or right before it: a kernel that touches a byte
outside its arrays ends the process.

Run as a script, in a process of its own: `python fences.py after|before machine...` walks the table
with every array, the scratch memory and the packed weights flush against a fence. Scratch is full
of NaN at first, so that a kernel that reads what nobody has written gives a wrong number.
"""

import ctypes
import itertools
import mmap
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
from laws.layouts import back, options, to

import faltung
from cases import CASES, integers
from faltung import reference
from faltung.geometry import ConvSpec
from faltung.jit.target import use
from faltung.ops import call_cache, run
from faltung.ops import layer as layers
from faltung.plan.choose import FORWARD

PAGE = mmap.PAGESIZE
TRANSFORMS = tuple(name for name, row in FORWARD.items() if row.transform)
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def fenced(n_bytes: int, after: bool) -> np.ndarray:
    """`n_bytes`, all ones (as numbers NaN), whose end (or beginning) is the edge of what exists."""
    pages = max(1, -(-n_bytes // PAGE))
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (base, base + (pages + 1) * PAGE):
        if _libc.mprotect(fence, PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = PAGE + (pages * PAGE - n_bytes if after else 0)
    found = np.frombuffer(memory, np.uint8)[start : start + n_bytes]
    found[:] = 0xFF
    return found


def beside(array: np.ndarray, after: bool) -> np.ndarray:
    """A contiguous copy of `array` against a fence."""
    made = fenced(array.nbytes, after).view(array.dtype).reshape(array.shape)
    made[...] = array
    return made


class Block:
    """Scratch against a fence, in the place of `buffers.Block`."""

    def __init__(self, n_bytes: int, after: bool) -> None:
        self.bytes = fenced(-(-n_bytes // 64) * 64, after)
        self.address = int(self.bytes.ctypes.data)

    def __enter__(self) -> "Block":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Pool:
    """In the place of the workspace."""

    def __init__(self, after: bool) -> None:
        self.after = after

    def borrow(self, n_bytes: int) -> Block:
        return Block(n_bytes, self.after)


def results(
    spec: ConvSpec, last: bool, after: bool, given: dict[str, Any]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What functions and a layer make of whole numbers against a fence, and what is right.

    A function that refuses the problem is left out.
    """
    x, w, bias, g = integers(spec)
    w_in, bias_in = beside(w, after), beside(bias, after)
    x_in, g_in = beside(to(x, last), after), beside(to(g, last), after)
    given = {**options(spec), "channels_last": last, **given}
    layer = faltung.Conv(w_in, bias_in, **given)
    forward = reference.conv(x, w, bias, spec)
    calls: list[tuple[str, Callable[[np.ndarray], object], np.ndarray, np.ndarray]] = [
        ("conv", lambda o: faltung.conv(x_in, w_in, bias_in, out=o, **given), g_in, forward),
        ("Conv", lambda o: layer(x_in, out=o), g_in, forward),
        ("Conv, called again", lambda o: layer(x_in, out=o), g_in, forward),
        (
            "conv_input_grad",
            lambda o: faltung.conv_input_grad(g_in, w_in, x_in.shape, out=o, **given),
            x_in,
            reference.conv_input_grad(g, w, spec),
        ),
        (
            "conv_weight_grad",
            lambda o: faltung.conv_weight_grad(x_in, g_in, w_in.shape, out=o, **given),
            w_in,
            reference.conv_weight_grad(x, g, spec),
        ),
    ]
    for name, call, like, want in calls:
        out = beside(np.full_like(like, np.nan), after)
        try:
            call(out)
        except ValueError as refusal:
            if "must be one of" not in str(refusal):
                raise
            continue
        yield name, out if name == "conv_weight_grad" else back(out, last), want


def walk(machine: str, after: bool) -> int:
    """Every case in both layouts by plain sums, exactly, and in one of them by the transforms that
    apply; how many results were wrong.
    """
    wrong = 0
    for case, last, method in itertools.product(CASES, (False, True), ("sums", *TRANSFORMS)):
        exact = method == "sums"
        if not exact and last == len(case.name) % 2:
            continue
        given = {"precision": "strict"} if exact else {"method": method}
        with use(machine):
            for name, got, want in results(case.spec, last, after, given):
                near = np.abs(got - want).max(initial=0) <= 1e-4 * np.abs(want).max(initial=1)
                if not (np.array_equal(got, want) if exact else near):
                    wrong += 1
                    print(f"{case} {machine} channels_last={last} {method}: {name} is wrong")
    return wrong


def main(side: str, machines: list[str]) -> int:
    after = side == "after"
    run.workspace = call_cache.workspace = Pool(after)  # type: ignore[assignment]
    layers.aligned = lambda n_bytes: fenced(-(-n_bytes // 64) * 64, after)[:n_bytes]  # type: ignore
    return sum(walk(machine, after) for machine in machines)


if __name__ == "__main__":
    import faulthandler

    faulthandler.enable()
    sys.exit(min(1, main(sys.argv[1], sys.argv[2:])))
