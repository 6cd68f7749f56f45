"""The thread team as LLVM IR: waiting, handing over work, and meeting at barriers.

Three functions. ``launch`` is the caller: it posts the job to each worker, does the items of thread
0 and waits for the others. ``worker`` is the whole life of a worker thread. ``halt`` ends all
workers. None of them touches Python, so an exception, a signal handler or another Python thread can
never find a region half done. (``join``, in ``join_ir.py``, is a caller that has other threads.)

Memory order. Every hand-over is a release that another thread acquires:

    job, from caller to worker      exchange of the mailbox -> load of the mailbox
    results, from worker to caller  fetch-and-subtract of PENDING -> load of PENDING
    results, across a barrier       fetch-and-add of COUNT -> the same by the last to arrive,
                                    its store of GENERATION -> load of GENERATION
    all of it, to the next caller   store of BUSY -> compare-and-exchange of BUSY

A mailbox holds one of four words. Only the thread that holds BUSY writes JOB and STOP, by an
exchange that returns what was there; only its worker writes the others: IDLE when it has taken a
job, PARKED by an exchange that succeeds only from IDLE. So either the worker sees the job before it
parks, or the caller sees that it has parked and wakes it: no wake-up is lost.
"""

from faltung.runtime import join_ir
from faltung.runtime.layout import (
    ACQUIRE,
    ALLOWED,
    BUSY,
    CONTROL,
    CORES,
    CROWDED,
    GONE,
    IDLE,
    JOB,
    LINE_BYTES,
    LINGER,
    LOCK,
    MAILBOXES,
    MAX_THREADS,
    PARKED,
    PATIENCE,
    PENDING,
    READY,
    RELEASE,
    STEP_COUNT,
    STEPS,
    STOP,
    THREADS,
    YIELD_AFTER,
    at,
    load,
    store,
)
from faltung.runtime.region_ir import REGION, pause_and_register, waiting

SYMBOLS = (
    "faltung_team_launch",
    "faltung_team_worker",
    "faltung_team_halt",
    "faltung_team_spin",
    join_ir.SYMBOL,
)


def module(arch: str) -> str:
    """The module for one architecture, as ``Machine.arch`` names it."""
    pause, register = pause_and_register(arch)
    parts = (register, waiting(pause), REGION, _LAUNCH, _worker(pause), _HALT, join_ir.JOIN)
    return "\n".join(parts)


# The caller. Without workers, or while another caller uses them, it runs every step alone.
# Returns how many threads took part.
_LAUNCH = f"""
define i64 @faltung_team_launch(ptr %team, ptr %steps, i64 %n, i64 %asked) nounwind {{
entry:
  %ready.at = {at("%team", READY)}
  %ready = load atomic i64, ptr %ready.at acquire, align 8
  %fewer = icmp slt i64 %asked, %ready
  %threads = select i1 %fewer, i64 %asked, i64 %ready
  %some = icmp sgt i64 %threads, 1
  br i1 %some, label %try, label %alone
try:
  %busy.at = {at("%team", BUSY)}
  %taken = cmpxchg ptr %busy.at, i64 0, i64 1 acq_rel monotonic, align 8
  %mine = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %mine, label %together, label %alone
alone:
  call void @region(ptr %team, ptr %steps, i64 %n, i64 0, i64 1, i64 1)
  ret i64 1
together:
  %workers = sub i64 %threads, 1
  %pending = {at("%team", PENDING)}
  store atomic i64 %workers, ptr %pending monotonic, align 8
  {load("%cores", "%team", CORES, "i64")}
  {load("%calm", "%team", PATIENCE, "i64")}
  {load("%crowded", "%team", CROWDED, "i64")}
  %crowd = icmp sgt i64 %threads, %cores
  %patience = select i1 %crowd, i64 %crowded, i64 %calm
  %control = call i64 @control()
  %boxes = {at("%team", MAILBOXES)}
  br label %post
post:
  %t = phi i64 [ 1, %together ], [ %following, %posted ]
  %offset = mul i64 %t, {LINE_BYTES}
  %box = getelementptr i8, ptr %boxes, i64 %offset
  {store("%steps", "%box", STEPS, "ptr")}
  {store("%n", "%box", STEP_COUNT, "i64")}
  {store("%threads", "%box", THREADS, "i64")}
  {store("%control", "%box", CONTROL, "i64")}
  {store("%patience", "%box", YIELD_AFTER, "i64")}
  %was = atomicrmw xchg ptr %box, i64 {JOB} acq_rel, align 8
  %asleep = icmp eq i64 %was, {PARKED}
  br i1 %asleep, label %wake, label %posted
wake:
  call void @wake(ptr %team, ptr %box)
  br label %posted
posted:
  %following = add i64 %t, 1
  %another = icmp slt i64 %following, %threads
  br i1 %another, label %post, label %share
share:
  call void @region(ptr %team, ptr %steps, i64 %n, i64 0, i64 %threads, i64 %patience)
  call void @until(ptr %team, ptr %pending, i64 0, i64 %patience)
  store atomic i64 0, ptr %busy.at release, align 8
  ret i64 %threads
}}

define internal void @wake(ptr %team, ptr %box) nounwind {{
  {load("%lock", "%box", LOCK, "ptr")}
  {load("%release", "%team", RELEASE, "ptr")}
  call void %release(ptr %lock)
  ret void
}}
"""


def _worker(pause: str) -> str:
    """The life of a worker: take a number, then wait, work, wait; if no job comes, park.

    The worker takes its number itself, so that a thread that was started but not counted (an
    exception can occur just there) never shares a mailbox; a surplus worker ends at once.
    """
    return f"""
define void @faltung_team_worker(ptr %team) nounwind {{
entry:
  %ready = {at("%team", READY)}
  %allowed.at = {at("%team", ALLOWED)}
  %linger.at = {at("%team", LINGER)}
  %calm.at = {at("%team", PATIENCE)}
  {load("%acquire", "%team", ACQUIRE, "ptr")}
  %calm = load i64, ptr %calm.at, align 8
  %boxes = {at("%team", MAILBOXES)}
  br label %claim
claim:
  %me = load atomic i64, ptr %ready acquire, align 8
  %allowed = load atomic i64, ptr %allowed.at acquire, align 8
  %room = icmp slt i64 %me, %allowed
  br i1 %room, label %take, label %surplus
surplus:
  ret void
take:
  %one.more = add i64 %me, 1
  %taken = cmpxchg ptr %ready, i64 %me, i64 %one.more acq_rel monotonic, align 8
  %mine = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %mine, label %begin, label %claim
begin:
  %offset = mul i64 %me, {LINE_BYTES}
  %box = getelementptr i8, ptr %boxes, i64 %offset
  {load("%lock", "%box", LOCK, "ptr")}
  br label %idle

idle:
  %patience = phi i64 [ %calm, %begin ], [ %new.patience, %finished ]
  %linger = load i64, ptr %linger.at, align 8
  br label %look
look:
  %left = phi i64 [ %linger, %idle ], [ %less, %again ]
  %turn = phi i64 [ %patience, %idle ], [ %new.turn, %again ]
  %word = load atomic i64, ptr %box acquire, align 8
  %called = icmp ne i64 %word, {IDLE}
  br i1 %called, label %answer, label %spin
spin:
  {pause}
  %less = sub i64 %left, 1
  %tired = icmp sle i64 %less, 0
  br i1 %tired, label %park, label %stay
stay:
  %turned = sub i64 %turn, 1
  %polite = icmp sle i64 %turned, 0
  br i1 %polite, label %yield, label %again
yield:
  call void @give_way(ptr %team)
  br label %again
again:
  %new.turn = phi i64 [ %turned, %stay ], [ %patience, %yield ]
  br label %look

park:
  %parking = cmpxchg ptr %box, i64 {IDLE}, i64 {PARKED} acq_rel acquire, align 8
  %parked = extractvalue {{ i64, i1 }} %parking, 1
  br i1 %parked, label %sleep, label %read
sleep:
  %ignored = call i32 %acquire(ptr %lock, i32 1)
  br label %read
read:
  %found = load atomic i64, ptr %box acquire, align 8
  %still = icmp eq i64 %found, {PARKED}
  br i1 %still, label %sleep, label %answer

answer:
  %order = phi i64 [ %word, %look ], [ %found, %read ]
  %leave = icmp eq i64 %order, {STOP}
  br i1 %leave, label %end, label %job
job:
  store atomic i64 {IDLE}, ptr %box monotonic, align 8
  {load("%steps", "%box", STEPS, "ptr")}
  {load("%n", "%box", STEP_COUNT, "i64")}
  {load("%threads", "%box", THREADS, "i64")}
  {load("%control", "%box", CONTROL, "i64")}
  %turn.at = {at("%box", YIELD_AFTER)}
  %new.patience = load i64, ptr %turn.at, align 8
  %current = call i64 @control()
  %same = icmp eq i64 %current, %control
  br i1 %same, label %run, label %follow
follow:
  call void @set_control(i64 %control)
  br label %run
run:
  call void @region(ptr %team, ptr %steps, i64 %n, i64 %me, i64 %threads, i64 %new.patience)
  br label %finished
finished:
  %pending = {at("%team", PENDING)}
  %rest = atomicrmw sub ptr %pending, i64 1 acq_rel, align 8
  br label %idle
end:
  %gone = {at("%team", GONE)}
  %count = atomicrmw add ptr %gone, i64 1 acq_rel, align 8
  ret void
}}
"""


# End all workers. No more may join, and the team stays busy, so later callers run their steps
# alone. Returns how many workers end, or -1 while a region runs: try again.
_HALT = f"""
define i64 @faltung_team_halt(ptr %team) nounwind {{
entry:
  %busy = {at("%team", BUSY)}
  %taken = cmpxchg ptr %busy, i64 0, i64 1 acq_rel monotonic, align 8
  %mine = extractvalue {{ i64, i1 }} %taken, 1
  br i1 %mine, label %close, label %later
later:
  ret i64 -1
close:
  %allowed = {at("%team", ALLOWED)}
  store atomic i64 0, ptr %allowed release, align 8
  %ready.at = {at("%team", READY)}
  %ready = atomicrmw xchg ptr %ready.at, i64 {MAX_THREADS} acq_rel, align 8
  %workers = sub i64 %ready, 1
  %boxes = {at("%team", MAILBOXES)}
  br label %next
next:
  %t = phi i64 [ 1, %close ], [ %following, %told ]
  %more = icmp slt i64 %t, %ready
  br i1 %more, label %tell, label %end
tell:
  %offset = mul i64 %t, {LINE_BYTES}
  %box = getelementptr i8, ptr %boxes, i64 %offset
  %was = atomicrmw xchg ptr %box, i64 {STOP} acq_rel, align 8
  %asleep = icmp eq i64 %was, {PARKED}
  br i1 %asleep, label %wake, label %told
wake:
  call void @wake(ptr %team, ptr %box)
  br label %told
told:
  %following = add i64 %t, 1
  br label %next
end:
  ret i64 %workers
}}
"""
