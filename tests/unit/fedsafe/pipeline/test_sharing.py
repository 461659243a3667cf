"""Stages by key: what two experiments have in common is made once."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from fedsafe.contracts import REGISTRIES
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.pipeline import keys
from fedsafe.pipeline.defense_work import with_all_settings
from fedsafe.runs.events import Event
from fedsafe.runs.files import write_lines
from fedsafe.runs.records import Summary
from fedsafe.runs.store import Store
from tests.doubles.runs import run_inline

DEFENSE = "tests.doubles.plugins:nudge"


def _attacked(experiment: Experiment, behaviour: Any, **changes: Any) -> Experiment:
    values = experiment.model_dump(mode="json")
    attack = {"malicious": 1, "behaviour": behaviour}
    return validate({**values, "red_team": True, "attack": attack, **changes})


def _run(
    experiment: Experiment, directory: Path, shared: Path | None
) -> tuple[Summary, list[Event]]:
    heard: list[Event] = []
    return run_inline(experiment, directory, heard.append, shared), heard


def _rounds(heard: list[Event], federation: str) -> int:
    started = (event for event in heard if event.kind == "round-start")
    return sum(event.data["federation"] == federation for event in started)


def _stage(summary: Summary, name: str) -> Any:
    return next(stage for stage in summary.stages if stage.name == name)


@pytest.fixture(scope="module")
def shared(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return finished stages of an attacked and defended run."""
    home = tmp_path_factory.mktemp("shared")
    first = _attacked(experiment, "sign-flip", defenses=[DEFENSE])
    _run(first, home / "run", home / "stages")
    return home


def test_control_of_two_experiments_is_run_once(
    experiment: Experiment, shared: Path, tmp_path: Path
) -> None:
    other = _attacked(experiment, {"name": "sign-flip", "scale": 2.0}, name="other")
    summary, heard = _run(other, tmp_path / "run", shared / "stages")
    alone, _ = _run(other, tmp_path / "alone", None)
    assert (_rounds(heard, "control"), _rounds(heard, "main")) == (0, 2)
    assert [s.adapter for s in summary.stages] == [s.adapter for s in alone.stages]
    assert Store(tmp_path / "run").control.rounds() != []


def test_clean_stages_have_one_key_and_attacked_ones_do_not(
    experiment: Experiment, shared: Path, tmp_path: Path
) -> None:
    summary, _ = _run(
        _attacked(experiment, {"name": "sign-flip", "scale": 2.0}),
        tmp_path / "run",
        shared / "stages",
    )
    first = Store(shared / "run").summary()
    assert first is not None
    assert _stage(first, "clean").key == _stage(summary, "clean").key
    assert _stage(first, "attacked").key != _stage(summary, "attacked").key


def test_honest_run_shares_the_control_of_an_attacked_one(
    experiment: Experiment, shared: Path, tmp_path: Path
) -> None:
    summary, heard = _run(experiment, tmp_path / "run", shared / "stages")
    assert (_rounds(heard, "main"), _stage(summary, "trained").status) == (0, "done")


def test_defense_of_two_equal_models_is_run_once(
    experiment: Experiment, shared: Path, tmp_path: Path
) -> None:
    again = _attacked(experiment, "sign-flip", defenses=[DEFENSE], control=False, name="again")
    summary, heard = _run(again, tmp_path / "run", shared / "stages")
    first = Store(shared / "run").summary()
    assert first is not None
    name = f"defended:{DEFENSE}"
    assert _rounds(heard, "main") == 0
    assert _stage(summary, name).adapter == _stage(first, name).adapter
    assert _stage(summary, name).seconds == _stage(first, name).seconds


def test_damaged_stage_is_made_again(experiment: Experiment, shared: Path, tmp_path: Path) -> None:
    stages = Path(shutil.copytree(shared / "stages", tmp_path / "stages"))
    for path in stages.rglob("adapter_model.safetensors"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    summary, heard = _run(experiment, tmp_path / "run", stages)
    assert (_rounds(heard, "main"), _stage(summary, "trained").adapter) == (
        2,
        _stage(Store(shared / "run").summary(), "clean").adapter,  # type: ignore[arg-type]
    )


def test_probes_of_another_judge_are_left_out(
    experiment: Experiment, shared: Path, tmp_path: Path
) -> None:
    values = experiment.model_dump(mode="json")
    values["evaluation"] |= {"probe_every": 1}
    _run(validate(values), tmp_path / "probed", tmp_path / "stages")
    _run(experiment, tmp_path / "run", tmp_path / "stages")
    probed, bare = Store(tmp_path / "probed").rounds(), Store(tmp_path / "run").rounds()
    assert all(record.probe for record in probed)
    assert not any(record.probe for record in bare)


def _key(experiment: Experiment) -> str:
    return keys.key(keys.federation_inputs(experiment, "fingerprint", {"micro": "digest"}))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"adapter": {"rank": 2}},
        {"training": {"steps": 3}},
        {"federation": {"rounds": 3}},
        {"federation": {"strategy": {"name": "median"}}},
        {"federation": {"wire": "bfloat16"}},
        {"data": {"partition": {"name": "dirichlet"}}},
        {"data": {"max_length": 100}},
        {"model": {"dtype": "bfloat16"}},
    ],
)
def test_key_depends_on(change: dict[str, Any], experiment: Experiment) -> None:
    values = experiment.model_dump(mode="json")
    for section, value in change.items():
        values[section] = {**values[section], **value} if isinstance(value, dict) else value
    assert _key(validate(values)) != _key(experiment)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"red_team": True},
        {"defenses": [DEFENSE]},
        {"evaluation": {"probe_every": 1, "judge": {"name": "keyword"}}},
        {"federation": {"keep_checkpoints": 9}},
    ],
)
def test_key_does_not_depend_on(change: dict[str, Any], experiment: Experiment) -> None:
    values = experiment.model_dump(mode="json")
    for section, value in change.items():
        values[section] = {**values[section], **value} if isinstance(value, dict) else value
    assert _key(validate(values)) == _key(experiment)


def test_files_count_by_their_content(experiment: Experiment, tmp_path: Path) -> None:
    def with_pairs(name: str, response: str) -> Experiment:
        path = tmp_path / name
        write_lines(path, [{"instruction": "ask", "response": response}])
        attack = {"malicious": 1, "generator": {"name": "file", "path": str(path)}}
        values = experiment.model_dump(mode="json")
        return validate({**values, "red_team": True, "attack": attack})

    one, moved, other = with_pairs("a", "x"), with_pairs("b", "x"), with_pairs("c", "y")
    assert (_key(one) == _key(moved), _key(one) == _key(other)) == (True, False)


def test_file_of_a_defenses_source_counts_by_its_content(
    experiment: Experiment, tmp_path: Path
) -> None:
    def key(response: str) -> str:
        path = tmp_path / "pairs.jsonl"
        write_lines(path, [{"instruction": "ask", "response": response}])
        choice = PluginChoice(name="fine-tune-data", source={"name": "jsonl", "path": str(path)})
        whole = with_all_settings(choice)
        return keys.key(keys.defense_inputs(experiment, "f", "a", whole, frozenset()))

    first = key("x")
    assert (key("x") == first, key("y") == first) == (True, False)


def test_code_of_a_plugin_named_by_its_path_counts(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "own_partition.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "def split(samples, clients, rng, /):\n    return [[0]] * clients\n"
    values = experiment.model_dump(mode="json")
    values["data"]["partition"] = {"name": "own_partition:split"}
    module.write_text(text, encoding="utf-8")
    before = _key(validate(values))
    module.write_text(f"{text}# changed\n", encoding="utf-8")
    assert _key(validate(values)) != before


def test_code_of_a_plugin_of_an_installed_package_counts(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "someones_partition.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "def split(samples, clients, rng, /):\n    return [[0]] * clients\n"
    module.write_text(text, encoding="utf-8")
    partitions = REGISTRIES["partition"]
    by_path = partitions["someones_partition:split"]
    monkeypatch.setattr(partitions, "_plugins", {**partitions._plugins, "someones": by_path})
    values = experiment.model_dump(mode="json")
    values["data"]["partition"] = {"name": "someones"}
    before = _key(validate(values))
    module.write_text(f"{text}# changed\n", encoding="utf-8")
    assert _key(validate(values)) != before


def test_stage_of_a_deployment_is_shared_with_nobody(experiment: Experiment) -> None:
    inputs = [keys.federation_inputs(experiment, "f", {}, run) for run in ("one", "other")]
    assert keys.key(inputs[0]) != keys.key(inputs[1])
