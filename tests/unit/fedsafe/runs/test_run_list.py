"""Runs are found, told apart from what is none, and removed only where that is safe."""

from pathlib import Path

import pytest

from fedsafe.errors import RunError
from fedsafe.runs.run_list import find_runs, look, removable, remove
from fedsafe.runs.store import Store
from tests.unit.fedsafe.report.synthetic import write_run


def test_runs_are_found_three_directories_deep_and_links_are_not_followed(tmp_path: Path) -> None:
    near, far = write_run(tmp_path / "near"), write_run(tmp_path / "a" / "b" / "far")
    write_run(tmp_path / "a" / "b" / "c" / "too-far")
    (tmp_path / "link").symlink_to(near)
    (tmp_path / "empty").mkdir()
    assert set(find_runs(tmp_path)) == {near, far}


def test_run_is_told_with_its_state_seed_stages_and_size(tmp_path: Path) -> None:
    found = look(write_run(tmp_path / "run", status="failed", reason="no memory"))
    assert (found.state, found.reason, found.experiment, found.seed) == (
        *("failed", "no memory"),
        *("micro", 0),
    )
    assert found.stages[0].name == "base"
    assert found.bytes == sum(p.lstat().st_size for p in (tmp_path / "run").rglob("*"))


def test_run_that_was_killed_is_stopped(tmp_path: Path) -> None:
    assert look(write_run(tmp_path / "run", status="running")).state == "stopped"


def test_run_that_another_process_writes_is_running_and_is_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with Store(run).lock():
        assert look(run).state == "running"
        with pytest.raises(RunError, match="is running, and is left alone"):
            remove(run)
    assert run.is_dir()


def test_broken_record_is_named_and_not_raised(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "summary.json").write_text("{")
    assert "summary.json cannot be read" in look(run).problem


def test_removed_run_leaves_its_neighbours(tmp_path: Path) -> None:
    run, other = write_run(tmp_path / "run"), write_run(tmp_path / "other")
    remove(run)
    assert (run.exists(), other.is_dir()) == (False, True)


def test_runs_of_several_seeds_go_with_their_aggregate(tmp_path: Path) -> None:
    home = tmp_path / "seeds"
    runs = [write_run(home / f"seed-{seed}") for seed in (0, 1)]
    (home / "seeds.json").write_text("{}")
    (home / "seeds.html").write_text("")
    assert set(removable(home)) == set(runs)
    remove(home)
    assert not home.exists()


@pytest.mark.parametrize("case", ["nothing", "a file", "a project", "an empty directory"])
def test_what_is_no_run_is_never_removed(case: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if case == "a file":
        place.write_text("mine")
    elif case != "nothing":
        place.mkdir()
    if case == "a project":
        (place / "experiment.yaml").write_text("preset: micro\n")
        (place / "data.jsonl").write_text("{}\n")
    with pytest.raises(RunError, match="nothing is removed"):
        remove(place)
    assert place.exists() is (case != "nothing")


def test_run_with_files_of_somebody_elses_is_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "notes.md").write_text("mine")
    with pytest.raises(RunError, match=r"what no run writes: notes\.md"):
        remove(run)
    assert (run / "summary.json").is_file()


def test_link_to_a_run_is_left_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (tmp_path / "link").symlink_to(run)
    with pytest.raises(RunError, match="is a link"):
        remove(tmp_path / "link")
    assert run.is_dir()
