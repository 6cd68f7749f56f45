"""Tests on an emulated AArch64 processor: `python tests/emulated/aarch64.py FOLDER`.

Builds an AArch64 userland in FOLDER and runs Faltung in it, on x86-64 Debian or Ubuntu. README.md
here says what it needs and does. Standard library only.
"""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

START = time.monotonic()
ROOT = Path(__file__).resolve().parents[2]
SMOKE = Path("tests/emulated/smoke.py")
TESTS = ["tests/jit", "tests/machine", "tests/runtime"]

# What is needed of the extra `test`, beside what the package itself and training need.
FOR_TESTS = ("hypothesis", "pytest")
EXTRAS = ("train", "bfloat16")
PACKAGES = ("python3", "libstdc++6")
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
EMULATOR_PACKAGE = "qemu-user-static"
OLDEST = (3, 11)

# Ubuntu has its AArch64 packages on a server of their own; that of Debian has them all.
PORTS = {"ubuntu": "http://ports.ubuntu.com/ubuntu-ports"}

# What Linux tells about one processor, as LLVM reads it: an Arm Neoverse N1. Without such a file
# it finds that of the computer below, which says nothing about AArch64, as on macOS.
NEOVERSE_N1 = """\
processor\t: {number}
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc \
dcpop asimddp ssbs
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""
PROCESSORS = {"unknown": "", "neoverse-n1": NEOVERSE_N1}


class Refused(Exception):
    """What is missing, in one line."""


@dataclass(frozen=True)
class Userland:
    """Where everything is. The folder may be moved or removed as a whole."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def python(self) -> Path:
        return self.folder / "python"

    @property
    def mark(self) -> Path:
        """Says that the folder is one of these, and of what, once it is complete."""
        return self.folder / "userland.json"

    @property
    def cpuinfo(self) -> Path:
        """Seen by the emulated programs instead of the file of this name without ``root``."""
        return self.root / "proc" / "cpuinfo"


def say(text: str) -> None:
    print(f"[{time.monotonic() - START:.0f} s] {text}", flush=True)


def run(words: Sequence[object], **more: object) -> subprocess.CompletedProcess[str]:
    """A command that must succeed; Refused with the end of what it said, if it does not."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, **more)  # type: ignore[call-overload]
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise Refused(f"{shlex.join(map(str, words[:3]))} ...: {said[-1]}")
    return done


# The system that this runs on ---------------------------------------------------------------------


def check_system() -> None:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise Refused(f"this processor is {platform.machine()}: run the tests on it directly")
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Refused(f"{tool} is missing: this needs Debian or Ubuntu")


def release() -> dict[str, str]:
    """The names and values of /etc/os-release."""
    return dict(
        (name, value)
        for line in Path("/etc/os-release").read_text().splitlines()
        for name, _, value in [line.partition("=")]
        for value in shlex.split(value)[:1]
    )


def mirror_of(system: Mapping[str, str], targets: str, suite: str) -> str:
    """Where the AArch64 packages are. targets: lines "server suite component codename"."""
    if system["ID"] in PORTS:
        return PORTS[system["ID"]]
    for line in targets.splitlines():
        server, *names = line.split()
        if suite in names and "main" in names:
            return server
    raise Refused(f"apt-get has no server for {suite}: name one with --mirror")


def emulator() -> str:
    """The path of QEMU; installed where it is missing."""
    for name in EMULATORS * 2:
        found = shutil.which(name)
        if found is not None:
            return found
        if name == EMULATORS[-1]:
            if os.geteuid() != 0:
                raise Refused(f"run this as root, or install {EMULATOR_PACKAGE} first")
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            run(["apt-get", "update", "-qq"])
            words = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
            run([*words, EMULATOR_PACKAGE], env=quiet)
    raise Refused(f"{EMULATOR_PACKAGE} has no {' or '.join(EMULATORS)}")


# The userland -------------------------------------------------------------------------------------


def requirements(project: Mapping[str, object]) -> list[str]:
    """What is installed from PyPI, as pyproject.toml names it."""
    table: dict = project["project"]  # type: ignore[type-arg, assignment]
    extras = table["optional-dependencies"]
    tests = [word for word in extras["test"] if re.match(r"[\w-]+", word)[0] in FOR_TESTS]  # type: ignore[index]
    return [*table["dependencies"], *(word for name in EXTRAS for word in extras[name]), *tests]


def platforms(minor: int) -> list[str]:
    """Wheels that a system with glibc 2.``minor`` can use."""
    return ["manylinux2014_aarch64", *(f"manylinux_2_{n}_aarch64" for n in range(17, minor + 1))]


def unpack(land: Userland, mirror: str, suite: str, keys: Path) -> None:
    """Debian's or Ubuntu's own AArch64 packages, chosen by apt with a state of its own: the
    architectures and packages of this system stay as they are.
    """
    state = land.folder / "apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").write_text("")
    signed = f" signed-by={keys}" if keys.exists() else ""
    (state / "sources.list").write_text(f"deb [arch=arm64{signed}] {mirror} {suite} main\n")
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "-",
    }
    apt = ["apt-get", *(word for item in options.items() for word in ("-o", "{}={}".format(*item)))]
    run([*apt, "update", "-qq"])
    run([*apt, "install", "-y", "-qq", "--download-only", *PACKAGES])
    for name in ("bin", "lib", "sbin"):  # as on every system today; packages rely on it
        (land.root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (land.root / name).is_symlink():
            (land.root / name).symlink_to(f"usr/{name}")
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        run(["dpkg-deb", "-x", package, land.root])


def version(land: Userland) -> str:
    """Of the unpacked Python, as "3.11"."""
    names = [path.name for path in (land.root / "usr" / "bin").glob("python3.*")]
    found = [name.removeprefix("python") for name in names if re.fullmatch(r"python3\.\d+", name)]
    if not found:
        raise Refused("the packages hold no Python")
    if tuple(map(int, found[0].split("."))) < OLDEST:
        raise Refused(f"this suite has Python {found[0]}: name one with 3.11 or later by --suite")
    return found[0]


def glibc(land: Userland) -> int:
    """The 36 of libc6_2.36-9_arm64.deb."""
    for package in (land.folder / "apt" / "cache" / "archives").glob("libc6_2.*.deb"):
        return int(re.split(r"\D+", package.name.removeprefix("libc6_2."))[0])
    raise Refused("the packages hold no libc6")


def install(land: Userland, wanted: Sequence[str]) -> None:
    """Wheels from PyPI, fetched by this Python's pip for the other."""
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--upgrade"]
    words += ["--disable-pip-version-check", "--root-user-action=ignore", "--only-binary=:all:"]
    words += ["--implementation", "cp", "--python-version", version(land), "--target"]
    kinds = [f"--platform={kind}" for kind in platforms(glibc(land))]
    run([*words, land.site, *kinds, *wanted])


def write_runner(land: Userland, qemu: str) -> None:
    """``python`` in the folder: the emulated interpreter, as a command."""
    inner = land.root / "usr" / "bin" / f"python{version(land)}"
    words = shlex.join([qemu, "-L", str(land.root), str(inner)])
    land.python.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    land.python.chmod(0o755)
    # Read at every start, also by `python -I`. Processes that are started as sys.executable shall
    # be emulated too, and nothing of the system below shall have to know about that.
    lines = [str(land.site), str(ROOT / "src")]
    lines += [f"import sys; sys.executable = sys._base_executable = {str(land.python)!r}"]
    place = land.root / "usr" / "lib" / "python3" / "dist-packages"
    place.mkdir(parents=True, exist_ok=True)
    (place / "faltung-emulated.pth").write_text("\n".join(lines) + "\n")


def claim(land: Userland) -> None:
    """Take a new or empty folder, or one that was taken before: it will be emptied."""
    land.folder.mkdir(parents=True, exist_ok=True)
    if not land.mark.exists():
        if any(land.folder.iterdir()):
            raise Refused(f"{land.folder} holds other files: name a new folder, or an empty one")
        land.mark.write_text("")


def build(land: Userland, mirror: str | None, suite: str | None) -> None:
    """All of it, unless it is there: what was asked for is written down when it is complete."""
    system = release()
    suite = suite or system.get("VERSION_CODENAME", "")
    if not suite:
        raise Refused("/etc/os-release names no suite: name one with --suite")
    if mirror is None:
        targets = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(CODENAME)"
        listed = run(["apt-get", "indextargets", "--format", targets, "Created-By: Packages"])
        mirror = mirror_of(system, listed.stdout, suite)
    qemu = emulator()
    wanted = requirements(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8")))
    asked = json.dumps({"mirror": mirror, "suite": suite, "wheels": wanted, "format": 1})
    claim(land)
    if land.mark.read_text() != asked:
        land.mark.write_text("")
        for part in (land.root, land.site, land.folder / "apt"):
            shutil.rmtree(part, ignore_errors=True)
        say(f"packages of {suite} from {mirror}")
        keys = Path(f"/usr/share/keyrings/{system['ID']}-archive-keyring.gpg")
        unpack(land, mirror, suite, keys)
        say(f"Python {version(land)}; wheels from PyPI")
        install(land, wanted)
        land.mark.write_text(asked)
    write_runner(land, qemu)
    say(f"{land.python} is ready")


# What runs in it ----------------------------------------------------------------------------------


def environment(land: Userland, outer: Mapping[str, str]) -> dict[str, str]:
    """Of the emulated processes: nothing of the Python here, and longer limits of time."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "FALTUNG_MACHINE", "FALTUNG_NUM_THREADS")
    kept = {name: value for name, value in outer.items() if name not in dropped}
    return {
        "FALTUNG_TESTS_SLOWER": "20",
        **kept,
        "FALTUNG_CACHE": str(land.folder / "kernels"),
        "FALTUNG_TESTS_CACHE": str(land.folder / "kernels-of-tests"),
    }


def become(land: Userland, processor: str) -> None:
    """Let LLVM see one of PROCESSORS."""
    text = PROCESSORS[processor]
    land.cpuinfo.parent.mkdir(parents=True, exist_ok=True)
    if text:
        count = os.cpu_count() or 1
        land.cpuinfo.write_text("".join(text.format(number=number) for number in range(count)))
    else:
        land.cpuinfo.write_text("")  # neither QEMU's own answer, nor that of this computer


def emulated(land: Userland, words: Sequence[str]) -> bool:
    """Whether the emulated Python ends well with these arguments."""
    inner = environment(land, os.environ)
    done = subprocess.run([str(land.python), *words], cwd=ROOT, env=inner, check=False)
    return done.returncode == 0


def main(words: Sequence[str] | None = None) -> int:
    """Build, try, test: 0 if all is well, 1 if something is wrong, 2 if it could not be tried."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--mirror", help="server of Debian or Ubuntu packages for arm64")
    parser.add_argument("--suite", help="release, such as bookworm (default: that of this system)")
    parser.add_argument(
        "--processor", choices=PROCESSORS, default="unknown", help="for pytest (default: unknown)"
    )
    parser.add_argument("--no-smoke", action="store_true", help="pytest alone")
    parser.add_argument("folder", type=Path, help="for the userland: 500 MB, kept for the next run")
    parser.add_argument(
        "pytest", nargs=argparse.REMAINDER, help=f"its arguments (default: {' '.join(TESTS)})"
    )
    given = parser.parse_args(words)
    land = Userland(given.folder.absolute())
    try:
        check_system()
        build(land, given.mirror, given.suite)
    except (Refused, OSError) as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        return 2
    well = True
    if not given.no_smoke:
        for processor in PROCESSORS:
            say(f"smoke test, processor {processor}")
            become(land, processor)
            well &= emulated(land, ["-W", "ignore", str(SMOKE)])
    become(land, given.processor)
    chosen = given.pytest or TESTS
    say(f"pytest {shlex.join(chosen)}, processor {given.processor}")
    well &= emulated(land, ["-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen])
    say("all is well" if well else "something is wrong")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
