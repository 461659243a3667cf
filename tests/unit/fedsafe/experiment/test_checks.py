"""Combinations that cannot work come back with their path and remedy."""

from typing import Any

import pytest
from pydantic import BaseModel

from fedsafe.errors import ConfigError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, Strategy
from fedsafe.experiment.section import Section

ATTACK = {"generator": {"name": "file", "path": "a.jsonl"}}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"federation": {"clients": 4, "sampled": 5}},
            "federation.sampled: 5 clients a round out of 4. Sample at most 4",
        ),
        (
            {"federation": {"sampled": 3, "minimum_replies": 4}},
            "federation.minimum_replies: 4 replies wanted of 3 sampled",
        ),
        (
            {"adapter": {"rank": 8, "ranks": [4, 16]}},
            "adapter.ranks: a client of rank 16, where the federation's adapter has rank 8",
        ),
        (
            {"training": {"learning_rate": 1e-5, "final_learning_rate": 1e-3}},
            "training.final_learning_rate: 0.001 is above",
        ),
        (
            {"attack": ATTACK},
            "attack: an attack runs only inside a declared red team. Set red_team",
        ),
        (
            {"attack": {**ATTACK, "malicious": 11}, "red_team": True},
            "attack.malicious: 11 malicious clients out of 10",
        ),
        (
            {"federation": {"clients": 4, "strategy": {"name": "krum", "byzantine": 1}}},
            r"federation.strategy: rule 'krum' \(byzantine=1\) needs at least 5 clients a round; "
            "4 are sampled",
        ),
        (
            {
                "federation": {
                    "strategy": {"name": "krum", "byzantine": 3},
                    "minimum_replies": 8,
                }
            },
            "federation.minimum_replies: rule 'krum' needs at least 9 replies",
        ),
        (
            {"federation": {"early_stopping": {"measure": "refusal"}}},
            r"federation.early_stopping: expected one of below and above \(got neither\)",
        ),
        (
            {
                "federation": {"early_stopping": {"below": 0.5}},
                "evaluation": {"probe_every": 0},
            },
            "federation.early_stopping: the model is looked at in no round",
        ),
        (
            {
                "federation": {"early_stopping": {"below": 0.5, "patience": 3}, "rounds": 5},
                "evaluation": {"probe_every": 2},
            },
            "federation.early_stopping: 3 small evaluations with an alarm are needed to stop, and "
            "before the last of 5 rounds there are 2",
        ),
        (
            {"federation": {"early_stopping": {"measure": "refusals", "below": 0.5}}},
            "federation.early_stopping.measure: 'refusals' is not measured; evaluation.measures "
            "has refusal, unsafe",
        ),
        (
            {"federation": {"strategy": "kurm"}},
            r"federation.strategy.name: Unknown rule 'kurm'. Did you mean 'krum'\?",
        ),
        (
            {"federation": {"strategy": {"name": "krum", "byzantin": 1}}},
            r"federation.strategy.byzantin: .*Did you mean 'byzantine'\?",
        ),
        (
            {"federation": {"strategy": {"name": "mean", "filters": ["nmm"]}}},
            r"federation.strategy.filters\[0\].name: Unknown filter",
        ),
        (
            {"federation": {"strategy": {"name": "mean", "optimizer": "adamm"}}},
            "federation.strategy.optimizer.name: Unknown optimizer",
        ),
        (
            {
                "federation": {
                    "strategy": {
                        "name": "flwr.serverapp.strategy:FedAvg",
                        "optimizer": "adam",
                    }
                }
            },
            "federation.strategy: .* is a Flower Strategy",
        ),
        (
            {"training": {"optimizer": "paged-adamw-8bit"}, "model": {"device": "cpu"}},
            "training.optimizer: 'paged-adamw-8bit' pages memory between GPU and host",
        ),
        (
            {"model": {"attention": "flash_attention_2", "device": "cpu"}},
            "model.attention: flash_attention_2 needs CUDA",
        ),
        (
            {"model": {"attention": "flash_attention_2", "dtype": "float32"}},
            "model.attention: flash_attention_2 computes in half precision",
        ),
        ({"defenses": "fine-tun"}, r"defenses\[0\].name: Unknown defense 'fine-tun'. Did you mean"),
        (
            {"defenses": [{"name": "fine-tune", "note": "no place for it"}]},
            r"defenses\[0\].note: expected text that matches",
        ),
        ({"defenses": ["fine-tune", "fine-tune"]}, r"defenses\[1\]: .*twice"),
        (
            {"federation": {"strategy": "fltrust"}},
            "federation.root: rule 'fltrust' compares updates .*Name a source",
        ),
        (
            {"federation": {"strategy": "fltrust", "root": "micra"}},
            "federation.root.name: Unknown source 'micra'",
        ),
        (
            {"federation": {"strategy": {"optimizer": {"name": "fedadam", "momentun": 1}}}},
            "federation.strategy.optimizer.momentun: .*Did you mean 'momentum'",
        ),
        ({"evaluation": {"judge": "mikro"}}, "evaluation.judge.name: Unknown judge"),
        ({"data": {"partition": "iidd"}}, "data.partition.name: Unknown partition"),
    ],
)
def test_impossible_combination_is_named(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        validate(values)


def test_combinations_are_reported_together() -> None:
    values = {"attack": ATTACK, "federation": {"clients": 2, "sampled": 3, "strategy": "kurm"}}
    with pytest.raises(ConfigError, match="has 4 problems"):
        validate(values)


def test_flower_strategy_by_path_is_accepted() -> None:
    choice = {"name": "flwr.serverapp.strategy:FedMedian"}
    assert validate({"federation": {"strategy": choice}}).federation.strategy.name


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"training.learning_rate"):
        validate({"training": {"learning_rate": value}})


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_name_that_is_no_directory_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="name: expected text that matches"):
        validate({"name": name})


def test_experiment_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Experiment().seed = 1  # type: ignore[misc]


def test_sampled_is_everyone_unless_told() -> None:
    assert validate({"federation": {"clients": 7}}).sampled == 7


@pytest.mark.parametrize(("clients", "wanted"), [(1, 1), (3, 1), (10, 5)])
def test_quorum_is_half_of_the_sampled_unless_told(clients: int, wanted: int) -> None:
    assert validate({"federation": {"clients": clients}}).minimum_replies == wanted


def test_honest_keeps_all_but_attack_and_defense() -> None:
    values = {"attack": ATTACK, "red_team": True, "defenses": "fine-tune", "seed": 4}
    assert validate(values).honest() == validate({"seed": 4, "red_team": True})


@pytest.mark.parametrize(
    "section", [*Section.__subclasses__(), Strategy], ids=lambda section: section.__name__
)
def test_every_field_has_its_help(section: type[BaseModel]) -> None:
    """A section as a field of the experiment is described by its own docstring."""
    fields = section.model_fields.items()
    missing = [name for name, field in fields if not field.description]
    described = {name for name, field in fields if isinstance(field.default, Section)}
    assert not set(missing) - described


DEFENSE = {"name": "fine-tune", "pairs": 4}


@pytest.mark.parametrize(
    ("defense", "judge", "problem"),
    [
        (
            {"filter": "micro-exact"},
            "micro-exact",
            r"defenses\[0\].filter\[0\]: 'micro-exact' is evaluation.judge too",
        ),
        ({"filter": ["self", "keyword"]}, "keyword", r"filter\[1\]: 'keyword' is evaluation.judge"),
        (
            {"filter": {"name": "self", "asks": "x"}},
            "keyword",
            r"filter\[0\].asks: unknown setting",
        ),
        ({"filter": "nobody"}, "keyword", r"filter\[0\].name: Unknown judge 'nobody'"),
        ({"filter": [{"mode": "head"}]}, "keyword", r"filter\[0\]: expected a judge's name"),
    ],
)
def test_filters_of_a_defense_are_other_judges(
    defense: dict[str, Any], judge: str, problem: str
) -> None:
    values = {"defenses": [{**DEFENSE, **defense}], "evaluation": {"judge": judge}}
    with pytest.raises(ConfigError, match=problem):
        validate(values)


@pytest.mark.parametrize(
    ("defense", "judge"),
    [
        ({}, "keyword"),  # filtered by self then
        ({"filter": "keyword"}, {"name": "keyword", "mode": "reference"}),
        ({"filter": ["keyword", {"name": "self", "safe": "y", "unsafe": "n"}]}, "micro-exact"),
    ],
)
def test_filters_that_the_evaluation_does_not_judge_with_are_right(
    defense: dict[str, Any], judge: Any
) -> None:
    validate({"defenses": [{**DEFENSE, **defense}], "evaluation": {"judge": judge}})
