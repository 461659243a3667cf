"""Run, resume, defend and evaluate in this process."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from fedsafe.errors import ConfigError, PluginError, RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.launch import inline
from fedsafe.models import adapters
from fedsafe.runs.events import Event
from fedsafe.runs.records import Stage
from fedsafe.runs.store import Store
from fedsafe.training import session

NUDGE = "tests.doubles.plugins:nudge"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "run"
    inline.run(_tiny(llama), directory)
    return directory


def _one(name: str, settings: dict[str, Any]) -> list[list[PluginChoice]]:
    """Return the pipeline of one defense."""
    return [[PluginChoice(name=name, **settings)]]


def _tiny(llama: Path) -> Experiment:
    suite = {"name": "micro", "harmful": 2, "over_refusal": 1, "old_skills": 1, "new_skill": 1}
    return validate(
        {
            "model": {"path": str(llama), "device": "cpu"},
            "data": {"source": {"name": "micro", "count": 8}, "max_length": 160},
            "training": {"steps": 1, "batch_size": 2},
            "federation": {"clients": 2, "rounds": 1},
            "evaluation": {"suites": suite, "max_new_tokens": 2, "probe_every": 0},
        }
    )


def test_run_tells_what_happens(finished: Path, llama: Path, tmp_path: Path) -> None:
    heard: list[Event] = []
    inline.run(_tiny(llama), tmp_path / "run", heard.append)
    kinds = [event.kind for event in heard]
    assert (kinds.count("round-end"), kinds.count("stage-end"), kinds[-1]) == (1, 2, "run-end")


def test_resume_of_a_finished_run_is_done_at_once(finished: Path) -> None:
    heard: list[Event] = []
    assert inline.resume(finished, heard.append).status == "completed"
    assert "round-start" not in {event.kind for event in heard}


def test_resume_of_no_run_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory"):
        inline.resume(tmp_path)


def test_run_into_another_runs_directory_is_a_sentence(finished: Path, llama: Path) -> None:
    other = _tiny(llama).model_copy(update={"seed": 9})
    with pytest.raises(RunError, match="holds another experiment"):
        inline.run(other, finished)


def test_defend_adds_a_stage(finished: Path) -> None:
    summary = inline.defend(finished, _one(NUDGE, {}))
    stage = next(stage for stage in summary.stages if stage.name == f"defended:{NUDGE}")
    before, after = Store(finished).adapter, finished / stage.path
    name = next(iter(adapters.load(before)))
    difference = adapters.load(after)[name] - adapters.load(before)[name]
    assert float(difference.mean()) == pytest.approx(0.5)


def test_defend_with_other_settings_adds_a_stage(finished: Path) -> None:
    one = inline.defend(finished, _one(NUDGE, {"by": 0.25}))
    other = inline.defend(finished, _one(NUDGE, {"by": 0.125}))
    assert len(other.stages) == len(one.stages) + 1
    assert len({stage.name for stage in other.stages}) == len(other.stages)


def test_evaluating_an_unfinished_run_leaves_it_unfinished(finished: Path) -> None:
    store = Store(finished)
    summary = store.summary()
    assert summary is not None
    update = {"stages": summary.stages[:1], "status": "interrupted"}
    store.write_summary(summary.model_copy(update=update))
    assert inline.evaluate(finished).status == "interrupted"


def test_defend_with_a_wrong_setting_is_a_sentence(finished: Path) -> None:
    with pytest.raises(ConfigError, match=r"defenses\[0\]\.buy: .*Did you mean 'by'"):
        inline.defend(finished, _one(NUDGE, {"buy": 1.0}))


def test_defend_with_an_unknown_defense_is_a_sentence(finished: Path) -> None:
    with pytest.raises(
        (ConfigError, PluginError), match=r"Unknown defense 'finetune'. Did you mean"
    ):
        inline.defend(finished, _one("finetune", {}))


def test_evaluate_gives_the_same_scores(finished: Path) -> None:
    before = Store(finished).summary()
    assert before is not None
    found = inline.evaluate(finished).stages
    assert [stage.scores for stage in found] == [stage.scores for stage in before.stages]


def test_evaluate_with_another_judge_generates_nothing(finished: Path) -> None:
    heard: list[Event] = []
    inline.evaluate(finished, heard.append, PluginChoice(name="keyword"))
    assert "evaluate" not in {event.kind for event in heard}


def test_evaluate_with_another_judge_loads_no_model(finished: Path) -> None:
    session._resident.clear()
    found = inline.evaluate(finished, judge=PluginChoice(name="keyword"))
    assert session._resident == {}
    assert {stage.judge for stage in found.stages} == {"keyword"}


def test_evaluate_keeps_what_another_judge_said(finished: Path) -> None:
    before = inline.evaluate(finished).stages[0]
    kept = (finished / before.evaluation / before.scores.verdicts).read_bytes()
    after = inline.evaluate(finished, judge=PluginChoice(name="keyword")).stages[0]
    assert after.scores.verdicts != before.scores.verdicts
    assert (finished / before.evaluation / before.scores.verdicts).read_bytes() == kept


def test_evaluate_refuses_a_damaged_adapter(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    shutil.copytree(copy / "adapter", copy / "base-adapter", dirs_exist_ok=True)
    with pytest.raises(RunError, match="is not the one that stage 'base' ended with"):
        inline.evaluate(copy)


def test_evaluate_leaves_the_experiment_as_it_was(finished: Path, llama: Path) -> None:
    inline.evaluate(finished, judge=PluginChoice(name="keyword"))
    assert Store(finished).experiment == _tiny(llama)


@pytest.fixture(scope="module")
def given(finished: Path, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an adapter from anywhere that was defended."""
    directory = tmp_path_factory.mktemp("given") / "out"
    source = Store(finished).adapter
    inline.defend_adapter(str(llama), source, _one(NUDGE, {"by": 1.0}), directory, _tiny(llama))
    return directory


def test_any_adapter_is_defended(given: Path, finished: Path) -> None:
    before, after = adapters.load(Store(finished).adapter), _stage(given, f"defended:{NUDGE}")
    name = next(iter(before))
    difference = adapters.load(given / after.path)[name] - before[name]
    assert float(difference.mean()) == pytest.approx(1.0)


def test_any_adapter_is_evaluated_before_and_after(given: Path) -> None:
    summary = Store(given).summary()
    assert summary is not None
    assert (summary.status, [stage.name for stage in summary.stages]) == (
        "completed",
        ["given", f"defended:{NUDGE}"],
    )
    for stage in summary.stages:
        assert (given / stage.evaluation / "exchanges.jsonl").is_file()


def test_another_defense_of_the_same_adapter_is_added(
    given: Path, finished: Path, llama: Path, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(given, tmp_path / "out"))
    inline.defend(directory, _one(NUDGE, {"by": 2.0}))
    source = Store(finished).adapter
    summary = inline.defend_adapter(
        str(llama), source, _one(NUDGE, {"by": 3.0}), directory, _tiny(llama)
    )
    assert [stage.status for stage in summary.stages] == ["done"] * 4


def test_directory_of_another_adapter_is_a_sentence(
    given: Path, llama: Path, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(given, tmp_path / "out"))
    other = given / _stage(given, f"defended:{NUDGE}").path
    with pytest.raises(RunError, match="holds defenses of another adapter"):
        inline.defend_adapter(str(llama), other, _one(NUDGE, {}), directory, _tiny(llama))


def test_resume_of_a_defended_adapter_is_a_sentence(given: Path) -> None:
    with pytest.raises(RunError, match="there is no federation to go on with"):
        inline.resume(given)


def test_failed_defense_of_any_adapter_is_a_sentence_and_on_record(
    finished: Path, llama: Path, tmp_path: Path
) -> None:
    fail = "tests.doubles.plugins:fail"
    source = Store(finished).adapter
    with pytest.raises(RunError, match="failed: It was hopeless"):
        inline.defend_adapter(str(llama), source, _one(fail, {}), tmp_path / "out", _tiny(llama))
    stage = _stage(tmp_path / "out", f"defended:{fail}")
    assert (stage.status, stage.reason) == ("failed", "It was hopeless.")


def _stage(directory: Path, name: str) -> Stage:
    summary = Store(directory).summary()
    assert summary is not None
    return next(stage for stage in summary.stages if stage.name == name)


def test_another_judge_keeps_the_verdicts_of_the_first_and_loads_no_model(
    llama: Path, tmp_path: Path
) -> None:
    first = inline.run(_tiny(llama), tmp_path / "run")
    model, heard = llama.rename(llama.with_name("away")), list[Event]()
    try:
        judge = PluginChoice(name="keyword")
        second = inline.evaluate(tmp_path / "run", heard.append, judge=judge)
    finally:
        model.rename(llama)
    assert {stage.judge for stage in first.stages} == {"micro-exact"}
    assert {stage.judge for stage in second.stages} == {"keyword"}
    for stage in second.stages:
        kept = (tmp_path / "run" / stage.evaluation / "verdicts").iterdir()
        assert sorted(path.name.rsplit("-", 1)[0] for path in kept) == ["keyword", "micro-exact"]
    assert "evaluate" not in {event.kind for event in heard}


def test_evaluation_whose_replies_are_gone_is_made_with_the_model(
    llama: Path, tmp_path: Path
) -> None:
    first = inline.run(_tiny(llama), tmp_path / "run")
    (tmp_path / "run" / first.stages[-1].evaluation / "exchanges.jsonl").unlink()
    second = inline.evaluate(tmp_path / "run")
    assert [stage.scores for stage in second.stages] == [stage.scores for stage in first.stages]
