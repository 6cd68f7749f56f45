"""Which machine kernels are written for."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from faltung.jit import target
from faltung.jit.target import check, current, host, named, runs, use
from faltung.machine.table import BASELINES, GENERIC, NAMES, NEON, ROWS, Machine

RUNNABLE = [row.name for row in ROWS if runs(row)]
FOREIGN = next(row for row in ROWS if row.arch and row.arch != host().arch)


def test_the_host_is_a_row_and_current():
    assert host().name in NAMES
    assert runs(host())
    if "FALTUNG_MACHINE" not in os.environ:
        assert current() is host()
    assert host().l1 >= 4096 and host().l2 >= host().l1 and host().cores >= 1


@pytest.mark.parametrize("name", RUNNABLE)
def test_use_and_back(name):
    before = current()
    with use(name) as machine:
        assert current() is machine
        assert machine.name == name
        assert machine.triple == host().triple
        with use("generic"):
            assert current().name == "generic"
        assert current() is machine
    assert current() is before


def test_use_ends_with_an_error_too():
    before = current()
    with pytest.raises(KeyError), use("generic"):
        raise KeyError
    assert current() is before


def test_use_of_a_row_of_ones_own():
    narrow = replace(host(), name="narrow", vector_bytes=16, masks=False)
    with use(narrow):
        assert current() is narrow


def test_use_is_for_this_thread():
    seen: list[Machine] = []
    with use("generic"):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        assert current().name == "generic"
    assert seen == [current()]


def test_the_hosts_own_name_is_the_host():
    assert named(host().name) is host()


def test_a_narrower_row_has_its_own_features_and_no_more():
    for name in RUNNABLE:
        if name != host().name:
            assert named(name).features == target.row(name).features


@pytest.mark.parametrize("bad", ["", "AVX2", "avx3", "host"])
def test_unknown_names(bad):
    with (
        pytest.raises(ValueError, match=f"^machine='{bad}': must be one of avx512, avx2, sse,"),
        use(bad),
    ):
        pass


def test_rows_that_this_processor_cannot_run():
    with pytest.raises(ValueError, match=f"written for {FOREIGN.arch}, this processor is"):
        named(FOREIGN.name)
    impossible = replace(host(), features=host().features + ",+teleport,+antigravity")
    with pytest.raises(ValueError, match=r"this processor lacks antigravity, teleport$"):
        check(impossible)


def forget() -> None:
    for cached in (host, named, runs, target._default):
        cached.cache_clear()


def test_when_llvm_knows_nothing_the_host_has_what_its_architecture_has(monkeypatch):
    triple, base = host().triple, BASELINES.get(host().arch, GENERIC)
    monkeypatch.setattr(target.llvm, "probe", lambda: (triple, "", ""))
    forget()
    try:
        assert (host().name, host().triple, host().cpu) == (base.name, triple, "generic")
        assert host().enabled == base.enabled and runs(base)
    finally:
        monkeypatch.undo()
        forget()


def in_a_process(**environment: str) -> str:
    script = (
        "from faltung.jit.target import current\n"
        "try: print(current().name)\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_environment_chooses():
    assert in_a_process(FALTUNG_MACHINE="generic") == "generic"
    assert in_a_process(FALTUNG_MACHINE=" ") == host().name
    assert in_a_process(FALTUNG_MACHINE="pdp11").startswith(
        "FALTUNG_MACHINE: machine='pdp11': must be one of avx512, "
    )
    assert in_a_process(FALTUNG_MACHINE=FOREIGN.name).startswith(
        f"FALTUNG_MACHINE: machine='{FOREIGN.name}': written for "
    )


def test_target_machines_are_kept():
    assert target.target_machine(host()) is target.target_machine(host())
    assert target.target_machine(NEON).triple.startswith("aarch64")


@pytest.mark.parametrize("name", ["nonsense", FOREIGN.name])
def test_a_wrong_name_in_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALTUNG_MACHINE", name)
    with pytest.raises(ValueError, match=r"^FALTUNG_MACHINE: machine='"):
        target._default.__wrapped__()
