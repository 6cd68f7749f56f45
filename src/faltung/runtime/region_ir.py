"""One thread's part of a region, as LLVM IR: pause, wait, step list, barrier."""

from faltung.runtime.layout import COUNT, GENERATION, YIELD, at, load

# For each architecture: how to pause without slowing down the other hardware thread of the core,
# and how to read and write the register that controls rounding and flush-to-zero. A thread inherits
# that register when it starts; unless it follows later changes of the caller, results would depend
# on the thread.
_X86 = (
    "call void @llvm.x86.sse2.pause()",
    """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal i64 @control() nounwind {
  %slot = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %slot)
  %all = load i32, ptr %slot, align 4
  %kept = and i32 %all, -64 ; the low six bits say what has happened, not what to do
  %wide = zext i32 %kept to i64
  ret i64 %wide
}
define internal void @set_control(i64 %wide) nounwind {
  %slot = alloca i32, align 4
  %all = trunc i64 %wide to i32
  store i32 %all, ptr %slot, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %slot)
  ret void
}""",
)
_ARM = (
    "call void @llvm.aarch64.isb(i32 15)",  # ``yield`` does nothing on most cores; isb waits
    """
declare void @llvm.aarch64.isb(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define internal i64 @control() nounwind {
  %all = call i64 @llvm.aarch64.get.fpcr()
  ret i64 %all
}
define internal void @set_control(i64 %all) nounwind {
  call void @llvm.aarch64.set.fpcr(i64 %all)
  ret void
}""",
)
_OTHER = (
    "",
    """
define internal i64 @control() nounwind {
  ret i64 0
}
define internal void @set_control(i64 %all) nounwind {
  ret void
}""",
)
ARCHITECTURES = {"x86_64": _X86, "aarch64": _ARM}


def pause_and_register(arch: str) -> tuple[str, str]:
    """The pause instruction and the functions for the control register of an architecture."""
    return ARCHITECTURES.get(arch, _OTHER)


def waiting(pause: str) -> str:
    """Functions that wait.

    give_way: let another thread use the core. until: wait until a word is ``value``. spin, for
    calibration: look at a word ``pauses`` times and pause after each.
    """
    return f"""
define internal void @give_way(ptr %team) nounwind {{
  {load("%yield", "%team", YIELD, "ptr")}
  %none = icmp eq ptr %yield, null
  br i1 %none, label %end, label %call
call:
  %ignored = call i32 %yield()
  br label %end
end:
  ret void
}}

define internal void @until(ptr %team, ptr %word, i64 %value, i64 %patience) nounwind {{
entry:
  br label %look
look:
  %left = phi i64 [ %patience, %entry ], [ %less, %spin ], [ %patience, %yield ]
  %seen = load atomic i64, ptr %word acquire, align 8
  %done = icmp eq i64 %seen, %value
  br i1 %done, label %end, label %wait
wait:
  %less = sub i64 %left, 1
  %enough = icmp sle i64 %less, 0
  br i1 %enough, label %yield, label %spin
spin:
  {pause}
  br label %look
yield:
  call void @give_way(ptr %team)
  br label %look
end:
  ret void
}}

define void @faltung_team_spin(ptr %word, i64 %pauses) nounwind {{
entry:
  br label %look
look:
  %left = phi i64 [ %pauses, %entry ], [ %less, %look ]
  %seen = load atomic i64, ptr %word acquire, align 8
  {pause}
  %less = sub i64 %left, 1
  %more = icmp sgt i64 %less, 0
  br i1 %more, label %look, label %end
end:
  ret void
}}
"""


# region: run the list of steps as one of ``threads`` threads. A step is four words: function,
# params, items, barrier. Thread t of T runs function(params, items*t//T, items*(t+1)//T), if there
# is an item in this range.
#
# meet: the barrier. The last thread to arrive opens it; the others wait for exactly the next
# generation, which they cannot miss, because the one after it needs them.
REGION = f"""
define internal void @meet(ptr %team, i64 %threads, i64 %patience) nounwind {{
  %count = {at("%team", COUNT)}
  %generation = {at("%team", GENERATION)}
  %now = load atomic i64, ptr %generation monotonic, align 8
  %next = add i64 %now, 1
  %before = atomicrmw add ptr %count, i64 1 acq_rel, align 8
  %arrived = add i64 %before, 1
  %last = icmp eq i64 %arrived, %threads
  br i1 %last, label %open, label %wait
open:
  store atomic i64 0, ptr %count monotonic, align 8
  store atomic i64 %next, ptr %generation release, align 8
  ret void
wait:
  call void @until(ptr %team, ptr %generation, i64 %next, i64 %patience)
  ret void
}}

define internal void @region(ptr %team, ptr %steps, i64 %n, i64 %thread, i64 %threads,
                             i64 %patience) nounwind {{
entry:
  %alone = icmp eq i64 %threads, 1
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %step, label %end
step:
  %i = phi i64 [ 0, %entry ], [ %next, %more ]
  %first = mul i64 %i, 4
  %a = getelementptr i64, ptr %steps, i64 %first
  %b = getelementptr i64, ptr %a, i64 1
  %c = getelementptr i64, ptr %a, i64 2
  %d = getelementptr i64, ptr %a, i64 3
  %function = load ptr, ptr %a, align 8
  %params = load ptr, ptr %b, align 8
  %items = load i64, ptr %c, align 8
  %flag = load i64, ptr %d, align 8
  %after = add i64 %thread, 1
  %low = mul i64 %items, %thread
  %high = mul i64 %items, %after
  %begin = sdiv i64 %low, %threads
  %stop = sdiv i64 %high, %threads
  %share = icmp slt i64 %begin, %stop
  br i1 %share, label %work, label %worked
work:
  call void %function(ptr %params, i64 %begin, i64 %stop)
  br label %worked
worked:
  %next = add i64 %i, 1
  %last = icmp sge i64 %next, %n
  br i1 %last, label %end, label %check ; the end of the region is a barrier anyway
check:
  %free = icmp eq i64 %flag, 0
  %skip = or i1 %free, %alone
  br i1 %skip, label %more, label %barrier
barrier:
  call void @meet(ptr %team, i64 %threads, i64 %patience)
  br label %more
more:
  br label %step
end:
  ret void
}}
"""
