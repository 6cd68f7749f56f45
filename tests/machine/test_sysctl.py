"""What macOS tells, and what is made of it, with the answers of an Apple M1 and an Intel Mac."""

import ctypes
import sys

import pytest

from faltung.cli import doctor
from faltung.machine import detect, sysctl
from faltung.machine.detect import cache_bytes, describe

M1 = {
    "hw.perflevel0.l1dcachesize": (131072).to_bytes(4, "little"),
    "hw.perflevel0.l2cachesize": (12582912).to_bytes(4, "little"),
    "hw.perflevel0.cpusperl2": (4).to_bytes(4, "little"),
    "hw.perflevel1.l1dcachesize": (65536).to_bytes(4, "little"),
    "hw.l1dcachesize": (65536).to_bytes(8, "little"),  # of an efficiency core
    "hw.l2cachesize": (4194304).to_bytes(8, "little"),
    "machdep.cpu.brand_string": b"Apple M1\0",
}
INTEL = {
    "hw.l1dcachesize": (32768).to_bytes(8, "little"),
    "hw.l2cachesize": (262144).to_bytes(8, "little"),
    "machdep.cpu.brand_string": b"Intel(R) Core(TM) i7-8569U CPU @ 2.80GHz\0",
}


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch):
    """This computer answers like a Mac: no /sys, no affinity, but sysctlbyname."""

    def become(answers: dict[str, bytes]) -> None:
        def ask(name, room, size, new, new_size):
            assert new is None and new_size.value == 0, "nothing is ever set"
            data = answers.get(name.decode())
            if data is None or len(data) > size._obj.value:
                return -1
            ctypes.memmove(room, data, len(data))
            size._obj.value = len(data)
            return 0

        monkeypatch.setattr(sysctl, "_function", lambda: ask)
        monkeypatch.setattr(detect, "_cache_of_linux", lambda level, folder: None)
        monkeypatch.setattr(detect, "affinity", lambda: ())
        monkeypatch.setattr(detect, "quota", lambda: None)
        monkeypatch.setattr("os.cpu_count", lambda: 8)

    return become


def test_an_m1(mac) -> None:
    """The caches of its fast cores, four of which share 12 MiB."""
    mac(M1)
    assert (cache_bytes(1), cache_bytes(2)) == (128 << 10, 3 << 20)
    found = describe("arm64-apple-darwin23.1.0", "apple-m1", "")
    assert (found.name, found.cpu, found.arch) == ("neon", "apple-m1", "aarch64")
    assert (found.fma, found.registers, found.vector_bytes) == (True, 32, 16)
    assert (found.l1, found.l2, found.cores) == (128 << 10, 3 << 20, 8)


def test_an_intel_mac(mac) -> None:
    mac(INTEL)
    assert (cache_bytes(1), cache_bytes(2)) == (32 << 10, 256 << 10)


@pytest.mark.parametrize("size", [b"", b"\0" * 4, b"\xff" * 4, b"\1" * 3, b"\xff" * 7 + b"\x7f"])
def test_what_cannot_be_a_cache_is_not_believed(mac, size: bytes) -> None:
    mac({"hw.l1dcachesize": size, "hw.l2cachesize": size, "hw.cpusperl2": b"\0" * 4})
    assert (cache_bytes(1), cache_bytes(2)) == (None, None)


def test_texts(mac) -> None:
    mac(M1)
    assert sysctl.text("machdep.cpu.brand_string") == "Apple M1"
    assert sysctl.text("machdep.cpu.nonsense") == ""
    assert sysctl.number("machdep.cpu.nonsense") is None


def test_doctor_names_the_processor(mac, monkeypatch: pytest.MonkeyPatch) -> None:
    mac(M1)
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_: (_ for _ in ()).throw(OSError))
    assert doctor._processor_name() == "Apple M1"


@pytest.mark.skipif(sys.platform == "darwin", reason="this is macOS")
def test_elsewhere_nothing_is_asked() -> None:
    assert (sysctl.number("hw.l1dcachesize"), sysctl.text("hw.model")) == (None, "")


@pytest.mark.skipif(sys.platform != "darwin", reason="asks macOS")
def test_macos_answers() -> None:
    assert (sysctl.number("hw.ncpu") or 0) >= 1
    assert sysctl.text("hw.model") != ""
    assert (cache_bytes(1) or 0) >= 16 << 10


@pytest.mark.parametrize("error", [AttributeError, OSError])
def test_a_library_without_it(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def broken(_name: None) -> None:
        raise error

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", broken)
    assert sysctl.number("hw.l1dcachesize") is None
