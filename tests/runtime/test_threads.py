"""How many threads: what is asked for, the environment, the cores."""

import os

import numpy as np
import pytest
from runtime.work import Held

from faltung.machine.detect import affinity, cores, processors
from faltung.runtime import threads
from faltung.runtime.threads import (
    default_threads,
    get_threads,
    set_threads,
    source,
    threads_to_use,
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(threads, "_chosen", None)
    monkeypatch.setattr(threads, "_weighed", False)
    monkeypatch.setattr(threads, "_warned", True)  # whoever tests the warning says otherwise


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(threads, "_warned", False)
    monkeypatch.setattr(threads, "cores", lambda: 2)


def test_set_and_get():
    for n in (1, 3, 1024, np.int64(2)):
        set_threads(n)
        assert get_threads() == n
        assert type(get_threads()) is int


@pytest.mark.parametrize("n", ["x", "2", 2.0, True, None, [2], np.float32(2), np.bool_(True)])
def test_wrong_type(n):
    set_threads(2)
    with pytest.raises(TypeError, match=r"^n=.*: the number of threads must be an integer$"):
        set_threads(n)
    assert get_threads() == 2


@pytest.mark.parametrize("n", [0, -1, 1025, 10**30, -(10**30)])
def test_wrong_value(n):
    set_threads(2)
    with pytest.raises(ValueError, match=rf"^n={n}: the number of threads must be from 1 to 1024$"):
        set_threads(n)
    assert get_threads() == 2


def test_set_while_another_thread_works():
    with Held(2) as held:
        set_threads(7)
        assert get_threads() == 7
    assert held.used == 2


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, cores()),
        ({"FALTUNG_NUM_THREADS": "4"}, 4),
        ({"OMP_NUM_THREADS": "4"}, 4),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": " 4 , 2"}, 4),
        ({"FALTUNG_NUM_THREADS": "3", "OMP_NUM_THREADS": "4"}, 3),
        ({"FALTUNG_NUM_THREADS": "", "OMP_NUM_THREADS": "4"}, 4),
        ({"FALTUNG_NUM_THREADS": " ", "OMP_NUM_THREADS": ""}, cores()),
        ({"FALTUNG_NUM_THREADS": "1024"}, 1024),
    ],
)
def test_environment(environ, expected, recwarn):
    assert default_threads(environ) == expected
    assert not recwarn.list


@pytest.mark.parametrize(
    "text", ["many", "0", "-1", "2.5", "1_0", "+4", "٤", "1025", "9" * 5000, ",4"]
)
def test_nonsense_in_the_environment(text):
    with pytest.warns(RuntimeWarning, match="FALTUNG_NUM_THREADS=.*: ignored"):
        assert default_threads({"FALTUNG_NUM_THREADS": text, "OMP_NUM_THREADS": "6"}) == 6
    with pytest.warns(RuntimeWarning, match="OMP_NUM_THREADS=.*: ignored"):
        assert default_threads({"OMP_NUM_THREADS": text}) == cores()


def test_the_variable_that_decides():
    assert source({}) == source({"FALTUNG_NUM_THREADS": " ", "OMP_NUM_THREADS": "two"}) == ""
    assert source({"FALTUNG_NUM_THREADS": "3", "OMP_NUM_THREADS": "4"}) == "FALTUNG_NUM_THREADS=3"
    assert source({"FALTUNG_NUM_THREADS": "x", "OMP_NUM_THREADS": "4,2"}) == "OMP_NUM_THREADS=4,2"


TAKE_TURNS = r"64 threads on 2 cores take turns, .*; use at most 2$"


def test_more_threads_than_cores_are_said_once(two_cores, recwarn):
    set_threads(2)
    threads_to_use()
    assert not recwarn.list
    with pytest.warns(RuntimeWarning, match="^" + TAKE_TURNS) as seen:
        set_threads(64)
    assert len(seen) == 1 and "\n" not in str(seen[0].message)
    assert seen[0].filename == __file__
    set_threads(65)
    assert threads_to_use() == get_threads() == 65
    assert not recwarn.list


def test_more_threads_than_cores_in_the_environment(two_cores, clean_environment, recwarn):
    """Said when work begins, not to those who only ask for the number; and which variable it is."""
    clean_environment.setenv("OMP_NUM_THREADS", "64")
    assert get_threads() == 64 and not recwarn.list
    with pytest.warns(RuntimeWarning, match="^OMP_NUM_THREADS=64: " + TAKE_TURNS):
        assert threads_to_use() == 64
    assert threads_to_use() == 64 and not recwarn.list


def test_a_convolution_says_it(script):
    text = """
import warnings
import numpy as np, faltung
x, w = np.ones((2, 16, 64, 64), np.float32), np.ones((16, 16, 3, 3), np.float32)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(3):
        faltung.conv(x, w)
        faltung.set_threads(faltung.get_threads() + 1)
print(*(one.message for one in seen), sep="\\n")
"""
    n = cores() + 1
    said = script(text, FALTUNG_NUM_THREADS=str(n)).splitlines()
    assert len(said) == 1 and said[0].startswith(f"FALTUNG_NUM_THREADS={n}: {n} threads on ")


def test_environment_of_a_process(script):
    text = "from faltung.runtime.threads import get_threads\nprint(get_threads())"
    assert script(text, FALTUNG_NUM_THREADS="3", OMP_NUM_THREADS="5") == "3\n"
    assert script(text, FALTUNG_NUM_THREADS="", OMP_NUM_THREADS="5") == "5\n"


@pytest.mark.skipif(not affinity(), reason="the system does not tell the affinity")
def test_affinity(script):
    text = f"""
import os
os.sched_setaffinity(0, [{affinity()[0]}])
from faltung.runtime.threads import get_threads
assert get_threads() == 1
work = Mix(37, 30)
for _ in range(300):
    assert work.check(2) == 2  # two threads on one core: slow, and right
"""
    script(text, FALTUNG_NUM_THREADS="", OMP_NUM_THREADS="")
    assert len(os.sched_getaffinity(0)) == processors()
