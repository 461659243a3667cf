"""The first estimate: what it counts, when it is told, and that it changes nothing."""

from pathlib import Path

import pytest

from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.launch import inline
from fedsafe.pipeline import estimate
from fedsafe.pipeline.estimate import Work, count
from fedsafe.runs.files import read_lines


def test_work_of_every_stage_is_counted(experiment: Experiment) -> None:
    values = {**experiment.model_dump(mode="json"), "red_team": True}
    values |= {"attack": {"malicious": 1, "behaviour": "sign-flip"}}
    values |= {"alignment": {"source": "micro", "steps": 5, "batch_size": 6}}
    planned = ["base", "aligned", "clean", "attacked"]
    # 8 prompts asked plainly and 2 prefilled; 2 federations of 2 rounds, 4 clients, 2 steps.
    assert count(validate(values), "inline", planned) == Work(4, 10, 2 * 2 * 4 * 2 + 5, 6)


def test_clients_on_other_machines_are_not_counted(experiment: Experiment) -> None:
    assert count(experiment, "deployment", ["base", "trained"]).steps == 0


def test_estimate_is_told_before_the_first_stage_and_changes_nothing(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = experiment.model_copy(
        update={"federation": experiment.federation.model_copy(update={"rounds": 1})}
    )
    before = inline.run(short, tmp_path / "small")
    monkeypatch.setattr(estimate, "SMALLEST", 0)
    after = inline.run(short, tmp_path / "large")
    assert [s.adapter for s in before.stages] == [s.adapter for s in after.stages]
    kinds = {
        name: [
            line["kind"] if "left" not in line else "estimate"
            for line in read_lines(tmp_path / name / "events.jsonl")
            if line["kind"] in {"note", "stage-start"}
        ]
        for name in ("small", "large")
    }
    assert "estimate" not in kinds["small"]
    assert kinds["large"].index("estimate") < kinds["large"].index("stage-start")
