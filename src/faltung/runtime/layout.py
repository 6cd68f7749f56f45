"""Byte offsets of the thread team's shared state, and IR that accesses it."""

# Distance of shared words: processors fetch lines of 64 bytes in pairs, or have lines of 128.
LINE_BYTES = 128
# The most threads; each has a mailbox.
MAX_THREADS = 1024

# Where each word is: bytes from the start of the memory of the team.
BUSY = 0 * LINE_BYTES  # 1 while a region runs, and forever after ``halt``
COUNT = 1 * LINE_BYTES  # threads that have reached the barrier
GENERATION = 2 * LINE_BYTES  # barriers passed
PENDING = 3 * LINE_BYTES  # workers that have not finished the region
READY = 4 * LINE_BYTES  # threads that exist, including the caller
ALLOWED = 5 * LINE_BYTES  # threads that may exist
GONE = 6 * LINE_BYTES  # workers that have left
CONSTANTS = 7 * LINE_BYTES
YIELD = CONSTANTS + 0  # address of sched_yield or its equivalent, or 0
ACQUIRE = CONSTANTS + 8  # address of PyThread_acquire_lock
RELEASE = CONSTANTS + 16  # address of PyThread_release_lock
CORES = CONSTANTS + 24
LINGER = CONSTANTS + 32  # pauses until a worker without a job parks
PATIENCE = CONSTANTS + 40  # pauses between two yields, with a core for each thread
CROWDED = CONSTANTS + 48  # the same with fewer cores than threads
# Of an OpenMP library whose threads are used instead: addresses of these of its functions.
PARALLEL = CONSTANTS + 56  # GOMP_parallel
THREAD_NUM = CONSTANTS + 64  # omp_get_thread_num
NUM_THREADS = CONSTANTS + 72  # omp_get_num_threads
MAX_OF_OTHERS = CONSTANTS + 80  # omp_get_max_threads
MAILBOXES = 8 * LINE_BYTES
BYTES = MAILBOXES + MAX_THREADS * LINE_BYTES

# Bytes from the start of a mailbox: its word, the lock to park on, and the job.
WORD, LOCK, STEPS, STEP_COUNT, THREADS, CONTROL, YIELD_AFTER = range(0, 56, 8)
# How a step runs, in its last word: all threads wait for each other behind it; shares are not cut.
BARRIER, WHOLE = 1, 2
# What is left of the thread's share of a step, on a line that nobody reads who waits for a job: the
# number of the step, the first item, the end.
SHARE = 64
ITEM_BITS = 22
STEP_BITS = 64 - 2 * ITEM_BITS
ITEM_MASK = (1 << ITEM_BITS) - 1
# What the word of a mailbox says.
IDLE, JOB, PARKED, STOP = range(4)


def at(base: str, offset: int) -> str:
    return f"getelementptr i8, ptr {base}, i64 {offset}"


def load(value: str, base: str, offset: int, kind: str) -> str:
    """A plain load of one word; its address is ``value``.at."""
    return f"{value}.at = {at(base, offset)}\n  {value} = load {kind}, ptr {value}.at, align 8"


def store(value: str, base: str, offset: int, kind: str) -> str:
    """A plain store of one word; its address is ``value``.to."""
    return f"{value}.to = {at(base, offset)}\n  store {kind} {value}, ptr {value}.to, align 8"
