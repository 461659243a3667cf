"""`config validate` looks at files, first rows, models and memory, all at once."""

import json
import shutil
from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.errors import ConfigError
from fedsafe.experiment import load
from fedsafe.launch.preflight import look, unchecked
from fedsafe.micro.base import shipped

Capture = pytest.CaptureFixture[str]
ROW = '{"instruction": "say a", "response": "a"}\n'


def problems(*changes: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load("micro", changes, look)
    return dict(caught.value.problems)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text(ROW)
    Path("broken.jsonl").write_text(f"{ROW}not json\n")
    Path("empty.csv").write_text("")
    Path("prompts.csv").write_text("prompt\nsay a\n")


def test_everything_is_looked_at_and_told_at_once() -> None:
    found = problems(
        "training.steps=0",
        "data.source={name: jsonl, path: gone.jsonl}",
        "attack.generator={name: file, path: broken.jsonl}",
        "evaluation.suites=[{name: csv, purpose: harmful, path: empty.csv},"
        " {name: csv, purpose: harmful, path: prompts.csv, column: text}]",
        "model.path=./nowhere",
    )
    assert found.keys() == {
        "training.steps", "data.source.path", "attack.generator.path", "evaluation.suites[0].path",
        "evaluation.suites[1].path", "model.path",
    }  # fmt: skip
    assert "there is no file gone.jsonl" in found["data.source.path"]
    assert "broken.jsonl, line 2" in found["attack.generator.path"]


def test_files_that_are_right_are_no_problem() -> None:
    change = "evaluation.suites={name: csv, purpose: harmful, path: prompts.csv}"
    assert load("micro", ["data.source={name: jsonl, path: rows.jsonl}", change], look)


@pytest.mark.parametrize("name", shipped())
def test_shipped_micro_base_is_no_problem(name: str) -> None:
    experiment = load("micro", [f"model.path={name}"], look)
    assert not any("model.path" in phrase for phrase in unchecked(experiment))


def test_micro_base_that_is_not_shipped_is_told() -> None:
    found = problems("model.path=micro-deep:77")
    assert "'micro-deep:77' is not one of micro, micro:1" in found["model.path"]


def test_suite_that_asks_for_too_much_is_told() -> None:
    assert "evaluation.suites[0].name" in problems("evaluation.suites.harmful=100000000")


@pytest.mark.parametrize("missing", ["config.json", "*.safetensors"])
def test_model_directory_that_lacks_a_file_is_told(missing: str, llama: Path) -> None:
    shutil.copytree(llama, "model")
    for file in Path("model").glob(missing):
        file.unlink()
    assert "model.path" in problems("model.path=./model", "model.device=cpu")


def test_training_that_does_not_fit_is_no_green(llama: Path) -> None:
    sizes = ["training.batch_size=1000000", "data.max_length=10000000"]
    found = problems(f"model.path={llama}", "model.device=cpu", *sizes)
    assert "are free. Lower training.batch_size" in found["training"]


def test_what_lies_elsewhere_is_named_and_not_refused() -> None:
    found = unchecked(load("micro", ["data.source=client", "model.path=owner/model"], look))
    assert [line.split(":")[0] for line in found] == ["data.source", "model.path"]


def test_validate_says_what_it_did_not_check(capsys: Capture) -> None:
    assert main(["config", "validate", "micro", "--set", "data.source=client"]) == 0
    assert "Not checked: data.source" in capsys.readouterr().out
    assert main(["config", "validate", "micro", "--set", "data.source=client", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["unchecked"]) == 1


def test_dry_run_looks_too(capsys: Capture) -> None:
    command = ["run", "--dry-run", "--set", "data.source={name: jsonl, path: gone.jsonl}"]
    assert main(command) == 2
    assert "data.source.path: there is no file gone.jsonl" in capsys.readouterr().err


def test_template_that_the_tokenizer_lacks_is_told(llama: Path, tmp_path: Path) -> None:
    home = shutil.copytree(llama, tmp_path / "copy")
    (home / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((home / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (home / "tokenizer_config.json").write_text(json.dumps(settings))
    assert problems(f"model.path={home}", "data.template=chat").keys() == {"data.template"}
    assert load("micro", [f"model.path={home}", "data.template=alpaca"], look)


def test_targets_that_the_model_lacks_are_told(llama: Path) -> None:
    assert problems(f"model.path={llama}", "adapter.targets=[nowhere]").keys() == {"adapter"}
