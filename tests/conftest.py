"""What every test stands on: no network, its own cache folder, the machines of the table."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest

# Every row that an x86-64 processor may be able to run, widest first.
MACHINES = ("avx512", "avx2", "sse")


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
    from faltung.jit import cache

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FALTUNG_CACHE", raising=False)
        users = cache.where()
    return f"{users}-tests" if users else "off"


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> Iterator[object]:
    """The test runs once for each of `MACHINES`; what this processor cannot run is skipped."""
    from faltung.jit.target import use

    try:
        chosen = use(request.param)
        row = chosen.__enter__()
    except ValueError as error:
        pytest.skip(str(error))
    yield row
    chosen.__exit__(None, None, None)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without the variables that steer threads and machine."""
    for name in ("FALTUNG_NUM_THREADS", "OMP_NUM_THREADS", "FALTUNG_MACHINE"):
        if name in os.environ:
            monkeypatch.delenv(name)
    return monkeypatch
