"""Beside PyTorch: the same threads for both, as many as it uses, and children that go on."""

import ctypes
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from limits import limit
from runtime.conftest import no_hanging, script  # noqa: F401
from runtime.work import Mix, code, step, words
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import faltung.torch
from faltung.runtime import team
from faltung.runtime import threads as setting
from faltung.runtime.team import Region
from faltung.torch import threads as of_torch
from faltung.torch.threads import found, join, threads

needs_openmp = pytest.mark.skipif(
    found() is None, reason="PyTorch uses no OpenMP library that is known"
)


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch and Faltung with two threads each, joined; afterwards all as it was."""
    before, number = team.joined(), torch.get_num_threads()
    monkeypatch.setattr(setting, "_chosen", 2)
    monkeypatch.setattr(setting, "_warned", True)  # that they are more than the cores
    monkeypatch.setattr(setting, "_limit", torch.get_num_threads)
    torch.set_num_threads(2)
    team.join(found())
    yield
    torch.set_num_threads(number)
    team.join(before)


def theirs() -> Any:
    """A convolution of PyTorch that is large enough for all its threads."""
    with torch.no_grad():
        return F.conv2d(torch.ones(1, 64, 28, 28), torch.ones(64, 64, 3, 3), padding=1)


RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 16, 29, 31), dtype=np.float32)
W = RNG.standard_normal((32, 16, 3, 3), dtype=np.float32)


def ours() -> bytes:
    y = faltung.conv2d(X, W, padding="same")
    return y.tobytes() + faltung.conv_weight_grad(X, y, W.shape, padding="same").tobytes()


# The number of threads.


def test_the_smaller_number_counts():
    for of_pytorch in (1, 2, 3, 5):
        torch.set_num_threads(of_pytorch)
        for own in (1, 2, 4):
            faltung.set_threads(own)
            assert threads() == min(of_pytorch, own)
            assert faltung.get_threads() == own


def taking_part(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """How many threads the regions had that ``work`` ran."""
    seen = set()
    assert Mix(8).check(1) == 1 and team._team is not None
    launch = team._team.launch

    def spy(*arguments: int) -> int:
        used = launch(*arguments)
        seen.add(used)
        return used

    with monkeypatch.context() as patch:
        patch.setattr(team._team, "launch", spy)
        work()
    return seen


def test_set_num_threads_is_followed(monkeypatch):
    assert 2 in taking_part(ours, monkeypatch)
    torch.set_num_threads(1)
    assert taking_part(ours, monkeypatch) == {1}
    seen: set[int] = set()
    thread = threading.Thread(target=lambda: seen.update(taking_part(ours, monkeypatch)))
    thread.start()  # the number is that of the process, though each thread has its own inside
    thread.join()
    assert seen == {1}
    torch.set_num_threads(2)
    assert 2 in taking_part(ours, monkeypatch)


def test_a_compiled_model_follows_too(monkeypatch):
    model = torch.nn.Sequential(torch.nn.Conv2d(64, 64, 3), torch.nn.ReLU())
    fast, x, results = faltung.torch.compile(model), torch.ones(4, 64, 28, 28), []

    def step() -> None:
        model.zero_grad()
        y = fast(x)
        y.square().sum().backward()
        results.append([y.detach(), *(p.grad for p in model.parameters())])

    step()
    for number in (2, 1, 3):
        torch.set_num_threads(number)
        faltung.set_threads(number)
        assert taking_part(step, monkeypatch) >= {number}
    first, *others = results
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_the_same_bits():
    results = set()
    for of_pytorch in (1, 2, 3):
        torch.set_num_threads(of_pytorch)
        for own in (1, 2, 3):
            faltung.set_threads(own)
            for openmp in (found(), None):
                team.join(openmp)
                theirs()
                results.add(ours())
    assert len(results) == 1


# Whose threads.


@needs_openmp
def test_joining_twice_is_joining_once():
    assert join() and join()
    assert team.joined() is not None


@needs_openmp
def test_their_worker_does_our_work():
    seen: list[int] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    def who(_params: int, _begin: int, _end: int) -> None:
        seen.append(threading.get_native_id())

    region = Region(np.array([step(ctypes.cast(who, ctypes.c_void_p).value or 0, 0, 2)]))
    theirs()
    pairs = set()
    for _ in range(20):
        seen.clear()
        assert region.run(2) == 2
        pairs.add(frozenset(seen))
        theirs()
    (pair,) = pairs
    assert len(pair) == 2 and threading.get_native_id() in pair


@needs_openmp
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads by /proc")
def test_no_thread_is_added():
    work = Mix(37)
    theirs()
    before = set(os.listdir("/proc/self/task"))
    for _ in range(50):
        assert work.check(2) == 2
        theirs()
    assert set(os.listdir("/proc/self/task")) <= before


def test_a_call_costs_little():
    count = np.zeros(2, np.int64)
    region = Region(np.array([step(code()["touch"], kept := words(count.ctypes.data), 2)]))
    best = 1.0
    for _ in range(50):
        begin = time.perf_counter()
        for _ in range(20):
            region.run(2)
        best = min(best, (time.perf_counter() - begin) / 20)
    assert best < 50e-6, kept


def test_ten_threads_at_once():
    expected, of_theirs, wrong = ours(), theirs(), []

    def call() -> None:
        try:
            for _ in range(10):
                assert ours() == expected
                assert torch.equal(theirs(), of_theirs)
        except BaseException as error:
            wrong.append(error)

    callers = [threading.Thread(target=call) for _ in range(10)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_within_gradients():
    expected, seen = ours(), []

    def hook(grad: Any) -> Any:
        seen.append(ours())
        return grad

    def part(x: Any) -> Any:
        seen.append(ours())
        y = F.conv2d(x, torch.ones(64, 64, 3, 3), padding=1)
        if y.requires_grad:
            y.register_hook(hook)
        return y

    x = torch.ones(1, 64, 28, 28, requires_grad=True)
    part(x).sum().backward()
    for reentrant in (False, True):
        checkpoint(part, x, use_reentrant=reentrant).sum().backward()
    assert len(seen) >= 7 and set(seen) == {expected}


def test_inside_a_parallel_region_of_theirs():
    # As many threads as the region has, each of which is granted one.
    openmp = found()
    assert openmp is not None
    work = [Mix(37) for _ in range(2)]
    used, turn = [], iter(range(2))

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def body(_data: int) -> None:
        used.append(work[next(turn)].check(2))

    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    kind(openmp.parallel)(ctypes.cast(body, ctypes.c_void_p), None, 2, 0)
    assert used == [1, 1]


# Children, workers, and the end.

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# Newer Pythons warn about every fork beside threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def both() -> tuple[bytes, ...]:
    first = theirs().numpy().tobytes()
    assert Mix(37).check(2) in (1, 2)
    return first, ours(), theirs().numpy().tobytes()


def child(task: Callable[[], object]) -> None:
    """Do ``task`` in a child, which ends if it hangs."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(int(limit(20)))
            task()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


@needs_fork
@needs_openmp
def test_fork():
    """Also PyTorch's own operations go on in the child, where they otherwise wait for ever."""
    expected, before = both(), team.joined()

    def task() -> None:
        assert both() == expected
        assert Mix(37).check(2) == torch.get_num_threads() == threads() == 2
        assert team.joined() is before

    def parent() -> None:
        child(task)
        task()
        child(task)

    child(task)
    child(parent)
    task()
    wrong: list[BaseException] = []

    def elsewhere() -> None:
        try:
            task()
            parent()
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not wrong
    task()


@needs_fork
def test_fork_while_another_thread_computes():
    expected, ending, wrong = both(), threading.Event(), []

    def turn() -> None:
        while not ending.is_set():
            if both() != expected:
                wrong.append("bits")

    def task() -> None:
        assert both() == expected

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        for _ in range(5):
            child(task)
    finally:
        ending.set()
        thread.join()
    assert not wrong
    task()


class Pictures:
    """What a worker computes with both, and with how many threads."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[Any, int]:
        y = faltung.conv2d(X[0] * index, W)
        return F.conv2d(torch.from_numpy(y), torch.ones(1, 32, 3, 3)), threads()


@needs_fork
def test_workers_of_a_loader():
    expected = both()
    whole = [picture for picture, _ in (Pictures()[index] for index in range(16))]
    for _ in range(2):
        loader = torch.utils.data.DataLoader(
            Pictures(), 4, num_workers=2, multiprocessing_context="fork", timeout=int(limit(60))
        )
        seen = []
        for pictures, number in loader:
            seen += list(pictures)
            assert number.tolist() == [1] * 4, "PyTorch gives a worker one thread"
            assert both() == expected
        assert all(torch.equal(a, b) for a, b in zip(seen, whole, strict=True))


ENDINGS = {
    "work at exit": "both(); import atexit; atexit.register(both)",
    # Ours alone: PyTorch's own call would end the process with an error, with us or without.
    "calls of a thread": "import threading, time\nboth()\n"
    "threading.Thread(target=lambda: [work.check(2) for _ in range(10**9)], daemon=True).start()\n"
    "time.sleep(0.1)",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_exit(ending, script):  # noqa: F811
    text = """
import torch
from faltung.torch.threads import join
join()
torch.set_num_threads(2)
work, a, b = Mix(37), torch.ones(1, 64, 28, 28), torch.ones(64, 64, 3, 3)
def both():
    torch.conv2d(a, b, padding=1)
    work.check(2)
    torch.conv2d(a, b, padding=1)
"""
    script(text + ENDINGS[ending], seconds=120)


def test_a_pytorch_without_openmp(monkeypatch):
    """The number of threads is followed all the same."""
    monkeypatch.setattr(of_torch, "_libraries", lambda: iter([object()]))
    monkeypatch.setattr(of_torch, "_joined", [])
    monkeypatch.setattr(setting, "_limit", None)
    assert not join() and team.joined() is None
    torch.set_num_threads(1)
    assert threads() == 1
    assert Mix(37).check(2) == 2
