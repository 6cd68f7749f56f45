"""Work for the team, in small kernels of LLVM IR, whose result tells whether it was done rightly.

Imported by the tests and by the scripts that they run in processes of their own.
"""

import time
from functools import cache
from threading import Thread

import numpy as np

from faltung.jit.compile import raw
from faltung.jit.target import host
from faltung.runtime.team import Region

# touch: [i] += 1.  share: the bounds of its call at every item.  mix: three neighbours into another
# array, so that one barrier left out spoils the sum.  slow: all shares but the first are late by
# `turns`.  hold: says that it has begun, and waits to be told to end.  rest: the call with item 0
# waits, at most `turns`, until all other items are done, and says whether they were.  mark: [i]
# becomes 3 [i] + number, after `turns` that differ from item to item.
KERNELS = """
define void @touch(ptr %p, i64 %begin, i64 %end) {
entry:
  %to = load ptr, ptr %p
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %at = getelementptr i64, ptr %to, i64 %i
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

define void @share(ptr %p, i64 %begin, i64 %end) {
entry:
  %to = load ptr, ptr %p
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %two = mul i64 %i, 2
  %low = getelementptr i64, ptr %to, i64 %two
  %high = getelementptr i64, ptr %low, i64 1
  store i64 %begin, ptr %low
  store i64 %end, ptr %high
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

define void @mix(ptr %p, i64 %begin, i64 %end) {
entry:
  %p1 = getelementptr i64, ptr %p, i64 1
  %p2 = getelementptr i64, ptr %p, i64 2
  %from = load ptr, ptr %p
  %to = load ptr, ptr %p1
  %n = load i64, ptr %p2
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %right = add i64 %i, 1
  %r = urem i64 %right, %n
  %left = add i64 %n, %i
  %left1 = sub i64 %left, 1
  %l = urem i64 %left1, %n
  %at.i = getelementptr i64, ptr %from, i64 %i
  %at.r = getelementptr i64, ptr %from, i64 %r
  %at.l = getelementptr i64, ptr %from, i64 %l
  %x.i = load i64, ptr %at.i
  %x.r = load i64, ptr %at.r
  %x.l = load i64, ptr %at.l
  %five = mul i64 %x.i, 5
  %some = add i64 %five, %x.r
  %all = add i64 %some, %x.l
  %at = getelementptr i64, ptr %to, i64 %i
  store i64 %all, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

define void @slow(ptr %p, i64 %begin, i64 %end) {
entry:
  %to = load ptr, ptr %p
  %p1 = getelementptr i64, ptr %p, i64 1
  %turns = load i64, ptr %p1
  %first = icmp eq i64 %begin, 0
  %wait = select i1 %first, i64 0, i64 %turns
  br label %spin
spin:
  %left = phi i64 [ %wait, %entry ], [ %less, %spin ]
  %seen = load atomic i64, ptr %p1 acquire, align 8
  %less = sub i64 %left, 1
  %again = icmp sgt i64 %less, 0
  br i1 %again, label %spin, label %loop
loop:
  %i = phi i64 [ %begin, %spin ], [ %next, %loop ]
  %at = getelementptr i64, ptr %to, i64 %i
  store i64 1, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}

define void @hold(ptr %p, i64 %begin, i64 %end) {
entry:
  %p1 = getelementptr i64, ptr %p, i64 1
  %before = atomicrmw add ptr %p, i64 1 acq_rel, align 8
  br label %look
look:
  %seen = load atomic i64, ptr %p1 acquire, align 8
  %wait = icmp eq i64 %seen, 0
  br i1 %wait, label %look, label %done
done:
  ret void
}

define void @rest(ptr %p, i64 %begin, i64 %end) {
entry:
  %p1 = getelementptr i64, ptr %p, i64 1
  %p2 = getelementptr i64, ptr %p, i64 2
  %p3 = getelementptr i64, ptr %p, i64 3
  %items = load i64, ptr %p1
  %turns = load i64, ptr %p2
  %mine = sub i64 %end, %begin
  %before = atomicrmw add ptr %p, i64 %mine acq_rel, align 8
  %first = icmp eq i64 %begin, 0
  br i1 %first, label %look, label %done
look:
  %left = phi i64 [ %turns, %entry ], [ %less, %again ]
  %seen = load atomic i64, ptr %p acquire, align 8
  %all = icmp eq i64 %seen, %items
  br i1 %all, label %met, label %again
again:
  %less = sub i64 %left, 1
  %more = icmp sgt i64 %less, 0
  br i1 %more, label %look, label %done
met:
  store i64 1, ptr %p3
  br label %done
done:
  ret void
}

define void @mark(ptr %p, i64 %begin, i64 %end) {
entry:
  %p1 = getelementptr i64, ptr %p, i64 1
  %p2 = getelementptr i64, ptr %p, i64 2
  %to = load ptr, ptr %p
  %number = load i64, ptr %p1
  %turns = load i64, ptr %p2
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %stored ]
  %odd = mul i64 %i, %number
  %wait = urem i64 %odd, %turns
  br label %spin
spin:
  %left = phi i64 [ %wait, %loop ], [ %less, %spin ]
  %seen = load atomic i64, ptr %p1 acquire, align 8
  %less = sub i64 %left, 1
  %again = icmp sgt i64 %less, 0
  br i1 %again, label %spin, label %stored
stored:
  %at = getelementptr i64, ptr %to, i64 %i
  %old = load i64, ptr %at
  %three = mul i64 %old, 3
  %new = add i64 %three, %number
  store i64 %new, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
KERNEL_NAMES = ("touch", "share", "mix", "slow", "hold", "rest", "mark")

# Read and write the register with flush-to-zero and rounding.
_X86_CONTROL = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define void @get_control(ptr %p, i64 %begin, i64 %end) {
entry:
  %to = load ptr, ptr %p
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %at = getelementptr i64, ptr %to, i64 %i
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
define void @set_control(ptr %p, i64 %begin, i64 %end) {
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}
"""
_ARM_CONTROL = """
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define void @get_control(ptr %p, i64 %begin, i64 %end) {
entry:
  %to = load ptr, ptr %p
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %at = getelementptr i64, ptr %to, i64 %i
  %all = call i64 @llvm.aarch64.get.fpcr()
  store i64 %all, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
define void @set_control(ptr %p, i64 %begin, i64 %end) {
  %all = load i64, ptr %p
  call void @llvm.aarch64.set.fpcr(i64 %all)
  ret void
}
"""
CONTROL = {"x86_64": _X86_CONTROL, "aarch64": _ARM_CONTROL}
# Flush-to-zero, rounding towards zero, and neither; and all bits that say what to do.
FLAGS = {"x86_64": (0x8040, 0x6000, 0), "aarch64": (1 << 24, 3 << 22, 0)}
SETTINGS = {"x86_64": 0xFFC0, "aarch64": -1}


@cache
def code() -> dict[str, int]:
    """Addresses of the kernels above."""
    found = raw("test kernels", KERNELS, KERNEL_NAMES, host())
    if host().arch in CONTROL:
        text = CONTROL[host().arch]
        found |= raw("test control", text, ("get_control", "set_control"), host())
    return found


def words(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def step(function: int, params: np.ndarray | int, items: int, barrier: int = 1) -> list[int]:
    return [function, params if isinstance(params, int) else params.ctypes.data, items, barrier]


class Mix:
    """Rounds of `mix` to and fro between two arrays, each a step that needs all of the one before.

    `x` of length n starts as 0, 1, 2, ...; whole numbers that wrap, so the result is exact.
    """

    def __init__(self, n: int, rounds: int = 6, barrier: int = 1) -> None:
        self.start = np.arange(n, dtype=np.int64)
        self.pair = [self.start.copy(), np.zeros(n, np.int64)]
        a, b = (array.ctypes.data for array in self.pair)
        self.params = [words(a, b, n), words(b, a, n)]
        mix = code()["mix"]
        rows = [step(mix, self.params[r % 2], n, barrier) for r in range(rounds)]
        self.region = Region(np.array(rows, dtype=np.int64))
        self.result = self.pair[rounds % 2]
        self.expected = self.start
        for _ in range(rounds):
            x = self.expected
            self.expected = 5 * x + np.roll(x, -1) + np.roll(x, 1)

    def run(self, threads: int) -> int:
        self.pair[0][:] = self.start
        self.pair[1][:] = -1
        return self.region.run(threads)

    def right(self) -> bool:
        return np.array_equal(self.result, self.expected)

    def check(self, threads: int) -> int:
        used = self.run(threads)
        assert self.right(), f"wrong with {threads} threads ({used} used)"
        return used


class Slow:
    """A step whose first share is quick and whose others are late, and a step that reads them."""

    def __init__(self, barrier: int, items: int = 10, turns: int = 3_000_000) -> None:
        self.late = np.zeros(items, np.int64)
        self.sums = np.zeros(items, np.int64)
        self.params = [
            words(self.late.ctypes.data, turns),
            words(self.late.ctypes.data, self.sums.ctypes.data, items),
        ]
        slow = step(code()["slow"], self.params[0], items, barrier)
        mix = step(code()["mix"], self.params[1], items)
        self.alone = Region(np.array([slow]))
        self.read = Region(np.array([slow, mix]))


class Held:
    """A region that holds the team, in a thread of its own, until the block ends."""

    def __init__(self, threads: int) -> None:
        self.flags = words(0, 0)  # how many have begun, whether to end
        self.region = Region(np.array([step(code()["hold"], self.flags, threads)]))
        self.thread = Thread(target=self._run, args=(threads,), daemon=True)
        self.threads = threads
        self.used = 0

    def _run(self, threads: int) -> None:
        self.used = self.region.run(threads)

    def __enter__(self) -> "Held":
        self.thread.start()
        while self.flags[0] < self.threads:
            time.sleep(0)
        return self

    def __exit__(self, *_: object) -> None:
        self.flags[1] = 1
        self.thread.join()
