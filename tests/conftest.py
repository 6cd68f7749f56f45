"""What every test stands on: how much is run, no network, code that is kept, the machines."""

import datetime
import importlib.util
import os
import re
import signal
import socket
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from grid import CHOSEN, EXHAUSTIVE, MACHINES, QUICK, SAMPLE
from hypothesis import settings

from faltung.jit import cache
from faltung.jit.target import host, use
from faltung.machine.table import Machine

# Folders, files and tests that take more than a tenth of a second: `pytest --durations=50` tells.
SLOW = Path(__file__).with_name("slow.txt")
# Tests of several seconds that have quicker ones beside them: of these, one in so many is run by
# default, which ones follows from the seed; with --exhaustive all are.
TURNS, ONE_IN = Path(__file__).with_name("turns.txt"), 4

ALONE = 1000  # tests up to which somebody asked for these, and gets all

# Folders of tests with the name of a package: Python would import them where that is missing.
for _name in ("dask", "onnx", "sklearn", "torch", "xarray"):
    _spec = importlib.util.find_spec(_name)
    if _spec is not None and _spec.origin is None:
        sys.modules[_name] = None  # type: ignore[assignment]  # importing it is an ImportError

# How much is run ---------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faltung", "grids of problems")
    group.addoption("--seed", type=int, help="of the sample (default: the date, as 20261231)")
    group.addoption("--exhaustive", action="store_true", help="all points of all grids")
    group.addoption("--update", action="store_true", help="write the goldens anew")
    group.addoption("--questions", default="", help="regular expression: only these goldens")
    group.addoption("--point", metavar="WORDS", help="only points whose names have these words")


@pytest.hookimpl(tryfirst=True)  # before the plug-in of hypothesis, which reads what is set here
def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if option.seed is None:
        option.seed = int(datetime.datetime.now(datetime.UTC).strftime("%Y%m%d"))
    quick = re.fullmatch(r"\s*quick\b.*", option.markexpr or "")
    CHOSEN.tier = EXHAUSTIVE if option.exhaustive else QUICK if quick else SAMPLE
    CHOSEN.seed = option.seed
    CHOSEN.words = None if option.point is None else frozenset(option.point.split())
    CHOSEN.stop = option.maxfail == 1
    settings.register_profile(
        "faltung", max_examples=CHOSEN.tier.examples, deadline=None, database=None
    )
    settings.load_profile("faltung")
    option.hypothesis_seed = str(option.seed)


@pytest.hookimpl(tryfirst=True)  # before the plug-in that shares tests out, which reads it
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs on all cores, one process each; a part of it runs here."""
    option = config.option
    if hasattr(config, "workerinput") or getattr(option, "numprocesses", 0) is not None:
        return
    alone = option.file_or_dir or option.usepdb or option.collectonly or option.capture == "no"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not alone and cores and cores > 1:
        option.numprocesses, option.dist = min(cores, 8), "worksteal"


def pytest_report_header(config: pytest.Config) -> list[str]:
    share = {QUICK: "a point or two of each", SAMPLE: "a sample", EXHAUSTIVE: "all points"}
    seen = [word for word in sorted(host().enabled) if re.match(r"sse|avx|fma|neon|sve", word)]
    return [
        f"grids: {share[CHOSEN.tier]}, --seed {CHOSEN.seed}",
        f"machines: {' '.join(MACHINES)}; this processor has {' '.join(seen)}",
        f"code kept in: {os.environ.get('FALTUNG_TESTS_CACHE') or _beside_the_users()}",
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is not slow is quick; and where points are named, nothing else is run."""
    slow = tuple(SLOW.read_text("utf-8").split())
    for item in items:
        item.add_marker(pytest.mark.slow if item.nodeid.startswith(slow) else pytest.mark.quick)
    if CHOSEN.tier is SAMPLE and len(items) > ALONE:
        turns = tuple(TURNS.read_text("utf-8").split())
        left_out = [i for i in items if i.nodeid.startswith(turns) and not _has_its_turn(i.nodeid)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    if CHOSEN.words is not None:
        found = [item for item in items if getattr(getattr(item, "obj", None), "points", 0)]
        config.hook.pytest_deselected(items=[item for item in items if item not in found])
        items[:] = found


def _has_its_turn(name: str) -> bool:
    return zlib.crc32(f"{CHOSEN.seed} {name}".encode()) % ONE_IN == 0


# What all of them need ---------------------------------------------------------------------------


class _LocalSocket(socket.socket):
    """A socket that cannot leave this computer: no test may depend on the network."""

    def __init__(self, family: int = -1, *rest: object, **named: object) -> None:
        super().__init__(family, *rest, **named)  # type: ignore[arg-type]
        if self.family != getattr(socket, "AF_UNIX", None):
            self.close()
            raise OSError("tests must not use the network")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Any socket but a local one fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", _LocalSocket)
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Interrupts arrive, here and in processes started from here, also where the tests run in the
    background of a shell, which then ignores SIGINT for all that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled code is kept from session to session, never in the folder of the user.

    Each kernel lies under its text, so that an edit of the source voids what it changes and no
    more. FALTUNG_TESTS_CACHE is another folder. Tests of the cache have an empty one of their own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FALTUNG_CACHE", os.environ.get("FALTUNG_TESTS_CACHE") or _beside_the_users())
        patch.setenv("FALTUNG_CACHE_KEY", "text")
        if "PYTHONDONTWRITEBYTECODE" in os.environ:
            # Else every process that a test starts would compile the source again.
            patch.delenv("PYTHONDONTWRITEBYTECODE")
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


def _beside_the_users() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FALTUNG_CACHE", raising=False)
        users = cache.where()
    return f"{users}-tests" if users else "off"


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """The test runs once for each of the machines that this processor can be."""
    with use(request.param) as row:
        yield row


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without the variables that steer threads and machine."""
    for name in ("FALTUNG_NUM_THREADS", "OMP_NUM_THREADS", "FALTUNG_MACHINE"):
        if name in os.environ:
            monkeypatch.delenv(name)
    return monkeypatch
