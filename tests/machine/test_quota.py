"""The processor time that a container allows, as the manual pages of control groups describe it."""

from pathlib import Path

import pytest

from faltung.machine import detect
from faltung.machine.quota import quota

OTHERS = (
    "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "30 23 0:25 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
    "34 23 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)


@pytest.fixture
def system(tmp_path: Path):
    """Write what a system tells; what is made of it."""

    def make(groups: str, mounts: str, **files: str) -> float | None:
        proc = tmp_path / "proc"
        proc.mkdir()
        (proc / "cgroup").write_text(groups)
        (proc / "mountinfo").write_text(OTHERS + mounts)
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return quota(proc, tmp_path)

    return make


def version_2(top: str = "/") -> str:
    return f"31 23 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate\n"


def version_1(top: str = "/") -> str:
    place = "/sys/fs/cgroup/cpu,cpuacct"
    return f"33 23 0:29 {top} {place} rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2.0),
        ("50000 100000\n", 0.5),
        ("150000 100000\n", 1.5),
        ("max 100000\n", None),
        ("0 100000\n", None),
        ("200000 0\n", None),
        ("200000\n", None),
        ("", None),
        ("two cores\n", None),
    ],
)
def test_a_container_of_version_2(system, text: str, cores: float | None) -> None:
    """It sees itself as the top: the path of its group is /."""
    assert system("0::/\n", version_2(), **{"cpu.max": text}) == cores


def test_the_least_of_all_groups_around(system) -> None:
    files = {
        "a.slice/cpu.max": "300000 100000",
        "a.slice/b.scope/cpu.max": "max 100000",
        "a.slice/b.scope/c/cpu.max": "800000 100000",
        "other/cpu.max": "100000 100000",
    }
    assert system("0::/a.slice/b.scope/c\n", version_2(), **files) == 3.0


def test_a_part_of_the_tree_is_mounted(system) -> None:
    """The path is that of the host, and the container sees its own group on top."""
    files = {"cpu.max": "250000 100000", "docker/cpu.max": "100000 100000"}
    assert system("0::/docker/4f\n", version_2("/docker/4f"), **files) == 2.5


def test_a_process_outside_the_mounted_part(system) -> None:
    files = {"cpu.max": "250000 100000"}
    assert system("0::/../elsewhere\n", version_2(), **files) == 2.5


def test_version_1(system) -> None:
    groups = "9:cpuset:/x\n4:cpu,cpuacct:/docker/4f\n0::/\n"
    files = {
        "cpu,cpuacct/docker/4f/cpu.cfs_quota_us": "200000\n",
        "cpu,cpuacct/docker/4f/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    assert system(groups, version_1(), **files) == 2.0


def test_no_limit_of_version_1(system) -> None:
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    assert system("4:cpu,cpuacct:/\n", version_1(), **files) is None


@pytest.mark.parametrize("groups", ["", "\n", "nonsense", "0:", "::::", "0::/\x00", "\xff"])
@pytest.mark.parametrize("mounts", ["", "1 2 3", "a b c d e - cgroup2 x y", version_2() * 2])
def test_nonsense_is_no_limit(system, groups: str, mounts: str) -> None:
    assert system(groups, mounts) is None


def test_other_systems_have_none(tmp_path: Path) -> None:
    assert quota(tmp_path / "nowhere", tmp_path) is None


def test_here_it_is_a_number_or_none() -> None:
    found = quota()
    assert found is None or found > 0


@pytest.mark.parametrize(
    ("limit", "cores"),
    [(None, 64), (2.0, 2), (1.5, 2), (0.1, 1), (64.0, 64), (100.0, 64), (1e-9, 1)],
)
def test_cores_are_those_that_can_be_kept_busy(monkeypatch, limit, cores: int) -> None:
    monkeypatch.setattr(detect, "affinity", lambda: tuple(range(64)))
    monkeypatch.setattr(detect, "quota", lambda: limit)
    assert detect.cores() == cores
    assert detect.processors() == 64
