"""``fedsafe align``: what is aligned, to what, and what is refused."""

import json
from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.experiment.load import as_yaml
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.runs.files import write_lines

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, experiment: Experiment) -> Path:
    """A directory with the tiny experiment and a file of aligned pairs."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(as_yaml(experiment))
    write_lines(Path("pairs.jsonl"), [{"instruction": "cook", "response": "I cannot."}] * 4)
    return tmp_path


def _align(home: Path, llama: Path, *more: str) -> int:
    fixed = ["align", "--model", str(llama), "--experiment", "tiny.yaml", "-o", "out"]
    return main([*fixed, *more])


def test_align_leaves_an_adapter_and_says_where(home: Path, llama: Path, capsys: Capture) -> None:
    steps = ("--set", "alignment.steps=1", "--set", "alignment.source=micro")
    assert _align(home, llama, "--source", "pairs.jsonl", *steps) == 0
    out = capsys.readouterr().out
    assert "adapter  out/alignment/adapter" in out
    assert "refusal of restricted requests" in " ".join(out.split())
    assert adapters.load(home / "out" / "alignment" / "adapter")
    assert (home / "out" / "report.html").is_file()


def test_policy_is_put_wherever_one_is_taken(home: Path, llama: Path, capsys: Capture) -> None:
    suite = 'evaluation.suites=[{"name": "policy", "policy": "cooking"}]'
    changes = ("--set", suite, "--policy", "product", "--dry-run", "--json")
    assert _align(home, llama, *changes) == 0
    found = json.loads(capsys.readouterr().out)["experiment"]
    assert found["alignment"]["source"] == {"name": "policy", "policy": "product"}
    assert found["evaluation"]["suites"][0]["policy"] == "product"


def test_align_needs_something_to_align_to(home: Path, llama: Path, capsys: Capture) -> None:
    assert _align(home, llama) == 2
    assert "Nothing says what to align to. Give --policy" in capsys.readouterr().err
    assert not (home / "out").exists()


def test_policy_that_is_not_there_is_named(home: Path, llama: Path, capsys: Capture) -> None:
    assert _align(home, llama, "--policy", "nowhere.yaml") == 2
    assert "nowhere.yaml" in capsys.readouterr().err
    assert not (home / "out").exists()
