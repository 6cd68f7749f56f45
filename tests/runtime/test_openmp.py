"""Regions on the threads of another library: one written here, which grants what it likes."""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from runtime.work import CONTROL, FLAGS, SETTINGS, Held, Mix, code, step, words

from faltung.jit.target import host
from faltung.runtime import team
from faltung.runtime.openmp import OpenMP, openmp
from faltung.runtime.team import Region, run

BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
PARALLEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
NUMBER = ctypes.CFUNCTYPE(ctypes.c_int)


class Library:
    """OpenMP in Python: threads for each region, at most ``limit``, and inside a region one."""

    def __init__(self, most: int, limit: int = 99) -> None:
        self.most, self.limit = most, limit
        self.asked: list[int] = []
        self.before = self.after = lambda: None  # what each thread does around its part
        self.here = threading.local()
        self.functions = {
            "GOMP_parallel": PARALLEL(self._parallel),
            "omp_get_thread_num": NUMBER(lambda: getattr(self.here, "number", 0)),
            "omp_get_num_threads": NUMBER(lambda: getattr(self.here, "count", 1)),
            "omp_get_max_threads": NUMBER(lambda: self.most),
        }

    def _parallel(self, body: int, data: int, asked: int, _flags: int) -> None:
        self.asked.append(asked)
        count = 1 if hasattr(self.here, "number") else min(asked, self.limit)

        def work(number: int) -> None:
            outside = dict(self.here.__dict__)
            self.here.number, self.here.count = number, count
            self.before()
            BODY(body)(data)
            self.after()
            self.here.__dict__.clear()
            self.here.__dict__.update(outside)

        others = [threading.Thread(target=work, args=(t,)) for t in range(1, count)]
        for other in others:
            other.start()
        work(0)
        for other in others:
            other.join()


@pytest.fixture
def library() -> Iterator[Callable[..., Library]]:
    made = []  # kept until nobody can call it any more

    def join(most: int, limit: int = 99) -> Library:
        made.append(Library(most, limit))
        found = openmp(SimpleNamespace(**made[-1].functions))
        assert found is not None and found.most() == most
        team.join(found)
        return made[-1]

    yield join
    team.join(None)


@pytest.mark.parametrize("limit", [1, 2, 4, 99])
@pytest.mark.parametrize("most", [1, 3])
def test_it_may_grant_fewer_threads(library, most, limit):
    there = library(most, limit)
    works = [Mix(1), Mix(2), Mix(37), Mix(100, 9)]
    for asked in (2, 3, 5):
        there.asked.clear()
        for work in works:
            assert work.check(asked) == min(asked, limit)
        # Never fewer than it uses itself, or it would end threads and start them anew.
        assert there.asked == [max(asked, most)] * len(works)


def test_one_thread_does_without_it(library):
    there = library(4)
    assert Mix(37).check(1) == 1 and there.asked == []


def test_the_end_of_a_region_and_empty_ones(library):
    library(2)
    assert run(np.zeros((0, 4), np.int64), 2) == 2
    count = np.zeros(100, np.int64)
    rows = np.array([step(code()["touch"], kept := words(count.ctypes.data), 100)])
    for times in range(1, 50):
        assert run(rows, 3) == 3
        assert (count == times).all()
    assert kept.size == 1


def test_who_comes_second_works_alone(library):
    library(2)
    work = Mix(37)
    with Held(2) as held:
        assert work.check(2) == 1
    assert held.used == 2
    assert work.check(2) == 2


def test_a_call_within_a_step(library):
    library(2)
    inner, used = Mix(37), []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    def nested(_params, _begin, _end):
        used.append(inner.check(2))

    outer = Region(np.array([step(ctypes.cast(nested, ctypes.c_void_p).value or 0, 0, 1)]))
    assert outer.run(2) == 2
    assert used == [1]


def test_to_and_fro(library):
    work = Mix(37)
    assert work.check(3) == 3
    there = library(2, limit=2)
    assert work.check(3) == 2 and team.joined() is not None
    team.join(None)
    there.asked.clear()
    assert work.check(3) == 3 and work.check(5) == 5
    assert there.asked == [] and team.joined() is None


def test_threads_that_call_while_the_team_changes(library):
    there = library(3)
    wrong: list[BaseException] = []

    def call(n: int) -> None:
        work = Mix(n)
        try:
            for _ in range(30):
                work.check(3)
        except BaseException as error:
            wrong.append(error)

    callers = [threading.Thread(target=call, args=(n,)) for n in (6, 37, 40)]
    known = team.joined()
    for caller in callers:
        caller.start()
    while any(caller.is_alive() for caller in callers):
        team.join(None)
        team.join(known)
    assert not wrong and there.asked


@pytest.mark.skipif(host().arch not in CONTROL, reason="which register is unknown")
def test_its_threads_round_like_the_caller_and_are_left_as_they_were(library):
    there = library(3)
    seen = np.zeros(3, np.int64)
    read = Region(np.array([step(code()["get_control"], p := words(seen.ctypes.data), 3)]))
    run(np.array([step(code()["get_control"], p, 1)]), 1)
    before = int(seen[0])
    settings = SETTINGS[host().arch]
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    get, set_ = kind(code()["get_control"]), kind(code()["set_control"])
    own, left = words(before), {}

    def first() -> None:
        if there.here.number:  # a new thread has what its maker had
            set_(own.ctypes.data, 0, 1)

    def last() -> None:
        found = words(0)
        at = words(found.ctypes.data)
        get(at.ctypes.data, 0, 1)
        left[there.here.number] = int(found[0]) & settings

    there.before, there.after = first, last
    try:
        for flags in FLAGS[host().arch]:
            control = words(before | flags)
            run(np.array([step(code()["set_control"], control, 1)]), 1)
            assert read.run(3) == 3
            assert (seen & settings == (before | flags) & settings).all()
            assert left.pop(0) == (before | flags) & settings
            assert left == dict.fromkeys((1, 2), before & settings)
    finally:
        run(np.array([step(code()["set_control"], words(before), 1)]), 1)


# Which library, and what it does about forks.


def functions(**more: Any) -> SimpleNamespace:
    return SimpleNamespace(**Library(2).functions, **more)


def test_a_library_without_the_functions():
    assert openmp(SimpleNamespace()) is None
    for name in Library(2).functions:
        there = functions()
        delattr(there, name)
        assert openmp(there) is None


def forgets(**more: Any) -> bool:
    found = openmp(functions(**more))
    assert found is not None
    return found.forget()


def test_before_a_fork():
    ended = []
    pause_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)

    @pause_type
    def pause(kind: int, device: int) -> int:
        ended.append((kind, device))
        return 0

    inside = pause_type(lambda _kind, _device: -1)
    device = NUMBER(lambda: -7)
    assert not forgets()
    assert not forgets(omp_pause_resource=pause)
    assert forgets(omp_pause_resource=pause, omp_get_initial_device=device)
    assert ended == [(2, -7)]
    assert not forgets(omp_pause_resource=inside, omp_get_initial_device=device)
    assert forgets(kmp_set_blocktime=device)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("forgets", [True, False])
def test_a_child_goes_on_if_the_library_can(library, forgets):
    there, work = library(2), Mix(37)
    assert team._openmp is not None
    team.join(team._openmp._replace(forget=lambda: forgets))
    assert work.check(2) == 2 and len(there.asked) == 1
    child = os.fork()
    if child == 0:
        try:
            right = work.check(2) == 2 and work.check(5) == 5
            joined = len(there.asked) == 3 and isinstance(team.joined(), OpenMP)
            alone = len(there.asked) == 1 and team.joined() is None
            os._exit(0 if right and (joined if forgets else alone) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert work.check(2) == 2 and len(there.asked) == 2
