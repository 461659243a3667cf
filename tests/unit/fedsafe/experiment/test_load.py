"""From preset, file and changes to one checked experiment; every problem at once."""

import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsafe.errors import ConfigError
from fedsafe.experiment.load import as_yaml, load, presets, read_preset, validate


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", presets())
def test_resolved_experiment_loads_back_equal(name: str) -> None:
    experiment = load(name)
    assert validate(yaml.safe_load(as_yaml(experiment))) == experiment


@pytest.mark.parametrize("name", presets())
def test_preset_may_be_copied_to_a_file(name: str, tmp_path: Path) -> None:
    assert load(_file(tmp_path, read_preset(name))) == load(name)


def test_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'mircro'. Did you mean 'micro'\?"):
        load("mircro")


@pytest.mark.parametrize("reference", ["my.yaml", "some/where", "/no/such.yml"])
def test_file_that_is_missing_is_not_taken_for_a_preset(reference: str) -> None:
    with pytest.raises(ConfigError, match="no experiment file at"):
        load(reference)


def test_run_directory_is_a_reference(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(as_yaml(load("micro")), encoding="utf-8")
    assert load(tmp_path) == load("micro")


def test_empty_directory_is_no_experiment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no experiment file at"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\tx: 1", "a: !!python/object:x.y {}"])
def test_broken_yaml_names_the_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"my\.yaml is not YAML"):
        load(_file(tmp_path, text))


def test_file_that_is_not_text_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ConfigError, match=r"my\.yaml is not YAML"):
        load(path)


@pytest.mark.parametrize("text", ["- 1", "word", "3"])
def test_yaml_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must hold a mapping of settings"):
        load(_file(tmp_path, text))


@pytest.mark.parametrize("text", ["", "# only words\n", "---\n", "null"])
def test_empty_file_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="mapping of settings, such as `preset: micro`; it is empty"
    ):
        load(_file(tmp_path, text))


def test_empty_mapping_is_the_default_experiment(tmp_path: Path) -> None:
    assert load(_file(tmp_path, "{}")).federation.clients == 10


def test_problems_come_all_at_once_with_dotted_paths(tmp_path: Path) -> None:
    text = "seeed: 1\ntraining: {steps: 0, learning_rate: fast}\nadapter: {rnk: 3}\n"
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, text))
    lines = str(caught.value).splitlines()
    assert "has 4 problems" in lines[0]
    assert sorted(line.split(":")[0].strip() for line in lines[1:]) == [
        "adapter.rnk",
        "seeed",
        "training.learning_rate",
        "training.steps",
    ]


def test_mistyped_key_suggests_among_its_neighbours(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"adapter\.rnk: .*Did you mean 'rank'\? Known here: rank"
    ):
        load(_file(tmp_path, "adapter: {rnk: 3}"))


def test_plugin_problems_come_all_at_once_with_dotted_paths(tmp_path: Path) -> None:
    text = (
        "data: {source: {name: micro, cont: 3}, template: chatt}\n"
        "federation: {strategy: {name: krum, byzantine: -1}}\n"
        "evaluation: {suites: [micro, {name: micro, harmful: many}]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, text))
    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "data.source.cont",
        "data.template.name",
        "evaluation.suites[1].harmful",
        "federation.strategy.byzantine",
    ]


def _change(*changes: str) -> Any:
    return load("micro", changes)


def test_change_sets_one_value() -> None:
    assert _change("federation.rounds=3").federation.rounds == 3


def test_change_leaves_its_neighbours_alone() -> None:
    assert (
        _change("training.steps=3").training.learning_rate == load("micro").training.learning_rate
    )


def test_change_of_the_experiments_name_leaves_the_rest_alone() -> None:
    assert _change("name=mine") == load("micro").model_copy(update={"name": "mine"})


def test_change_of_a_plugins_name_forgets_the_settings_of_the_old_one() -> None:
    source = _change("data.source.name=jsonl", "data.source.path=a.jsonl").data.source
    assert source.settings == {"path": "a.jsonl"}


def test_change_to_the_same_plugin_keeps_its_settings() -> None:
    assert _change("data.source.name=micro").data.source == load("micro").data.source


def test_change_of_a_setting_of_a_plugin_given_by_name_alone() -> None:
    strategy = _change("federation.strategy=multi-krum", "federation.strategy.byzantine=2")
    assert strategy.federation.strategy.settings == {"byzantine": 2}


def test_change_of_one_defense_in_the_list() -> None:
    defense = _change("defenses.0.steps=3").defenses[0]
    assert (defense.name, defense.settings["steps"], defense.settings["pairs"]) == (
        "fine-tune",
        3,
        load("micro").defenses[0].settings["pairs"],
    )


def test_change_beyond_the_list_is_a_problem() -> None:
    with pytest.raises(ConfigError, match=r"defenses\.5\.steps: .*no item 5"):
        _change("defenses.5.steps=3")


def test_change_of_a_whole_item_is_a_problem() -> None:
    with pytest.raises(ConfigError, match=r"defenses\.0: name a setting of an item"):
        _change("defenses.0=other")


def test_unknown_key_of_a_section_below_lists_what_is_known_there() -> None:
    with pytest.raises(ConfigError, match=r"attack\.malicius: .*Did you mean 'malicious'"):
        _change("attack.malicius=1")


def test_change_may_hold_a_mapping() -> None:
    choice = _change("federation.strategy={name: trimmed-mean, byzantine: 2}").federation.strategy
    assert (choice.name, choice.settings) == ("trimmed-mean", {"byzantine": 2})


def test_change_to_null_removes_the_attack() -> None:
    assert _change("attack=null").attack is None


def test_change_of_a_value_with_an_equals_sign() -> None:
    assert _change("attack.generator.ask=a=b").attack.generator.settings["ask"] == "a=b"


@pytest.mark.parametrize("change", ["federation.rounds", "=3", " =3"])
def test_change_without_path_or_value_is_a_problem(change: str) -> None:
    with pytest.raises(ConfigError, match="a change is written path=value"):
        _change(change)


def test_change_that_is_not_yaml_is_a_problem() -> None:
    with pytest.raises(ConfigError, match=r"model\.path: .*is not a YAML value"):
        _change("model.path=[1")


def test_every_wrong_change_is_reported() -> None:
    with pytest.raises(ConfigError, match="has 2 problems"):
        _change("rounds", "model.path=[1")


def test_change_of_an_unknown_key_is_a_problem() -> None:
    with pytest.raises(ConfigError, match=r"federation\.rouns: .*Did you mean 'rounds'"):
        _change("federation.rouns=3")


def test_preset_key_inherits_what_the_file_leaves_out(tmp_path: Path) -> None:
    found = load(_file(tmp_path, "preset: micro\nfederation: {rounds: 2}\n"))
    micro = load("micro")
    changed = micro.federation.model_copy(update={"rounds": 2})
    assert found == micro.model_copy(update={"federation": changed})


def test_preset_key_may_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("preset: micro\nseed: 5\n", encoding="utf-8")
    found = load(_file(tmp_path, f"preset: {tmp_path / 'base.yaml'}\nname: mine\n"))
    assert (found.seed, found.name, found.red_team) == (5, "mine", True)


def test_preset_key_that_names_nothing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no preset 'mikro'"):
        load(_file(tmp_path, "preset: mikro\n"))


def test_preset_that_names_itself_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    with pytest.raises(ConfigError, match="inherits from itself"):
        load(_file(tmp_path, f"preset: {path}\n"))


def test_preset_key_of_another_plugin_drops_the_old_settings(tmp_path: Path) -> None:
    found = load(_file(tmp_path, "preset: micro\ndata: {source: {name: jsonl, path: x.jsonl}}\n"))
    assert found.data.source.settings == {"path": "x.jsonl"}


def test_preset_key_keeps_settings_where_no_plugin_is_named(tmp_path: Path) -> None:
    found = load(_file(tmp_path, "preset: micro\ndata: {source: {count: 2000}}\n"))
    assert found.data.source == load("micro").data.source.model_copy(update={"count": 2000})


def test_preset_key_adds_settings_to_a_plugin_given_by_name_alone(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("federation: {strategy: krum}\n", encoding="utf-8")
    text = f"preset: {tmp_path / 'base.yaml'}\nfederation: {{strategy: {{byzantine: 2}}}}\n"
    choice = load(_file(tmp_path, text)).federation.strategy
    assert (choice.name, choice.settings) == ("krum", {"byzantine": 2})


def test_headline_of_each_preset_is_a_sentence() -> None:
    assert all(headline.endswith(".") for headline in presets().values())


@pytest.mark.parametrize(
    ("change", "meant"),
    [
        ("rounds=3", "federation.rounds"),
        ("learning_rate=0.1", "training.learning_rate"),
        ("training.lr=0.1", "training.learning_rate"),
        ("training.rank=8", "adapter.rank"),
        ("federation.num_rounds=3", "rounds"),
        ("data.batch_size=3", "training.batch_size"),
        ("judge=keyword", "evaluation.judge"),
        ("malicious=3", "attack.malicious"),
        ("adapter.lora_alpha=3", "alpha"),
    ],
)
def test_name_from_elsewhere_is_recognised(change: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown setting.* Did you mean '{meant}'\?"):
        _change(change)


@pytest.mark.parametrize(
    "change",
    ["red_team='yes'", "red_team=1", "seed=true", "seed='3'", "seed=3.0", "adapter.rank=1:30",
     "training.learning_rate='0.1'", "control=no", "defenses.0.steps='3'", "name=3",
     "federation.strategy={name: krum, byzantine: true}", "evaluation.suites.harmful=1.0"],
)  # fmt: skip
def test_nothing_is_converted_in_silence(change: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        _change(change)


@pytest.mark.parametrize(
    "path",
    ["seed", "adapter.rank", "training.steps", "training.batch_size", "training.learning_rate",
     "federation.clients", "federation.rounds", "federation.deadline", "data.max_length",
     "evaluation.max_new_tokens", "evaluation.batch_size", "model.threads", "attack.malicious"],
)  # fmt: skip
def test_number_beyond_all_sense_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=rf"{path}: expected .*a number less than"):
        _change(f"{path}={10**30}")


@pytest.mark.parametrize("value", [float("inf"), {"deep": [float("nan")]}, {1, 2}, b"x"])
def test_setting_that_no_file_can_hold_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"data\.source: setting 'x': expected"):
        validate({"data": {"source": {"name": "micro", "x": value}}})


def test_problems_are_there_for_programs() -> None:
    with pytest.raises(ConfigError) as caught:
        _change("seed=true", "rounds=3")
    assert [path for path, _ in caught.value.problems] == ["seed", "rounds"]


def test_experiment_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("preset: micro\nseed: 5\n"))
    assert load("-").seed == 5


def test_experiment_comes_from_a_mapping() -> None:
    assert load({"seed": 5}, ["seed=6"]).seed == 6


def test_item_of_a_list_is_named_as_messages_name_it() -> None:
    assert _change("defenses[0].steps=3").defenses[0].settings["steps"] == 3


def test_wrong_setting_hides_no_other_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        _change("training.steps=many", "federation.sampled=11", "evaluation.judge=mikro")
    assert {path for path, _ in caught.value.problems} == {
        "training.steps", "federation.sampled", "evaluation.judge.name"
    }  # fmt: skip


def test_directory_named_like_a_preset_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "micro").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("micro-quick").name == "micro-quick"
