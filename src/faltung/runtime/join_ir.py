"""A region on the threads of an OpenMP library, as LLVM IR.

``join`` takes the place of the team's ``launch``. It opens a parallel region of the library, by the
function that GCC's compiled code calls (``GOMP_parallel``), and each thread that the library grants
walks the list of steps as one of ours would. Where the process computes by turns with that library,
the same threads do both, and those that spin after one job are the ones that the next job needs.

The job is in the mailbox of thread 0, which the team itself does not use; BUSY guards it, so that
callers in several Python threads, each of which has threads of its own in such a library, do not
fill the cores many times over. The library may grant fewer threads than asked for, down to the
caller alone (in a parallel region, with a limit): the shares follow from the number that is there.

A library that is asked for fewer threads than before ends some, and starts them anew at its next
region. So it is always asked for as many as it uses itself; those without a share leave at once.
"""

from faltung.runtime.layout import (
    BUSY,
    CONTROL,
    CORES,
    CROWDED,
    MAILBOXES,
    MAX_OF_OTHERS,
    NUM_THREADS,
    PARALLEL,
    PATIENCE,
    PENDING,
    STEP_COUNT,
    STEPS,
    THREAD_NUM,
    THREADS,
    YIELD_AFTER,
    at,
    load,
    store,
)

SYMBOL = "faltung_team_join"

# PENDING says how many threads take part, as nobody counts down here: the library waits for all.
# The threads belong to the library, so the register that controls rounding is left as it was found.
JOIN = f"""
define i64 @{SYMBOL}(ptr %team, ptr %steps, i64 %n, i64 %asked) nounwind {{
entry:
  %some = icmp sgt i64 %asked, 1
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
  {load("%cores", "%team", CORES, "i64")}
  {load("%calm", "%team", PATIENCE, "i64")}
  {load("%crowded", "%team", CROWDED, "i64")}
  %crowd = icmp sgt i64 %asked, %cores
  %patience = select i1 %crowd, i64 %crowded, i64 %calm
  %control = call i64 @control()
  %box = {at("%team", MAILBOXES)}
  {store("%steps", "%box", STEPS, "ptr")}
  {store("%n", "%box", STEP_COUNT, "i64")}
  {store("%asked", "%box", THREADS, "i64")}
  {store("%control", "%box", CONTROL, "i64")}
  {store("%patience", "%box", YIELD_AFTER, "i64")}
  {load("%max", "%team", MAX_OF_OTHERS, "ptr")}
  {load("%parallel", "%team", PARALLEL, "ptr")}
  %most = call i32 %max()
  %want = trunc i64 %asked to i32
  %more = icmp sgt i32 %most, %want
  %size = select i1 %more, i32 %most, i32 %want
  call void %parallel(ptr @joined, ptr %team, i32 %size, i32 0)
  {load("%granted", "%team", PENDING, "i64")}
  store atomic i64 0, ptr %busy.at release, align 8
  ret i64 %granted
}}

define internal void @joined(ptr %team) nounwind {{
entry:
  {load("%who", "%team", THREAD_NUM, "ptr")}
  {load("%many", "%team", NUM_THREADS, "ptr")}
  %box = {at("%team", MAILBOXES)}
  {load("%asked", "%box", THREADS, "i64")}
  %me.narrow = call i32 %who()
  %there.narrow = call i32 %many()
  %me = sext i32 %me.narrow to i64
  %there = sext i32 %there.narrow to i64
  %fewer = icmp slt i64 %there, %asked
  %threads = select i1 %fewer, i64 %there, i64 %asked
  %part = icmp slt i64 %me, %threads
  br i1 %part, label %take, label %end
take:
  %first = icmp eq i64 %me, 0
  br i1 %first, label %tell, label %job
tell:
  {store("%threads", "%team", PENDING, "i64")}
  br label %job
job:
  {load("%steps", "%box", STEPS, "ptr")}
  {load("%n", "%box", STEP_COUNT, "i64")}
  {load("%control", "%box", CONTROL, "i64")}
  {load("%patience", "%box", YIELD_AFTER, "i64")}
  %current = call i64 @control()
  %same = icmp eq i64 %current, %control
  br i1 %same, label %run, label %follow
follow:
  call void @set_control(i64 %control)
  br label %run
run:
  call void @region(ptr %team, ptr %steps, i64 %n, i64 %me, i64 %threads, i64 %patience)
  br i1 %same, label %end, label %restore
restore:
  call void @set_control(i64 %current)
  br label %end
end:
  ret void
}}
"""
