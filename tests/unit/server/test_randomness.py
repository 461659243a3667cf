"""The server's random draws: from the seed in one process, from a secret on separate machines."""

import stat
from pathlib import Path

import pytest

from fedsafe.errors import ConfigError, RunError
from fedsafe.runs.layout import RunFile
from fedsafe.runs.store import Store
from server.randomness import Draws


def test_one_process_draws_from_the_seed(tmp_path: Path) -> None:
    draws = Draws.of(7)
    assert (draws.cohorts, draws.rules) == (7, None)


def test_separate_machines_draw_what_no_seed_tells(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (Draws.of(7, Store(tmp_path / name)) for name in "ab")
    assert len({one.cohorts, other.cohorts, 7}) == 3
    assert len({one.rules, other.rules, None}) == 3


def test_restart_draws_the_same(tmp_path: Path) -> None:
    assert Draws.of(7, Store(tmp_path)) == Draws.of(7, Store(tmp_path))


def test_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    Draws.of(7, Store(tmp_path))
    assert stat.S_IMODE((tmp_path / RunFile.RANDOMNESS).stat().st_mode) == 0o600


def test_file_of_an_earlier_run_repeats_it(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = Draws.of(7, Store(tmp_path / "a"))
    assert Draws.of(7, Store(tmp_path / "b"), tmp_path / "a" / RunFile.RANDOMNESS) == first


def test_draws_do_not_show_themselves(tmp_path: Path) -> None:
    draws = Draws.of(7, Store(tmp_path))
    assert str(draws.cohorts) not in f"{draws} {draws!r}"


def test_other_file_than_the_run_began_with_is_a_sentence(tmp_path: Path) -> None:
    Draws.of(7, Store(tmp_path))
    other = tmp_path / "other"
    other.write_bytes(b"x" * 32)
    with pytest.raises(RunError, match="began with other randomness than that in"):
        Draws.of(7, Store(tmp_path), other)


@pytest.mark.parametrize("size", [0, 15, 4097])
def test_file_of_another_size_is_a_sentence(size: int, tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(b"x" * size)
    with pytest.raises(ConfigError, match="must hold 16 to 4096 bytes that nobody can guess"):
        Draws.of(7, Store(tmp_path), path)


def test_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Draws.of(7, Store(tmp_path), tmp_path / "none")


def test_damaged_file_of_the_run_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / RunFile.RANDOMNESS).write_bytes(b"")
    with pytest.raises(RunError, match="is damaged: it has 0 bytes"):
        Draws.of(7, Store(tmp_path))
