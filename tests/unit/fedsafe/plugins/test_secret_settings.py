"""Secret settings: an experiment names an environment variable, and never holds the value."""

import pytest
from pydantic import SecretStr

from fedsafe.contracts import judges
from fedsafe.errors import ConfigError
from fedsafe.experiment.load import as_yaml, validate
from fedsafe.experiment.schema import Experiment

JUDGE = "tests.doubles.plugins:paid_judge"
PLANTED = "planted-8d1f"


def _with_judge(experiment: Experiment, **settings: str) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["evaluation"]["judge"] = {"name": JUDGE, **settings}
    return validate(values)


@pytest.mark.parametrize("name", ["key", "api_key"])
def test_literal_secret_is_refused_and_not_repeated(name: str, experiment: Experiment) -> None:
    with pytest.raises(ConfigError, match=rf"evaluation.judge.{name}: a secret must not") as caught:
        _with_judge(experiment, **{name: PLANTED})
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize("part", ["name", "optimizer"])
def test_literal_secret_of_a_strategy_is_refused(part: str, experiment: Experiment) -> None:
    values = experiment.model_dump(mode="json")
    keyed = {"name": f"tests.doubles.plugins:keyed_{part}", "api_key": PLANTED}
    values["federation"]["strategy"] = keyed if part == "name" else {"name": "mean", part: keyed}
    with pytest.raises(ConfigError, match=r"federation\.strategy.*api_key: a secret must not"):
        validate(values)


def test_reference_is_read_when_the_plugin_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", PLANTED)
    bound = judges[JUDGE].configure({"key": "env:JUDGE_KEY", "api_key": "env:JUDGE_KEY"})
    settings = bound.keywords  # type: ignore[attr-defined]
    assert (settings["key"].get_secret_value(), settings["api_key"]) == (PLANTED, PLANTED)


def test_experiment_holds_the_reference_alone(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", PLANTED)
    found = _with_judge(experiment, key="env:JUDGE_KEY")
    assert "env:JUDGE_KEY" in as_yaml(found)
    assert PLANTED not in as_yaml(found)


def test_missing_variable_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(ConfigError, match="there is no environment variable JUDGE_KEY"):
        judges[JUDGE].configure({"key": "env:JUDGE_KEY"})


def test_value_that_only_looks_like_a_reference_stays(experiment: Experiment) -> None:
    bound = judges[JUDGE].configure({"key": SecretStr("env: no name")})
    assert bound.keywords["key"].get_secret_value() == "env: no name"  # type: ignore[attr-defined]
