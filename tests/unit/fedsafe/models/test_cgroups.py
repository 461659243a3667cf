"""Limits of control groups: of every level from the root to the process, both versions."""

from pathlib import Path

import pytest

from fedsafe.models.cgroups import cpu_limit, memory_limits, usable_memory

MIB = 2**20
UNIFIED, FIRST = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def group(directory: Path, names: tuple[str, str, str], total: object) -> None:
    """Write a group's files: 100 MiB used, 40 of which are file cache."""
    directory.mkdir(parents=True, exist_ok=True)
    limit, used, cache = names
    (directory / limit).write_text(f"{total}\n")
    (directory / used).write_text(f"{100 * MIB}\n")
    (directory / "memory.stat").write_text(f"anon 1\n{cache} {40 * MIB}\n")


def left(root: Path, membership: str) -> list[int]:
    """Return the MiB that each limit leaves."""
    (root / "self").write_text(membership)
    return [limit.left // MIB for limit in memory_limits(root, root / "self")]


def test_the_root_counts(tmp_path: Path) -> None:
    group(tmp_path, UNIFIED, 500 * MIB)
    assert left(tmp_path, "0::/\n") == [440]


@pytest.mark.parametrize("inner", ["unit.slice", "unit.slice/job.scope"])
def test_the_process_own_group_counts(tmp_path: Path, inner: str) -> None:
    group(tmp_path / inner, UNIFIED, 300 * MIB)
    assert left(tmp_path, "0::/unit.slice/job.scope\n") == [240]


def test_a_group_of_the_first_version_counts(tmp_path: Path) -> None:
    group(tmp_path / "memory" / "batch" / "7", FIRST, 200 * MIB)
    assert left(tmp_path, "9:cpu:/\n4:memory:/batch/7\n0::/\n") == [140]


def test_of_both_versions_at_once_the_second_may_have_a_directory_of_its_own(
    tmp_path: Path,
) -> None:
    group(tmp_path / "unified" / "job", UNIFIED, 250 * MIB)
    assert left(tmp_path, "4:memory:/\n0::/job\n") == [190]


def test_another_group_does_not_count(tmp_path: Path) -> None:
    group(tmp_path / "other", UNIFIED, 200 * MIB)
    assert left(tmp_path, "0::/mine\n") == []


@pytest.mark.parametrize("total", ["max", 9223372036854771712], ids=["second", "first"])
def test_no_limit_is_none(tmp_path: Path, total: object) -> None:
    group(tmp_path, UNIFIED if total == "max" else FIRST, total)
    assert left(tmp_path, "0::/\n") == []


def test_a_containers_path_on_its_host_leads_to_the_root_that_it_sees(tmp_path: Path) -> None:
    group(tmp_path / "memory", FIRST, 700 * MIB)
    assert left(tmp_path, "4:memory:/docker/0123abcd\n") == [640]


def test_where_nothing_is_mounted_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limits(tmp_path / "none", tmp_path / "none") == []


def test_this_machine_has_usable_memory() -> None:
    assert 2**28 < usable_memory() < 2**50


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_limit_of_processor_time(
    files: dict[str, str], found: float | None, tmp_path: Path
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cpu_limit(tmp_path, tmp_path / "self") == found
