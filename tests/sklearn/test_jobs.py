"""How many threads an estimator uses."""

import threading

import pytest

pytest.importorskip("sklearn")
import joblib

from faltung.runtime import threads
from faltung.runtime.threads import get_threads, threads_to_use
from faltung.sklearn import jobs
from faltung.sklearn.jobs import jobs as block


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the limit that PyTorch sets once a test has used it in this process."""
    monkeypatch.setattr(threads, "_limit", None)


def used(n_jobs: object) -> int:
    with block(n_jobs):
        return threads_to_use()


def test_as_scikit_learn_means_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "get_threads", lambda: 4)
    expected = {None: 4, 1: 1, 3: 3, 9: 4, -1: 4, -2: 3, -9: 1}
    assert {n: used(n) for n in expected} == expected


def test_a_thread_of_joblib_has_one() -> None:
    found = joblib.Parallel(2, backend="threading")(joblib.delayed(used)(None) for _ in range(4))
    assert found == [1] * 4
    # Another thread has what it is told.
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(used(None)))
    thread.start()
    thread.join()
    assert seen == [get_threads()]
