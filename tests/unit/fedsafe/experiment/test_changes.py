"""Changes of single settings, ``path=value``, over a preset: what each sets, and what is wrong."""

from typing import Any

import pytest

from fedsafe.errors import ConfigError
from fedsafe.experiment.load import load


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


def test_problems_are_there_for_programs() -> None:
    with pytest.raises(ConfigError) as caught:
        _change("seed=true", "rounds=3")
    assert [path for path, _ in caught.value.problems] == ["seed", "rounds"]


def test_item_of_a_list_is_named_as_messages_name_it() -> None:
    assert _change("defenses[0].steps=3").defenses[0].settings["steps"] == 3


def test_wrong_setting_hides_no_other_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        _change("training.steps=many", "federation.sampled=11", "evaluation.judge=mikro")
    assert {path for path, _ in caught.value.problems} == {
        "training.steps", "federation.sampled", "evaluation.judge.name"
    }  # fmt: skip
