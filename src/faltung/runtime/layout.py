"""Byte offsets of the thread team's shared state, and IR that accesses it."""

LINE = 128  # bytes between shared words: processors fetch lines of 64 in pairs, some have 128
LIMIT = 1024  # threads at most; one mailbox each

# Where each word lives, bytes from the start of the team's memory.
BUSY = 0 * LINE  # 1 while a region runs, and for ever after ``halt``
COUNT = 1 * LINE  # threads that have reached the barrier
GENERATION = 2 * LINE  # barriers passed
PENDING = 3 * LINE  # workers that have not finished the region
READY = 4 * LINE  # threads there are, the caller among them
ALLOWED = 5 * LINE  # threads there may be
GONE = 6 * LINE  # workers that have left
CONSTANTS = 7 * LINE
YIELD = CONSTANTS + 0  # address of sched_yield or its like, or 0
ACQUIRE = CONSTANTS + 8  # addresses of PyThread_acquire_lock
RELEASE = CONSTANTS + 16  # and of PyThread_release_lock
CORES = CONSTANTS + 24
LINGER = CONSTANTS + 32  # pauses for which a worker without a job stays awake
PATIENCE = CONSTANTS + 40  # pauses between two yields: with a core for each thread,
CROWDED = CONSTANTS + 48  # and with fewer cores than threads
MAILBOXES = 8 * LINE
BYTES = MAILBOXES + LIMIT * LINE

# In a mailbox: the word, the lock to park on, and the job.
WORD, LOCK, STEPS, STEP_COUNT, THREADS, CONTROL, TURN = range(0, 56, 8)
IDLE, JOB, PARKED, STOP = range(4)


def at(base: str, offset: int) -> str:
    return f"getelementptr i8, ptr {base}, i64 {offset}"


def load(value: str, base: str, offset: int, kind: str) -> str:
    """A plain load of one word, its address in ``value``.at."""
    return f"{value}.at = {at(base, offset)}\n  {value} = load {kind}, ptr {value}.at, align 8"


def store(value: str, base: str, offset: int, kind: str) -> str:
    """A plain store of one word, its address in ``value``.to."""
    return f"{value}.to = {at(base, offset)}\n  store {kind} {value}, ptr {value}.to, align 8"
