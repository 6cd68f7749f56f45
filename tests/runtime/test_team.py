"""The team: exact work under every number of threads, barriers, parking, and who may call when."""

import _thread
import ctypes
import signal
import threading
import time

import numpy as np
import pytest
from limits import limit
from runtime.work import CONTROL, FLAGS, SETTINGS, Held, Mix, Slow, code, step, words

from faltung.jit.target import host
from faltung.machine.detect import cores
from faltung.runtime import layout, team
from faltung.runtime.team import Region, run

COUNTS = (1, 2, 3, 5)


def ready(threads: int) -> team._Team:
    """The team, with its workers there."""
    assert Mix(8).check(threads) == threads
    assert team._team is not None
    return team._team


@pytest.fixture
def tuned():
    """Change words of the team for one test."""
    old = {}

    def tune(word: int, value: int) -> None:
        old.setdefault(word, ready(2)[word])
        ready(2)[word] = value

    yield tune
    for word, value in old.items():
        ready(2)[word] = value


@pytest.mark.parametrize("threads", COUNTS)
@pytest.mark.parametrize("items", [0, 1, 2, 3, 7, 100])
def test_shares(threads, items):
    bounds, count = np.full((items, 2), -1), np.zeros(items, np.int64)
    params = [words(bounds.ctypes.data), words(count.ctypes.data)]
    rows = [
        step(code()["share"], params[0], items, 0),
        step(code()["touch"], params[1], items, 0),
        step(code()["touch"], params[1], -items, 1),
    ]
    assert run(np.array(rows), threads) == threads
    assert (count == 1).all()
    pieces = np.unique(bounds, axis=0)
    assert (pieces[:, 0] == np.r_[0, pieces[:-1, 1]][: len(pieces)]).all()
    if threads == 1:
        assert len(pieces) == min(items, 1)


@pytest.mark.parametrize("threads", (2, 3, 9))
@pytest.mark.parametrize("items", (19, 1000))
def test_who_has_none_left_helps_the_others(threads, items):
    # The call with the first item ends when all others are done, also the rest of its own share.
    met = 0
    for _ in range(5):
        done = words(0, items, 200_000_000, 0)
        assert run(np.array([step(code()["rest"], done, items)]), threads) == threads
        assert done[0] == items
        met += int(done[3])
    assert met == 5 or threads > 8  # which looks at eight others


@pytest.mark.parametrize("items", (7, 100))
def test_whole_shares_are_one_call_each(items):
    bounds = np.full((items, 2), -1)
    params = words(bounds.ctypes.data)
    slow = Slow(barrier=0)  # so that somebody would help
    how = layout.WHOLE | layout.BARRIER
    rows = [step(code()["share"], params, items, how), step(code()["share"], params, items, how)]
    for _ in range(20):
        bounds[:] = -1
        assert run(np.array(rows), 3) == 3
        for t in range(3):
            low, high = items * t // 3, items * (t + 1) // 3
            assert (bounds[low:high] == (low, high)).all()
    slow.late[:] = 0
    slow.alone.steps[:, 3] = layout.WHOLE
    slow.alone.run(2)
    assert slow.late.all()


def test_whole_shares_meet_at_barriers():
    slow = Slow(barrier=layout.WHOLE | layout.BARRIER)
    slow.read.run(2)
    assert (slow.sums == 7).all()


def test_small_steps_run_beside_each_other():
    # Two steps of one item, of which each ends when the other has begun.
    done = words(0, 2, 200_000_000, 0)
    rest = code()["rest"]
    for _ in range(20):
        done[:] = 0, 2, 200_000_000, 0
        assert run(np.array([step(rest, done, 1, 0), step(rest, done, 1, 0)]), 2) == 2
        assert done[0] == 2 and done[3] == 1


@pytest.mark.parametrize("threads", COUNTS)
def test_nobody_takes_items_of_another_step(threads):
    # Steps without barriers between them, over arrays of their own; each again after a barrier.
    # Items take times of all kinds, so that threads are at different steps.
    sizes = (3, 40, 17, 2, 100, 41, 1, 64)
    arrays = [np.zeros(n, np.int64) for n in sizes]
    params = [
        [words(a.ctypes.data, number, 700) for number in (7 * i + 3, 11 * i + 5)]
        for i, a in enumerate(arrays)
    ]
    mark, last = code()["mark"], len(sizes) - 1
    rows = [
        step(mark, both[half], len(a), half == 0 and i == last)
        for half in (0, 1)
        for i, (a, both) in enumerate(zip(arrays, params, strict=True))
    ]
    region = Region(np.array(rows))
    for _ in range(300):
        for a in arrays:
            a[:] = 1
        region.run(threads)
        for i, a in enumerate(arrays):
            assert (a == (3 + 7 * i + 3) * 3 + 11 * i + 5).all()


def test_steps_with_more_items_than_are_counted():
    # Three items and 2**22 + 3, of which a few million are looked at by nobody.
    count = np.zeros((1 << layout.ITEM_BITS) + 3, np.int64)
    params = words(count.ctypes.data)
    touch = code()["touch"]
    rows = [step(touch, params, count.size), step(touch, params, 3), step(touch, params, 1 << 20)]
    assert run(np.array(rows), 3) == 3
    assert (
        (count[:3] == 3).all() and (count[3 : 1 << 20] == 2).all() and (count[1 << 20 :] == 1).all()
    )


def test_no_steps():
    assert run(np.zeros((0, 4), np.int64), 2) == 2


@pytest.mark.parametrize("threads", COUNTS)
def test_thousands_of_regions(threads):
    works = [Mix(n, rounds) for n, rounds in ((1, 1), (2, 5), (5, 2), (37, 8), (1000, 3))]
    for i in range(2000 if threads <= cores() else 400):  # more than cores take turns
        assert works[i % len(works)].check(threads) == threads


def test_numbers_of_threads_in_turn():
    work = Mix(37)
    for i in range(1000):
        work.check(COUNTS[i * 7 % 4])


def test_a_barrier_holds():
    slow = Slow(barrier=1)
    slow.read.run(2)
    assert (slow.sums == 7).all()


def test_and_is_needed():
    # The test above can fail: without the flag, the quick thread reads what is not there yet. (One
    # that helps the late thread is as late.)
    slow = Slow(barrier=layout.WHOLE)
    slow.read.run(2)
    assert (slow.sums != 7).any()


def test_the_end_of_a_region_waits_for_all():
    slow = Slow(barrier=0)
    assert slow.alone.run(2) == 2
    assert slow.late.all()


def test_words_may_change_between_runs():
    a, b = np.zeros(4, np.int64), np.zeros(4, np.int64)
    params = words(a.ctypes.data)
    region = Region(np.array([step(code()["touch"], params, 4)]))
    region.run(2)
    params[0] = b.ctypes.data
    region.run(2)
    region.steps[0, 2] = 2
    region.run(2)
    assert a.tolist() == [1, 1, 1, 1]
    assert b.tolist() == [2, 2, 1, 1]


# Waiting, parking, waking.


@pytest.mark.parametrize("threads", (2, 3))
def test_no_wake_up_is_lost(threads, tuned):
    # Workers that park after about the time in which the caller comes back, which itself takes now
    # longer and now shorter: sooner or later each order of the two is met, and a job posted while
    # the worker is about to park. Whoever loses it waits for ever.
    count = np.zeros(threads, np.int64)
    params = words(count.ctypes.data)
    region = Region(np.array([step(code()["touch"], params, threads)]))
    of_a_microsecond = ready(threads)[layout.LINGER] * 1e-6 / team.LINGER_SECONDS
    runs = 0
    for linger in (0.1, 0.3, 0.5, 0.7, 1, 1.5, 2, 3):
        tuned(layout.LINGER, max(1, int(linger * of_a_microsecond)))
        for i in range(2500):
            for _ in range(i % 50):
                pass
            runs += region.run(threads) == threads
    assert (count == runs).all() and runs == 20000


def test_a_parked_worker_wakes():
    work = Mix(37)
    for _ in range(5):
        work.check(3)
        for t in (1, 2):
            parked_by(layout.MAILBOXES + t * layout.LINE_BYTES)
    work.check(3)


def parked_by(mailbox: int, seconds: float = 30) -> None:
    """Wait until a worker has parked: a millisecond, unless other work has the cores."""
    deadline = time.monotonic() + limit(seconds)
    while ready_word(mailbox) != layout.PARKED:
        assert time.monotonic() < deadline, "never parked"
        time.sleep(0.001)


def ready_word(offset: int) -> int:
    assert team._team is not None
    return team._team[offset]


def idle_seconds() -> float:
    """Processor time of the process in 50 ms that begin 10 ms after a region."""
    Mix(8).check(2)
    time.sleep(0.01)
    before = time.process_time()
    time.sleep(0.05)
    return time.process_time() - before


def test_no_processor_time_between_calls():
    ready(2)
    assert min(idle_seconds() for _ in range(3)) < limit(1e-3)


def test_and_spinning_would_be_seen(tuned):
    tuned(layout.LINGER, 2**40)
    tuned(layout.PATIENCE, 2**40)  # and takes its part also of a busy machine
    assert max(idle_seconds() for _ in range(3)) > 2e-3
    tuned(layout.LINGER, 1)
    Mix(8).check(2)  # takes the new bound along


def test_a_worker_stays_awake_for_a_while():
    # Otherwise every call would pay for a wake-up by the system: 30 us and more, for 1.
    awake = 0
    for _ in range(100):
        Mix(8).check(2)
        end = time.perf_counter() + 1e-4
        while time.perf_counter() < end:
            pass
        awake += ready_word(layout.MAILBOXES + layout.LINE_BYTES) == layout.IDLE
    assert awake > 0


# Several callers.


def test_a_busy_team_leaves_the_caller_alone():
    work, big = Mix(37), Mix(100, 4)
    ready(3)
    with Held(2) as held:
        assert work.check(2) == 1
        assert big.check(3) == 1
    assert held.used == 2
    assert work.check(2) == 2


def test_many_callers():
    wrong: list[object] = []
    used = set()

    def call(n: int, threads: int) -> None:
        work = Mix(n)
        try:
            for _ in range(500):
                used.add(work.check(threads))
        except BaseException as error:
            wrong.append(error)

    callers = [threading.Thread(target=call, args=(n, n % 4 + 1)) for n in (6, 37, 38, 39, 40)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
    assert max(used) > 1


def test_the_team_grows_while_it_works():
    # More threads than any test before: the newcomers join beside a running region.
    with Held(2) as held:
        assert Mix(37).check(9) == 1
    assert held.used == 2
    assert Mix(37).check(9) == 9


def test_a_call_within_a_step():
    inner, used = Mix(37), []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    def nested(_params, _begin, _end):
        if not used:
            used.append(inner.check(2))

    address = ctypes.cast(nested, ctypes.c_void_p).value
    outer = Region(np.array([step(address, 0, 1)]))
    assert outer.run(2) == 2
    assert used == [1]


def test_an_interrupt_comes_after_the_region():
    flags = words(0, 0)
    region = Region(np.array([step(code()["hold"], flags, 2)]))
    ready(2)

    def interrupt() -> None:
        while flags[0] < 2:
            time.sleep(0)
        _thread.interrupt_main()
        time.sleep(0.05)
        flags[1] = 1

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        region.run(2)
    assert flags[1] == 1  # and not before
    thread.join()
    assert Mix(37).check(2) == 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_calls_from_signal_handlers():
    ready(3)
    inner, outer, seen = Mix(37), Mix(40), []
    inside = threading.Lock()  # on a slow machine the next signal comes before the handler is done

    def handler(*_: object) -> None:
        if inside.acquire(blocking=False):
            try:
                seen.append(inner.check(2))
            finally:
                inside.release()

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    try:
        deadline = time.monotonic() + limit(0.5)
        while time.monotonic() < deadline:
            outer.check(3)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(seen) > 10


# What goes wrong.


def test_one_worker_too_many_leaves():
    # As after an exception between the start of a worker and its report.
    current = ready(3)
    there, allowed = current[layout.READY], current[layout.ALLOWED]
    start = team._python(
        "PyThread_start_new_thread", ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p
    )
    for _ in range(3):
        start(current._worker, current.address)
    time.sleep(0.05)
    assert current[layout.READY] == there == allowed
    assert Mix(37).check(3) == 3


def test_bad_steps():
    good = np.zeros((3, 4), np.int64)
    for steps in (
        good.astype(np.int32),
        good.astype(float),
        good.tolist(),
        None,
        good.astype(">i8"),
    ):
        with pytest.raises(TypeError, match="int64"):
            Region(steps)
    for steps in (
        good[:, :3],
        good.T.copy(),
        good[::2],
        np.asfortranarray(good),
        good[0],
        good[None],
    ):
        with pytest.raises(ValueError, match="contiguous"):
            Region(steps)
    for threads in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            Region(good[:0]).run(threads)


def test_read_only_steps():
    count = np.zeros(4, np.int64)
    steps = np.array([step(code()["touch"], words_kept := words(count.ctypes.data), 4)])
    steps.flags.writeable = False
    assert run(steps, 2) == 2
    assert count.tolist() == [1, 1, 1, 1]
    assert words_kept.size == 1


def test_a_system_that_gives_no_threads(script):
    script("""
from faltung.runtime import team
started = []
python = team._python
def mean(name, *types):
    if name != "PyThread_start_new_thread":
        return python(name, *types)
    def start(*arguments):
        started.append(1)
        return python(name, *types)(*arguments) if len(started) < 3 else 2**64 - 1
    return start
team._python = mean
work = Mix(37)
assert work.check(5) == 3, "two workers came"
assert work.check(5) == 3
assert len(started) == 3, "asked again at every call"
assert work.check(2) == 2
""")


@pytest.mark.skipif(host().arch not in CONTROL, reason="which register is unknown")
def test_workers_follow_the_control_register():
    # Flush-to-zero in the caller, set after the workers were born: the same bits on every thread.
    seen = np.zeros(5, np.int64)
    read = Region(np.array([step(code()["get_control"], p := words(seen.ctypes.data), 5)]))
    ready(5)
    read.run(1)
    before = int(seen[0])
    try:
        for flags in FLAGS[host().arch]:
            control = words(before | flags)
            run(np.array([step(code()["set_control"], control, 1)]), 1)
            read.run(5)
            settings = SETTINGS[host().arch]
            assert (seen & settings == (before | flags) & settings).all()
    finally:
        run(np.array([step(code()["set_control"], words(before), 1)]), 1)
    assert p.size == 1
