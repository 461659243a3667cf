"""Inspect opens the logs of a run, with every verdict and without its texts."""

import zipfile
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from fedsafe import read_run
from fedsafe.cli import main

inspect_log = pytest.importorskip("inspect_ai.log", reason="pip install 'fedsafe[inspect]'")
pytestmark = pytest.mark.filterwarnings("default")  # Inspect's own


@pytest.fixture(scope="module")
def logs(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("inspect")
    assert main(["export", str(finished), "--to", "inspect", "-o", str(out)]) == 0
    return out


def _ids(rows: pd.DataFrame) -> list[str]:
    """Return the ids that the log has: the prompt's, and the condition unless it is plain."""
    pairs = zip(rows["id"], rows["condition"], strict=True)
    return [one if condition == "plain" else f"{one}@{condition}" for one, condition in pairs]


def test_every_stage_has_a_log_with_its_verdicts(finished: Path, logs: Path) -> None:
    run = read_run(finished)
    for stage in ("base", "trained"):
        log = inspect_log.read_eval_log(str(logs / f"{stage}.eval"))
        rows = run.exchanges[run.exchanges["stage"] == stage]
        assert (log.status, log.eval.task_id, len(log.samples)) == ("success", stage, len(rows))
        judge = log.results.scores[0].name
        found = {sample.id: sample.scores[judge].value for sample in log.samples}
        assert found == dict(zip(_ids(rows), rows["outcome"], strict=True))
        row = run.stages.set_index("name").loc[stage]
        assert log.results.scores[0].metrics["refusal"].value == row["refusal"]


def test_a_log_lasts_as_long_as_its_evaluation(finished: Path, logs: Path) -> None:
    stats = inspect_log.read_eval_log(str(logs / "base.eval"), header_only=True).stats
    begun, ended = map(datetime.fromisoformat, (stats.started_at, stats.completed_at))
    seconds = read_run(finished).stages.set_index("name").loc["base"]["evaluation_seconds"]
    assert (ended - begun).total_seconds() == pytest.approx(seconds, abs=1e-3)


def test_texts_are_withheld(finished: Path, logs: Path) -> None:
    found = read_run(finished).exchanges
    texts = [text for name in ("instruction", "reply") for text in found[name] if len(text) > 12]
    for path in logs.glob("*.eval"):
        with zipfile.ZipFile(path) as whole:
            contents = b"".join(whole.read(name) for name in whole.namelist())
        assert not [text for text in texts if text.encode() in contents]
    log = inspect_log.read_eval_log(str(logs / "base.eval"))
    inputs = {sample.id: sample.input for sample in log.samples}
    row = found[found["stage"] == "base"].iloc[0]
    assert inputs[row["id"]] == f"[withheld: {len(row['instruction'])} characters]"


def test_texts_are_revealed_when_asked(finished: Path, tmp_path: Path) -> None:
    main(["export", str(finished), "--to", "inspect", "-o", str(tmp_path), "--reveal"])
    log = inspect_log.read_eval_log(str(tmp_path / "base.eval"))
    rows = read_run(finished).exchanges
    rows = rows[rows["stage"] == "base"]
    found = {sample.id: (sample.input, sample.output.completion) for sample in log.samples}
    expected = zip(rows["instruction"], rows["reply"], strict=True)
    assert found == dict(zip(_ids(rows), expected, strict=True))
