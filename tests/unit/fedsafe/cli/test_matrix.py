"""The commands of a matrix: plan, table, exit codes, sentences."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedsafe.cli import main
from fedsafe.experiment import Experiment

FAIL = "tests.doubles.plugins:fail"


@pytest.fixture
def file(experiment: Experiment, tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    axes = {"defenses": {"none": "none", "fail": FAIL}}
    values = {"name": "my", "experiment": json.loads(experiment.as_json()), "axes": axes}
    path.write_text(json.dumps(values))
    return path


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main(["matrix", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_show_counts_stages_and_estimates(
    file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan = shown(capsys, "show", file, "-o", tmp_path / "out")
    assert (plan["stages_total"], plan["stages_planned"]) == (5, 3)
    assert plan["estimate"]["seconds"] > 0
    assert plan["estimate"]["disk"] > 0
    assert not (tmp_path / "out").exists()


def test_run_says_by_its_exit_code_that_a_cell_failed(
    file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, flower_task: None
) -> None:
    assert main(["matrix", "run", str(file), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert "It was hopeless." in said
    assert "1 of 2 done" in said
    assert main(["matrix", "table", str(tmp_path / "out"), "--measure", "unsafe"]) == 0
    assert "Unsafe" in capsys.readouterr().out
    plan = shown(capsys, "show", file, "-o", tmp_path / "out")
    assert plan["estimate"]["measured"] == 2
    assert (
        main(["matrix", "run", str(file), "-o", str(tmp_path / "out"), "--only", "defenses=none"])
        == 0
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "nowhere.yaml"], "There is no matrix file at nowhere.yaml"),
        (["show", "reference-studi"], "Did you mean 'reference-study'?"),
        (["show", "FILE", "--only", "defenses"], "write it as AXIS=A,B"),
        (["show", "FILE", "--only", "defenses=nun"], "axis 'defenses' has no value 'nun'"),
        (["show", "FILE", "--set", "defenses=[]"], "an axis sets it"),
        (["run", "FILE", "--gpus", "a"], "are no GPU numbers"),
        (["run", "FILE", "--ray", "auto", "--workers", "2"], "not both"),
        (["run", "worst-case"], "Run it with `fedsafe matrix search`"),
        (["search", "FILE"], "my has no `search:`"),
        (["search", "worst-case", "--set", "attack.update.factor=2"], "search.space has it"),
        (["compare", ".", "seed", "seed=1"], "write a side as AXIS=VALUE"),
    ],
)
def test_mistake_is_a_sentence_before_anything_runs(
    arguments: list[str], told: str, file: Path, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    given = [str(file) if one == "FILE" else one for one in arguments]
    assert main(["matrix", *given]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "runs").exists()
