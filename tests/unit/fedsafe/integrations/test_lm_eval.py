"""lm-eval on a run's adapters: local tasks, the live model, results beside the run."""

import importlib
import json
import math
from pathlib import Path

import pytest

from fedsafe.cli import main
from fedsafe.contracts import Rendered, Sample
from fedsafe.integrations.lm_eval_harness import rendered
from fedsafe.runs.lm_eval_results import task_results

Capture = pytest.CaptureFixture[str]
CHOICES = [" is one", " was two three", " a"]
TASKS = {
    "choose.yaml": """\
task: choose
dataset_path: json
dataset_kwargs: {data_files: {test: rows.json}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "write.yaml": """\
task: write
dataset_path: json
dataset_kwargs: {data_files: {test: rows.json}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "x"
generation_kwargs: {until: ["zz"], do_sample: false, max_gen_toks: 3}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
""",
}


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """Two tasks and their data; the data are named relative to the tasks."""
    home = tmp_path / "tasks"
    home.mkdir()
    rows = [{"question": f"what is {n} ?", "choices": CHOICES, "answer": n % 3} for n in range(6)]
    (home / "rows.json").write_text(json.dumps(rows))
    for name, text in TASKS.items():
        (home / name).write_text(text)
    return home


@pytest.fixture
def harness() -> None:
    pytest.importorskip("lm_eval", reason="pip install 'fedsafe[lm-eval]'")


def test_conversation_goes_into_the_experiments_template() -> None:
    def template(sample: Sample) -> Rendered:
        turns = "".join(f"<{turn.instruction}|{turn.response}>" for turn in sample.history)
        return Rendered(f"{sample.system}{turns}[{sample.instruction}]", "")

    history = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "a1"},
        {"role": "user", "content": "q2"},
    ]
    assert rendered(template, history) == "S<q1|a1>[q2]"
    assert rendered(template, [*history, {"role": "assistant", "content": "so"}]) == (
        "S<q1|a1>[q2]so"
    )


def test_results_of_a_task_are_its_metrics_with_errors() -> None:
    found = {
        "results": {"arc": {"alias": "arc", "acc,none": 0.5, "acc_stderr,none": 0.1,
                            "exact_match,strict": 0.25, "exact_match_stderr,strict": "N/A"}},
        "n-samples": {"arc": {"original": 9, "effective": 4}},
        "n-shot": {"arc": 2},
        "versions": {"arc": 1},
        "higher_is_better": {"arc": {"acc": True}},
    }  # fmt: skip
    assert task_results(found, "arc") == {
        "metrics": {
            "acc": {"value": 0.5, "stderr": 0.1, "higher_is_better": True},
            "exact_match,strict": {"value": 0.25, "stderr": None, "higher_is_better": None},
        },
        "n": 4,
        "few_shot": 2,
        "version": 1,
    }


@pytest.mark.filterwarnings("default")
def test_live_model_scores_as_lm_eval_scores_the_adapters_directory(
    harness: None, copied: Path, tasks: Path, llama: Path, capsys: Capture
) -> None:
    lm_eval = importlib.import_module("lm_eval")
    hf = importlib.import_module("lm_eval.models.huggingface")
    from fedsafe.integrations.lm_eval_tasks import load_tasks, task_manager

    assert main(["lm-eval", str(copied), "--tasks", str(tasks), "--stage", "trained"]) == 0
    out = capsys.readouterr().out
    assert "acc" in out
    found = json.loads((copied / "lm-eval.json").read_text())["stages"]["trained"]["tasks"]
    assert {name: task["n"] for name, task in found.items()} == {"choose": 6, "write": 6}
    plain = hf.HFLM(pretrained=str(llama), peft=str(copied / "adapter"), device="cpu", batch_size=8)
    theirs = lm_eval.simple_evaluate(
        plain, tasks=load_tasks([str(tasks)]), log_samples=False, task_manager=task_manager()
    )
    acc = theirs["results"]["choose"]["acc,none"]
    assert math.isclose(found["choose"]["metrics"]["acc"]["value"], acc)


@pytest.mark.filterwarnings("default")
def test_outside_a_repository_git_says_nothing(
    harness: None,
    copied: Path,
    tasks: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tasks)
    assert main(["lm-eval", str(copied), "--tasks", "choose.yaml", "--limit", "1"]) == 0
    assert "git" not in capfd.readouterr().err


@pytest.mark.filterwarnings("default")
def test_stages_are_kept_beside_each_other(
    harness: None, copied: Path, tasks: Path, capsys: Capture
) -> None:
    command = ["lm-eval", str(copied), "--tasks", str(tasks / "choose.yaml"), "--limit", "2"]
    assert main([*command, "--stage", "base", "--template"]) == 0
    assert main([*command, "--json"]) == 0
    stages = json.loads(capsys.readouterr().out.splitlines()[-1])["stages"]
    asked = {name: stage["tasks"]["choose"] for name, stage in stages.items()}
    assert {name: (task["n"], task["template"]) for name, task in asked.items()} == {
        "base": (2, True),
        "trained": (2, False),
    }


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "none.yaml"], "--tasks none.yaml: there is no such file or directory."),
        (["--tasks", "tasks/lost.yaml"], "tasks/lost.yaml cannot be loaded: FileNotFoundError"),
        (["--tasks", "tasks/broken.yaml"], "tasks/broken.yaml cannot be loaded"),
        (["--tasks", "tasks", "--stage", "train"], "no such stage. Did you mean 'trained'?"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(
    harness: None,
    copied: Path,
    tasks: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tasks.parent)
    Path("tasks/lost.yaml").write_text(TASKS["choose.yaml"].replace("rows.json", "nowhere.json"))
    Path("tasks/broken.yaml").write_text("task: [")
    if arguments[1] == "tasks":
        Path("tasks/broken.yaml").unlink()
        Path("tasks/lost.yaml").unlink()
    assert main(["lm-eval", str(copied), *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (copied / "lm-eval.json").exists()
