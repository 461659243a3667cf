"""What was asked is named by the suites: a harmless policy's requests are not called harmful."""

from pathlib import Path

import pytest

from fedsafe.evaluation.asked_for import asked_for, named
from fedsafe.experiment import load
from fedsafe.runs.records import Display, Scores


@pytest.mark.parametrize("suite", ["{name: micro, harmful: 2}", "{name: micro-two-turn}"])
def test_requests_of_the_micro_world_are_restricted(suite: str) -> None:
    assert asked_for(load("micro-quick", [f"evaluation.suites={suite}"])) == "restricted requests"


def test_prompts_of_a_users_file_are_harmful_beside_any_policy(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("prompt\nwhat?\n")
    own = f"{{name: csv, path: {tmp_path / 'own.csv'}, purpose: harmful}}"
    experiment = load("micro-quick", [f"evaluation.suites=[{{name: micro, harmful: 2}}, {own}]"])
    assert asked_for(experiment) == "harmful prompts"


def test_displays_say_what_was_asked() -> None:
    shown = {"refusal": Display(label="Refusal", meaning="harmful prompts refused")}
    found = named(Scores(displays=shown), "restricted requests")
    assert found.displays["refusal"].meaning == "restricted requests refused"
    assert found.asked == "restricted requests"
