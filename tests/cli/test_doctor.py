"""`faltung doctor`: what it tells, and that it says when something is wrong."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from faltung.cli import doctor
from faltung.cli.main import main

PEAK = {"float32": {"1": 100.0, "2": 190.0}, "float64": {"1": 50.0, "2": 95.0}}


def team(count: int, *ignored: str) -> dict[str, Any]:
    return {"count": count, "from": "a variable", "cores": 2, "ignored": list(ignored)}


def well() -> dict[str, Any]:
    """A finding without a fault."""
    return {
        "self_test": "",
        "threads": team(2),
        "cache": "off: FALTUNG_CACHE=off",
        "peak": PEAK,
    }


def test_tells_everything(
    capsys: pytest.CaptureFixture[str], clean_environment: pytest.MonkeyPatch
) -> None:
    assert main(["doctor", "--json", "--quick"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert found["threads"]["count"] >= 1
    assert found["processor"]["vector_bytes"] in (16, 32, 64)
    assert {"faltung", "Python", "NumPy", "compiler"} <= set(found["versions"])
    assert "LLVM" in found["versions"]["compiler"]


def test_page_fits_a_terminal(
    capsys: pytest.CaptureFixture[str], clean_environment: pytest.MonkeyPatch
) -> None:
    assert main(["doctor", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert "All is well" in shown and "Threads" in shown
    cache = shown.partition("Compiled code on disk")
    assert max(map(len, cache[0].splitlines())) <= 80


def test_peak_is_measured() -> None:
    rates = doctor.peak(2)
    assert set(rates) == set(doctor.DTYPES)
    for rate in rates.values():
        assert rate["1"] > 0.1 and rate["2"] > 0.1


def test_no_fault_no_words() -> None:
    assert list(doctor.problems(well())) == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"self_test": "the result is wrong"}, "fails"),
        ({"threads": team(4), "peak": {}}, "4 threads"),
        ({"threads": team(2, "OMP_NUM_THREADS='two': ignored")}, "'two'"),
        ({"cache": "off: /else/where must be a folder of this user"}, "/else/where"),
        ({"peak": {"float32": {"1": 100.0, "2": 90.0}}}, "0.9 times"),
    ],
)
def test_faults_are_named(change: dict[str, Any], part: str) -> None:
    found = list(doctor.problems(well() | change))
    assert len(found) == 1
    assert part in found[0]


def test_a_folder_that_others_can_write_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("FALTUNG_CACHE", str(folder))
    assert main(["doctor", "--quick"]) == 1
    assert f"PROBLEM: compiled code is not kept on disk: {folder}" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path / "file" / "cache"))
    assert main(["doctor", "--quick"]) == 1
    assert "PROBLEM: compiled code is not kept on disk" in capsys.readouterr().out


def test_more_threads_than_cores_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import faltung
    from faltung.machine.detect import cores

    before = faltung.get_threads()
    with warnings.catch_warnings(action="ignore"):  # of set_threads
        faltung.set_threads(cores() + 1)
    try:
        assert main(["doctor", "--quick"]) == 1
    finally:
        faltung.set_threads(before)
    shown = capsys.readouterr()
    assert f"PROBLEM: {cores() + 1} threads" in shown.out
    assert shown.err == "", "said once"


def test_a_container_that_allows_less_is_said(
    monkeypatch: pytest.MonkeyPatch,
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from faltung.machine import detect, quota
    from faltung.runtime import threads

    monkeypatch.setattr(detect, "affinity", lambda: tuple(range(64)))
    monkeypatch.setattr(detect, "quota", lambda: 1.5)
    monkeypatch.setattr(quota, "quota", lambda: 1.5)
    monkeypatch.setattr(threads, "_chosen", None)
    assert main(["doctor", "--quick"]) == 0
    shown = capsys.readouterr().out
    assert "count  2, from the processor time this process may use" in shown
    assert "cores  2 of 64: a container or control group allows the time of 1.5" in shown


def test_a_mac_has_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from faltung.jit import target
    from faltung.machine.detect import describe

    mac = describe("arm64-apple-darwin23.1.0", "apple-m1", "")
    monkeypatch.setattr(target, "host", lambda: mac)
    rows = doctor._processor_rows(doctor.processor(mac))
    assert rows["machine"] == "neon, fma"
    assert rows["vectors"] == "32 of 16 bytes: 4 float32, 2 float64"
    assert (rows["target"], rows["features"]) == ("arm64-apple-darwin23.1.0 apple-m1", "neon")


def test_a_number_of_threads_that_is_none_is_a_fault(
    clean_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean_environment.setenv("OMP_NUM_THREADS", "two")
    assert main(["doctor", "--quick"]) == 1
    assert "PROBLEM: OMP_NUM_THREADS='two': ignored" in capsys.readouterr().out
