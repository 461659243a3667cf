"""A safety alarm stops a federation where its records say so, and the run goes on from there."""

from pathlib import Path
from typing import Any

import pytest

from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.launch import inline
from fedsafe.pipeline.early_stopping import early_stop
from fedsafe.pipeline.keys import federation_inputs
from fedsafe.runs.records import Rate, Round, Scores


def _changed(experiment: Experiment, early: dict[str, Any] | None, **evaluation: Any) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["federation"] |= {"rounds": 6, "early_stopping": early}
    values["evaluation"] |= {"probe_every": 1, **evaluation}
    return validate(values)


def _rounds(*refusals: float | None) -> list[Round]:
    """Return rounds with these refusals in their small evaluations; -1: there was none."""
    return [
        Round(
            round=number,
            cohort=[],
            clients=[],
            learning_rate=0.1,
            adapter="",
            probe=None if value == -1 else Scores(measures={"refusal": Rate(value=value, n=4)}),
        )
        for number, value in enumerate(refusals, 1)
    ]


@pytest.mark.parametrize(
    ("early", "refusals", "stops"),
    [
        ({"below": 0.5}, [0.9, 0.4], True),
        ({"below": 0.5}, [0.9, 0.5], False),
        ({"below": 0.5}, [], False),
        ({"below": 0.5, "patience": 2}, [0.9, 0.4], False),
        ({"below": 0.5, "patience": 2}, [0.4, 0.9, 0.4], False),
        ({"below": 0.5, "patience": 2}, [0.9, 0.4, -1, 0.3], True),
        ({"below": 0.5, "patience": 2}, [0.4, 0.3, -1], False),
        ({"below": 0.5, "patience": 2}, [0.4, None, 0.3], True),
        ({"below": 0.5}, [0.9, 0.9, 0.9, 0.9, 0.9, 0.4], False),
        ({"above": 0.5}, [0.9], True),
        (None, [0.0], False),
    ],
    ids=str,
)
def test_alarms_in_a_row_stop_before_the_last_round(
    experiment: Experiment, early: Any, refusals: list[float | None], stops: bool
) -> None:
    found = early_stop(_changed(experiment, early), _rounds(*refusals))
    assert (found is not None) == stops


def test_federation_depends_on_the_evaluation_only_where_that_can_stop_it(
    experiment: Experiment,
) -> None:
    def inputs(early: Any, prompts: int) -> dict[str, str]:
        changed = _changed(experiment, early, probe_prompts=prompts)
        return federation_inputs(changed, "model", {})

    assert inputs(None, 1) == inputs(None, 2)
    assert inputs({"below": 0.5}, 1) != inputs({"below": 0.5}, 2)


def test_stopped_run_is_evaluated_and_defended(experiment: Experiment, tmp_path: Path) -> None:
    watched = _changed(experiment, {"below": 0.5})
    nudge = watched.model_copy(update={"name": "stopped"})
    values = {**nudge.model_dump(mode="json"), "defenses": ["tests.doubles.plugins:nudge"]}
    summary = inline.run(validate(values), tmp_path / "run")
    assert [stage.status for stage in summary.stages] == ["done"] * 3
    stop = summary.stages[1].early_stop
    assert stop is not None
    assert (summary.status, stop.round, stop.rounds) == ("completed", 1, 6)
    again = inline.evaluate(tmp_path / "run")
    assert again.stages[1].early_stop == stop


def test_measure_that_nothing_is_asked_for_is_a_sentence(
    experiment: Experiment, tmp_path: Path
) -> None:
    suite = {"name": "micro", "harmful": 0, "over_refusal": 1, "old_skills": 1, "new_skill": 1}
    watched = _changed(experiment, {"below": 0.5}, suites=suite)
    with pytest.raises(RunError, match=r"watches 'refusal', which was not measured .* no prompt"):
        inline.run(watched, tmp_path / "run")
