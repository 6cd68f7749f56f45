"""Memory with an unreadable page right behind it, or right before it: a kernel that touches a byte
outside its arrays ends the process.

Run as a script, in a process of its own: `python fences.py after|before machine...` walks the table
with every array, the scratch memory and the packed weights flush against a fence. Scratch is full
of NaN at first, so that a kernel that reads what nobody has written gives a wrong number.
"""

import ctypes
import mmap
import sys
from types import TracebackType

import numpy as np

PAGE = mmap.PAGESIZE
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


def walk(machine: str, after: bool) -> int:
    """Every case in both layouts, on arrays against a fence; how many results were wrong."""
    from laws.layouts import back, options, to

    import faltung
    from cases import CASES, integers
    from faltung import reference
    from faltung.jit.target import use

    wrong = 0
    for case in CASES:
        spec = case.spec
        x, w, bias, g = integers(spec)
        w_in, bias_in = beside(w, after), beside(bias, after)
        wants = (
            reference.conv(x, w, bias, spec),
            reference.conv_input_grad(g, w, spec),
            reference.conv_weight_grad(x, g, spec),
        )
        for last in (False, True):
            x_in, g_in = beside(to(x, last), after), beside(to(g, last), after)
            given = {**options(spec), "channels_last": last, "precision": "strict"}
            outs = [beside(np.full_like(a, np.nan), after) for a in (g_in, x_in, w_in, g_in)]
            with use(machine):
                faltung.conv(x_in, w_in, bias_in, out=outs[0], **given)
                faltung.conv_input_grad(g_in, w_in, x_in.shape, out=outs[1], **given)
                faltung.conv_weight_grad(x_in, g_in, w_in.shape, out=outs[2], **given)
                faltung.Conv(w_in, bias_in, **given)(x_in, out=outs[3])
            got = [back(outs[0], last), back(outs[1], last), outs[2], back(outs[3], last)]
            for name, one, two in zip("fxwf", got, [*wants, wants[0]], strict=True):
                if not np.array_equal(one, two):
                    wrong += 1
                    print(f"{case} {machine} channels_last={last}: {name} is wrong")
    return wrong


def main(side: str, machines: list[str]) -> int:
    from faltung.ops import layer, run

    after = side == "after"
    run.workspace = Pool(after)  # type: ignore[assignment]
    layer.aligned = lambda n_bytes: fenced(-(-n_bytes // 64) * 64, after)[:n_bytes]  # type: ignore
    return sum(walk(machine, after) for machine in machines)


if __name__ == "__main__":
    import faulthandler

    faulthandler.enable()
    sys.exit(min(1, main(sys.argv[1], sys.argv[2:])))
