"""One thread's part of a region, as LLVM IR: pause, wait, step list, barrier."""

from faltung.runtime.layout import (
    BARRIER,
    COUNT,
    GENERATION,
    ITEM_BITS,
    ITEM_MASK,
    LINE_BYTES,
    MAILBOXES,
    SHARE,
    STEP_BITS,
    WHOLE,
    YIELD,
    at,
    load,
)

# A thread without items looks at the shares of so many others, so that with many threads the end of
# a step takes no longer than with a few.
MOST_HELPED = 8
# A piece has at least one item, and this part of a share: 1 / 2**LEAST_SHIFT.
LEAST_SHIFT = 4

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
# params, items, how (bits of ``layout``). Each thread begins with a share of the items of its own,
# items*t//T to items*(t+1)//T, and takes it in pieces: half of what is left, each time. A thread
# that has none left takes from the end of what others have left. So all are done at about the same
# time, also where items differ, or a core is busy otherwise, and mostly every thread has worked on
# the same part of the maps before. Which thread does an item changes no bits.
#
# What is left of a share is one word, so that one compare-and-exchange takes from it: the number of
# the step, from which item on, up to which. Nobody takes from the share of another step. The word
# of a step that is over says that nothing is left, so those of earlier runs need not be cleared.
#
# Shares that are ``WHOLE`` are not cut: each is one call, and nobody helps.
#
# Steps of fewer items than threads: of those without a barrier between them the first begins with
# the last thread, the second with the one before, and so on.
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

; How many of the items that are left are taken at once.
define internal i64 @piece(i64 %left, i64 %least) alwaysinline nounwind {{
  %up = add i64 %left, 1
  %half = lshr i64 %up, 1
  %small = icmp ult i64 %half, %least
  %wanted = select i1 %small, i64 %least, i64 %half
  %all = icmp ult i64 %left, %wanted
  %taken = select i1 %all, i64 %left, i64 %wanted
  ret i64 %taken
}}

; Do the items of the own share, from its beginning, until none is left.
define internal void @own(ptr %word, ptr %function, ptr %params, i64 %least) nounwind {{
entry:
  br label %look
look:
  %seen = load atomic i64, ptr %word monotonic, align 8
  br label %try
try:
  %now = phi i64 [ %seen, %look ], [ %other, %taking ]
  %shifted = lshr i64 %now, {ITEM_BITS}
  %begin = and i64 %shifted, {ITEM_MASK}
  %end = and i64 %now, {ITEM_MASK}
  %some = icmp ult i64 %begin, %end
  br i1 %some, label %taking, label %done
taking:
  %left = sub i64 %end, %begin
  %count = call i64 @piece(i64 %left, i64 %least)
  %stop = add i64 %begin, %count
  %step = shl i64 %count, {ITEM_BITS}
  %rest = add i64 %now, %step
  %pair = cmpxchg ptr %word, i64 %now, i64 %rest acq_rel acquire, align 8
  %other = extractvalue {{ i64, i1 }} %pair, 0
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %mine, label %work, label %try
work:
  call void %function(ptr %params, i64 %begin, i64 %stop)
  br label %look
done:
  ret void
}}

; Do items of others, from the end of their shares, until none of the next few threads has any left.
define internal void @help(ptr %words, ptr %function, ptr %params, i64 %tag, i64 %least,
                           i64 %thread, i64 %threads) nounwind {{
entry:
  %others = sub i64 %threads, 1
  %many = icmp ugt i64 %others, {MOST_HELPED}
  %most = select i1 %many, i64 {MOST_HELPED}, i64 %others
  br label %next
next:
  %far = phi i64 [ 1, %entry ], [ %further, %over ]
  %sum = add i64 %thread, %far
  %wraps = icmp uge i64 %sum, %threads
  %wrapped = sub i64 %sum, %threads
  %victim = select i1 %wraps, i64 %wrapped, i64 %sum
  %offset = mul i64 %victim, {LINE_BYTES}
  %word = getelementptr i8, ptr %words, i64 %offset
  br label %look
look:
  %seen = load atomic i64, ptr %word acquire, align 8
  br label %try
try:
  %now = phi i64 [ %seen, %look ], [ %other, %taking ]
  %about = lshr i64 %now, {2 * ITEM_BITS}
  %same = icmp eq i64 %about, %tag
  %shifted = lshr i64 %now, {ITEM_BITS}
  %begin = and i64 %shifted, {ITEM_MASK}
  %end = and i64 %now, {ITEM_MASK}
  %some = icmp ult i64 %begin, %end
  %there = and i1 %same, %some
  br i1 %there, label %taking, label %over
taking:
  %left = sub i64 %end, %begin
  %count = call i64 @piece(i64 %left, i64 %least)
  %from = sub i64 %end, %count
  %rest = sub i64 %now, %count
  %pair = cmpxchg ptr %word, i64 %now, i64 %rest acq_rel acquire, align 8
  %other = extractvalue {{ i64, i1 }} %pair, 0
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %mine, label %work, label %try
work:
  call void %function(ptr %params, i64 %from, i64 %end)
  br label %look
over:
  %further = add i64 %far, 1
  %more = icmp ule i64 %further, %most
  br i1 %more, label %next, label %done
done:
  ret void
}}

define internal void @region(ptr %team, ptr %steps, i64 %n, i64 %thread, i64 %threads,
                             i64 %patience) nounwind {{
entry:
  %alone = icmp eq i64 %threads, 1
  %words = {at("%team", MAILBOXES + SHARE)}
  %line = mul i64 %thread, {LINE_BYTES}
  %word = getelementptr i8, ptr %words, i64 %line
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %step, label %end
step:
  %i = phi i64 [ 0, %entry ], [ %next, %more ]
  %turn = phi i64 [ 0, %entry ], [ %new.turn, %more ]
  %first = mul i64 %i, 4
  %a = getelementptr i64, ptr %steps, i64 %first
  %b = getelementptr i64, ptr %a, i64 1
  %c = getelementptr i64, ptr %a, i64 2
  %d = getelementptr i64, ptr %a, i64 3
  %function = load ptr, ptr %a, align 8
  %params = load ptr, ptr %b, align 8
  %items = load i64, ptr %c, align 8
  %flag = load i64, ptr %d, align 8
  %few = icmp sle i64 %items, %threads
  br i1 %few, label %single, label %several

single: ; at most one item for each thread
  %later = add i64 %thread, %turn
  %place = urem i64 %later, %threads
  %low.1 = mul i64 %items, %place
  %high.1 = add i64 %low.1, %items
  %begin.1 = sdiv i64 %low.1, %threads
  %stop.1 = sdiv i64 %high.1, %threads
  %share.1 = icmp slt i64 %begin.1, %stop.1
  br i1 %share.1, label %work, label %worked

several:
  %low = mul i64 %items, %thread
  %high = add i64 %low, %items
  %begin = sdiv i64 %low, %threads
  %stop = sdiv i64 %high, %threads
  %countable = icmp ult i64 %items, {1 << ITEM_BITS}
  %known = icmp ult i64 %i, {1 << STEP_BITS}
  %bits = and i64 %flag, {WHOLE}
  %cut = icmp eq i64 %bits, 0
  %together = select i1 %alone, i1 false, i1 %cut
  %numbered = and i1 %countable, %known
  %shared = and i1 %together, %numbered
  br i1 %shared, label %pieces, label %work

work:
  %from = phi i64 [ %begin.1, %single ], [ %begin, %several ]
  %to = phi i64 [ %stop.1, %single ], [ %stop, %several ]
  call void %function(ptr %params, i64 %from, i64 %to)
  br label %worked

pieces:
  %number = shl i64 %i, {2 * ITEM_BITS}
  %begins = shl i64 %begin, {ITEM_BITS}
  %range = or i64 %begins, %stop
  %share = or i64 %number, %range
  %size = sub i64 %stop, %begin
  %part = lshr i64 %size, {LEAST_SHIFT}
  %least = add i64 %part, 1
  store atomic i64 %share, ptr %word release, align 8
  call void @own(ptr %word, ptr %function, ptr %params, i64 %least)
  call void @help(ptr %words, ptr %function, ptr %params, i64 %i, i64 %least, i64 %thread,
                  i64 %threads)
  br label %worked

worked:
  %next = add i64 %i, 1
  %last = icmp sge i64 %next, %n
  br i1 %last, label %end, label %check ; the end of the region is a barrier anyway
check:
  %meets = and i64 %flag, {BARRIER}
  %free = icmp eq i64 %meets, 0
  %skip = or i1 %free, %alone
  br i1 %skip, label %more, label %barrier
barrier:
  call void @meet(ptr %team, i64 %threads, i64 %patience)
  br label %more
more:
  %following = add i64 %turn, 1
  %new.turn = select i1 %free, i64 %following, i64 0
  br label %step
end:
  ret void
}}
"""
