"""How many threads: what is asked for, the environment, the cores."""

import os

import numpy as np
import pytest
from runtime.work import Held

from faltung.machine.detect import affinity, cores
from faltung.runtime import threads
from faltung.runtime.threads import default_threads, get_threads, set_threads


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(threads, "_chosen", None)


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
    assert len(os.sched_getaffinity(0)) == cores()
