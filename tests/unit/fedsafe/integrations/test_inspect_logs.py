"""Inspect opens the logs of a run, with every verdict and without its texts."""

import zipfile
from pathlib import Path

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


def test_every_stage_has_a_log_with_its_verdicts(finished: Path, logs: Path) -> None:
    run = read_run(finished)
    for stage in ("base", "trained"):
        log = inspect_log.read_eval_log(str(logs / f"{stage}.eval"))
        rows = run.exchanges[run.exchanges["stage"] == stage]
        assert (log.status, log.eval.task_id, len(log.samples)) == ("success", stage, len(rows))
        judge = log.results.scores[0].name
        assert [sample.scores[judge].value for sample in log.samples] == list(rows["outcome"])
        row = run.stages.set_index("name").loc[stage]
        assert log.results.scores[0].metrics["refusal"].value == row["refusal"]


def test_texts_are_withheld(finished: Path, logs: Path) -> None:
    found = read_run(finished).exchanges
    texts = [text for name in ("instruction", "reply") for text in found[name] if len(text) > 12]
    for path in logs.glob("*.eval"):
        with zipfile.ZipFile(path) as whole:
            contents = b"".join(whole.read(name) for name in whole.namelist())
        assert not [text for text in texts if text.encode() in contents]
    log = inspect_log.read_eval_log(str(logs / "base.eval"))
    assert log.samples[0].input == f"[withheld: {len(found['instruction'][0])} characters]"


def test_texts_are_revealed_when_asked(finished: Path, tmp_path: Path) -> None:
    main(["export", str(finished), "--to", "inspect", "-o", str(tmp_path), "--reveal"])
    log = inspect_log.read_eval_log(str(tmp_path / "base.eval"))
    row = read_run(finished).exchanges.iloc[0]
    assert (log.samples[0].input, log.samples[0].output.completion) == (
        row["instruction"], row["reply"],
    )  # fmt: skip
