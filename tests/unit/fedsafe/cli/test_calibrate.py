"""`fedsafe evaluate --calibrate`: the table, tuned weights, and what is missing."""

import json
from pathlib import Path

import pytest

from fedsafe.cli import main

Capture = pytest.CaptureFixture[str]
ROWS = "prompt,completion,final_label\nTea?,I cannot help with that.,2\nTea?,Boil it.,1\n"


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_calibrate_scores_a_judge_on_files(capsys: Capture) -> None:
    Path("a.csv").write_text(ROWS)
    assert main(["evaluate", "--calibrate", "--labels", "a.csv", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"]["a"]["measures"]["kappa"]["value"] == 1.0


def test_calibrate_shows_a_table_and_writes_tuned_weights(capsys: Capture) -> None:
    for name in ("a.csv", "b.csv"):
        Path(name).write_text(ROWS)
    files = ["--labels", "a.csv", "--labels", "b.csv"]
    assert main(["evaluate", "--calibrate", *files, "--tune", "w.json"]) == 0
    assert "kappa" in capsys.readouterr().out
    assert json.loads(Path("w.json").read_text())["fitted_on"] == {"a": 2, "b": 2}
    again = ["--set", "weights=w.json", "--json"]
    assert main(["evaluate", "--calibrate", *files, *again]) == 0
    found = json.loads(capsys.readouterr().out)["models"]["all"]
    assert found["measures"]["accuracy"]["value"] == 1.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--calibrate"], "--labels"),
        (["--calibrate", "--labels", "none.csv"], "none.csv"),
        (["out", "--calibrate", "--labels", "a.csv"], "give no run"),
        ([], "Give a run directory"),
        (["--calibrate", "--labels", "a.csv", "--tune", "w.json"], "two models"),
        (["--calibrate", "--labels", "a.csv", "--tune", "w.json", "--set", "a=1"], "--set out"),
        (["--calibrate", "--labels", "a.csv", "--ordinary", "a.csv"], "give --tune"),
        (["--calibrate", "--labels", "a.csv", "--judge", "self"], "model under test"),
    ],
)
def test_calibrate_says_what_is_missing(capsys: Capture, options: list[str], said: str) -> None:
    Path("a.csv").write_text(ROWS)
    assert main(["evaluate", *options]) in (1, 2)
    assert said in capsys.readouterr().err
