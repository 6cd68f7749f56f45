"""What of the emulation can be tried without building it: no root, no network, no emulator."""

import os
import platform
import subprocess
import tomllib
from pathlib import Path

import pytest
from emulated import aarch64
from emulated.aarch64 import ROOT, Refused, Userland

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
TARGETS = """\
https://packages.example.org/apt tools main tools
http://deb.debian.org/debian/ bookworm-updates main bookworm-updates
http://deb.debian.org/debian/ bookworm main bookworm
http://deb.debian.org/debian/ bookworm contrib bookworm
"""


@pytest.fixture
def land(tmp_path: Path) -> Userland:
    made = Userland(tmp_path / "a folder")
    for name in ("python3.11", "python3.11-config", "python3"):
        path = made.root / "usr" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return made


def test_what_runs_there_is_there() -> None:
    for path in (aarch64.SMOKE, *aarch64.TESTS):
        assert (ROOT / path).exists(), path


def test_packages_are_those_of_the_project() -> None:
    wanted = aarch64.requirements(PROJECT)
    names = [word.partition(">")[0] for word in wanted]
    assert {"numpy", "llvmlite", "safetensors", "ml_dtypes", "pytest", "hypothesis"} <= set(names)
    assert not {"torch", "onnxruntime", "pytest-xdist"} & set(names)
    assert not any(name.startswith("faltung") for name in names)
    assert set(PROJECT["project"]["dependencies"]) < set(wanted)


def test_wheels_for_a_glibc() -> None:
    found = aarch64.platforms(36)
    assert found[0] == "manylinux2014_aarch64" and found[-1] == "manylinux_2_36_aarch64"
    assert "manylinux_2_28_aarch64" in found and len(found) == len(set(found)) == 21


def test_servers() -> None:
    assert aarch64.mirror_of({"ID": "debian"}, TARGETS, "bookworm") == (
        "http://deb.debian.org/debian/"
    )
    stable = "http://deb.debian.org/debian/ stable main bookworm\n"
    assert aarch64.mirror_of({"ID": "debian"}, stable, "bookworm").startswith("http://deb")
    # The servers of Ubuntu that x86-64 uses have no AArch64.
    assert "ports" in aarch64.mirror_of({"ID": "ubuntu"}, TARGETS, "noble")
    with pytest.raises(Refused, match=r"apt-get has no server for trixie: name one with --mirror$"):
        aarch64.mirror_of({"ID": "debian"}, TARGETS, "trixie")


def test_versions(land: Userland) -> None:
    assert aarch64.version(land) == "3.11"
    archives = land.folder / "apt" / "cache" / "archives"
    archives.mkdir(parents=True)
    with pytest.raises(Refused, match="no libc6"):
        aarch64.glibc(land)
    (archives / "libc6_2.36-9+deb12u13_arm64.deb").write_text("")
    assert aarch64.glibc(land) == 36


@pytest.mark.parametrize(
    ("name", "message"),
    [("python3.10", "this suite has Python 3.10: "), ("python3", "the packages hold no Python")],
)
def test_a_suite_without_a_python_for_us(tmp_path: Path, name: str, message: str) -> None:
    land = Userland(tmp_path)
    (land.root / "usr" / "bin").mkdir(parents=True)
    (land.root / "usr" / "bin" / name).write_text("")
    with pytest.raises(Refused, match=message):
        aarch64.version(land)


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    """What is built there is emptied at the next run: nothing of anybody else's may be in it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "letter").write_text("dear")
    with pytest.raises(Refused, match="holds other files"):
        aarch64.claim(Userland(tmp_path))
    assert os.listdir(tmp_path) == ["root"]
    fresh = Userland(tmp_path / "new" / "one")
    aarch64.claim(fresh)
    (fresh.folder / "root").mkdir()
    aarch64.claim(fresh)


@pytest.mark.skipif(os.name != "posix", reason="a script of the shell")
def test_the_runner(land: Userland) -> None:
    """Every argument arrives, also where the folder has a space in its name."""
    qemu = land.folder / "qemu"
    qemu.write_text('#!/bin/sh\nfor word in "$@"; do echo "<$word>"; done\n')
    qemu.chmod(0o755)
    aarch64.write_runner(land, str(qemu))
    done = subprocess.run(
        [land.python, "-c", "print('a  b')", ""], capture_output=True, text=True, check=True
    )
    inner = land.root / "usr/bin/python3.11"
    assert done.stdout == f"<-L>\n<{land.root}>\n<{inner}>\n<-c>\n<print('a  b')>\n<>\n"
    (paths,) = land.root.rglob("*.pth")
    assert paths.read_text().splitlines()[:2] == [str(land.site), str(ROOT / "src")]


def test_the_environment(land: Userland) -> None:
    outer = {"PYTHONPATH": "/x86", "PATH": "/bin", "FALTUNG_NUM_THREADS": "9", "FALTUNG_CACHE": "x"}
    found = aarch64.environment(land, outer)
    assert "PYTHONPATH" not in found and "FALTUNG_NUM_THREADS" not in found
    assert found["PATH"] == "/bin" and found["FALTUNG_TESTS_SLOWER"] == "20"
    assert found["FALTUNG_CACHE"].startswith(str(land.folder))
    assert aarch64.environment(land, {"FALTUNG_TESTS_SLOWER": "90"})["FALTUNG_TESTS_SLOWER"] == "90"


def test_processors(land: Userland) -> None:
    aarch64.become(land, "neoverse-n1")
    lines = land.cpuinfo.read_text().splitlines()
    assert sum(line.startswith("processor\t: ") for line in lines) == os.cpu_count()
    (features,) = {line for line in lines if line.startswith("Features")}
    assert {"fp", "asimd", "atomics"} <= set(features.split(": ")[1].split())
    aarch64.become(land, "unknown")
    assert land.cpuinfo.read_text() == ""


def test_other_computers(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert aarch64.main([str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert said == "aarch64.py: this processor is aarch64: run the tests on it directly\n"
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert aarch64.main([str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err.startswith("aarch64.py: apt-get is missing: ")
    assert not (tmp_path / "new").exists()


def test_a_command_that_fails() -> None:
    with pytest.raises(Refused, match=r"^false a b \.\.\.: it said nothing$"):
        aarch64.run(["false", "a", "b", "c"])
