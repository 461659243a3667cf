"""A search on the tiny model: within its budget, gone on with, its winner measured anew."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fedsafe.errors import ConfigError
from fedsafe.experiment import Experiment
from fedsafe.matrix.definition import parse
from fedsafe.matrix.library import read_matrix, run_matrix, search_matrix
from fedsafe.matrix.search_results import ordered
from fedsafe.matrix.searching import planned
from fedsafe.runs.files import read_lines
from fedsafe.runs.matrix_records import LEDGER
from fedsafe.runs.search_records import SearchRecord, Tried, read_search
from tests.unit.fedsafe.report.page_check import check

FAIL = "tests.doubles.plugins:fail"
SCALE = "attack.behaviour.scale"
SEARCH = {
    "space": {SCALE: {"low": 0.5, "high": 4.0, "scale": "log"}},
    "lowest": "garbage",
    "keep": {},
    "budget": 4,
    "seeds": 0,
    "fresh": 1,
}


@pytest.fixture(scope="module")
def written(experiment: Experiment) -> dict[str, Any]:
    attack = {"malicious": 1, "behaviour": {"name": "sign-flip", "scale": 1.0}}
    return {
        "name": "sought",
        "experiment": json.loads(experiment.as_json()),
        "set": {
            "red_team": True,
            "control": False,
            "attack": attack,
            "training.steps": 1,
            "federation": {"clients": 2, "rounds": 1},
        },
        "axes": {"defenses": {"none": "none", "fail": FAIL}},
        "search": SEARCH,
    }


@pytest.fixture(scope="module")
def found(
    written: dict[str, Any], flower_task: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SearchRecord, Path]:
    home = tmp_path_factory.mktemp("search") / "sought"
    return search_matrix(written, home), home


def test_worst_setting_is_the_lowest_of_those_tried(found: tuple[SearchRecord, Path]) -> None:
    for result in found[0].results:
        assert result.worst is not None
        assert result.worst.value == min(one.value or 0.0 for one in result.tried)
        assert result.tried[0].settings == {}


def test_search_stays_within_its_budget(found: tuple[SearchRecord, Path]) -> None:
    record, home = found
    assert all(result.runs <= record.budget for result in record.results)
    assert len(read_matrix(home).cells) == sum(result.runs for result in record.results)


def test_winner_is_measured_with_seeds_that_it_was_not_chosen_by(
    found: tuple[SearchRecord, Path],
) -> None:
    for result in found[0].results:
        assert result.worst is not None
        assert result.fresh is not None
        assert result.fresh.trial == result.worst.trial
        assert (list(result.worst.seeds), list(result.fresh.seeds)) == (["0"], ["1"])


def test_what_failed_is_tried_once_and_counts_with_the_model_it_was_given(
    found: tuple[SearchRecord, Path],
) -> None:
    record, home = found
    rows = [row for row in read_lines(home / LEDGER) if row["kind"] == "defense"]
    assert set(Counter(row["stage"] for row in rows).values()) == {1}
    failed = next(one for one in record.results if one.labels["defenses"] == "fail")
    assert [(one.failed, one.value is None) for one in failed.tried] == [(1, False)] * len(
        failed.tried
    )


def test_stopped_search_goes_on_to_the_same_result_whatever_else_is_searched(
    written: dict[str, Any], found: tuple[SearchRecord, Path], tmp_path: Path
) -> None:
    alone = {**written, "axes": {"defenses": {"none": "none"}}}

    def stop(kind: str, facts: dict[str, Any]) -> None:
        if kind == "search":
            raise KeyboardInterrupt

    home = tmp_path / "sought"
    with pytest.raises(KeyboardInterrupt):
        search_matrix(alone, home, tell=stop)
    stopped = read_search(home)
    assert stopped is not None
    assert stopped.status == "running"
    assert search_matrix(alone, home).results == found[0].results[:1]
    done = [row["stage"] for row in read_lines(home / LEDGER) if row["status"] == "done"]
    assert len(done) == len(set(done))


def test_page_has_the_search_and_says_that_its_value_flatters(
    found: tuple[SearchRecord, Path],
) -> None:
    text = check(found[1] / "matrix.html")
    assert 'id="worst-case"' in text
    assert "quote the one on fresh seeds" in text


def test_plan_before_anything_runs_has_as_many_runs_as_the_budget_allows(
    written: dict[str, Any], tmp_path: Path
) -> None:
    plan = planned(parse(written), tmp_path / "none").plan
    assert len(plan.cells) == 2 * SEARCH["budget"]  # type: ignore[operator]


def test_settings_that_cost_too_much_skill_come_after_those_that_do_not(
    written: dict[str, Any],
) -> None:
    kept = {key: value for key, value in SEARCH.items() if key != "lowest"}
    search = parse({**written, "search": {**kept, "highest": "unsafe", "keep": {"old-skill": 0.1}}})
    tried = [
        Tried(trial="broken", value=1.0, losses={"old-skill": 0.9}),
        Tried(trial="weak", value=0.2, losses={"old-skill": 0.0}, allowed=True),
        Tried(trial="worst", value=0.7, losses={"old-skill": 0.05}, allowed=True),
        Tried(trial="lost"),
        Tried(trial="nearly", value=0.9, losses={"old-skill": 0.2}),
    ]
    assert search.search is not None
    assert [one.trial for one in ordered(tried, search.search)] == [
        "worst", "weak", "nearly", "broken",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"axes": {"attack": {"none": "none"}}}, "has no attack whose settings could be searched"),
        ({"search": {**SEARCH, "lowest": "garbige"}}, "Did you mean 'garbage'?"),
        ({"search": {**SEARCH, "lowest": "garbage@asked"}}, "under no condition 'asked'"),
        ({"search": {**SEARCH, "space": {f"{SCALE}x": [1]}}}, "scalex"),
    ],
)
def test_search_that_cannot_be_is_a_sentence_before_anything_runs(
    changes: dict[str, Any], told: str, written: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        search_matrix({**written, **changes}, tmp_path / "place")
    assert told in str(raised.value)
    assert not (tmp_path / "place").exists()


def test_search_is_no_matrix_to_run_and_a_matrix_no_search(
    written: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="Run it with `fedsafe matrix search`"):
        run_matrix(written, tmp_path / "place")
    plain = {key: value for key, value in written.items() if key != "search"}
    with pytest.raises(ConfigError, match="has no `search:`"):
        search_matrix(plain, tmp_path / "place")
