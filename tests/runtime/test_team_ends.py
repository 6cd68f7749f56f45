"""The team where processes fork and end, each in a process of its own."""

import os

import pytest
from limits import limit

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

CHILD = """
import os, signal, sys, time, warnings
from limits import limit
warnings.simplefilter("ignore")  # newer Pythons warn about every fork beside threads
def child(task):
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(limit(20)))
        try:
            task()
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""


@needs_fork
def test_fork(script):
    script(
        CHILD
        + """
work = Mix(37)
def both():
    for threads in (3, 2, 5):
        assert work.check(threads) == threads
both()
child(both)
child(lambda: (both(), child(both)))
time.sleep(0.02)  # parked
child(both)
both()
"""
    )


@needs_fork
def test_fork_while_another_thread_has_the_team(script):
    script(
        CHILD
        + """
work = Mix(37)
work.check(3)
def task():
    assert work.check(3) == 3
with Held(3):
    child(task)
assert work.check(3) == 3
"""
    )


@needs_fork
def test_fork_in_the_middle_of_shares(script):
    # What was left of them in the parent is nobody's in the child.
    script(
        CHILD
        + """
from faltung.runtime import layout, team
count = np.zeros(40, np.int64)
params = words(count.ctypes.data)
region = Region(np.array([step(code()["touch"], params, 40)]))
region.run(3)
def task():
    for _ in range(50):
        count[:] = 0
        region.run(2)
        assert (count == 1).all()
for t in range(3):
    team._team[layout.MAILBOXES + t * layout.LINE_BYTES + layout.SHARE] = 5 << layout.ITEM_BITS | 30
child(task)
"""
    )


@needs_fork
def test_fork_from_a_signal_handler(script):
    # Children are born at any moment of a call, and must be able to finish it.
    script(
        CHILD
        + """
work, parent = Mix(37), os.getpid()
work.check(2)  # or a child could be born while a module is read: both would move in one open file
children, mine, turn = [], 0, 0
def handler(*_):
    if os.getpid() == parent and len(children) < 30:
        pid = os.fork()
        if pid:
            children.append(pid)
        else:
            signal.alarm(int(limit(20)))
signal.signal(signal.SIGUSR1, handler)
import threading
def shoot():
    while len(children) < 30:
        os.kill(parent, signal.SIGUSR1)
        time.sleep(0.002)
threading.Thread(target=shoot, daemon=True).start()
while len(children) < 30:
    turn += 1
    work.check(2 + turn % 4)
    if os.getpid() != parent:
        mine += 1
        if mine == 20:
            os._exit(0)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
"""
    )


@needs_fork
def test_multiprocessing(script):
    assert script(
        CHILD
        + """
import multiprocessing
def task(n):
    return Mix(n).check(2)
task(5)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(task, range(5, 25)))
"""
    ).strip() == str([2] * 20)


ENDINGS = {
    "awake": "Mix(37).check(3)",
    "parked": "import time; Mix(37).check(3); time.sleep(0.02)",
    "never used": "",
    "in a region": "Mix(37).check(2); Held(2).__enter__()",
    "later calls": "import atexit; atexit.register(lambda: Mix(37).check(2)); Mix(37).check(3); "
    "atexit.register(lambda: Mix(37).check(2))",
    "first call at exit": "import atexit; atexit.register(lambda: Mix(37).check(3))",
    "calls of a thread": "w = Mix(37); w.check(2)\n"
    "def f():\n  while True: w.check(2)\n"
    "Thread(target=f, daemon=True).start(); time.sleep(0.05)",
    "error": "Mix(37).check(2)\nimport sys; sys.exit(0)",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_exit(ending, script):
    for _ in range(3):
        script(ENDINGS[ending], seconds=30)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads by /proc")
def test_no_worker_outlives_the_end(script):
    text = """
import atexit, os
def tasks():
    return len(os.listdir("/proc/self/task"))
def late():
    time.sleep(0.01)
    print(tasks() - before)
atexit.register(late)
before = tasks()
Mix(37).check(5)
print(tasks() - before)
"""
    assert script(text).split() == ["4", "0"]


def test_exit_is_quick(script):
    text = """
import atexit
def late():
    print(time.perf_counter() - begin)
atexit.register(late)
Mix(37).check(5)
begin = time.perf_counter()
"""
    assert min(float(script(text)) for _ in range(3)) < limit(0.05)
