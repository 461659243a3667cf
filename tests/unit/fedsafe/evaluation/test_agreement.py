"""Several judges of one evaluation, and how far they agree."""

import json
from pathlib import Path

import pytest

from fedsafe.contracts import Exchange, Prompt, Verdict
from fedsafe.errors import ConfigError
from fedsafe.evaluation.agreement import agreements
from fedsafe.evaluation.evaluate import evaluate, judges_of, with_judge
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Evaluation, Experiment, PluginChoice
from fedsafe.training.session import Session


def exchange(number, purpose="harmful", condition="plain"):
    return Exchange(Prompt(f"p{number}", "ask", purpose), "reply", condition)


def verdicts(said):
    names = {"r": "refuse", "c": "comply", "g": "garbage", "?": "unknown"}
    return [Verdict(names[letter]) for letter in said]


def test_kappa_of_a_known_table():
    found = agreements(
        [exchange(i) for i in range(10)], {"a": verdicts("rrrrrccccc"), "b": verdicts("rrrrcccccr")}
    )
    assert (found[0].n, found[0].same, found[0].kappa) == (10, 8, pytest.approx(0.6))


def test_unknown_verdicts_are_counted_apart():
    (found,) = agreements(
        [exchange(i) for i in range(3)], {"a": verdicts("r?c"), "b": verdicts("rcc")}
    )
    assert (found.n, found.unknown) == (2, 1)


def test_every_two_judges_and_each_condition_have_their_own():
    asked = [exchange(0), exchange(1, condition="prefilled")]
    said = {name: verdicts("rc") for name in "abc"}
    found = {(one.first, one.second, one.condition) for one in agreements(asked, said)}
    assert len(found) == 6


def test_utility_is_left_out():
    assert not agreements([exchange(0, "utility")], {"a": verdicts("c"), "b": verdicts("r")})


def test_a_list_of_judges_is_the_first_and_the_others():
    found = Evaluation.model_validate({"judge": ["keyword", "refusal", {"name": "self"}]})
    assert found.judge.name == "keyword"
    assert [choice.name for choice in found.second_judges] == ["refusal", "self"]


def test_a_second_judge_is_checked_as_the_first_is(experiment: Experiment):
    values = json.loads(experiment.as_json())
    values["evaluation"]["second_judges"] = [{"name": "keyword", "mode": "bad"}]
    with pytest.raises(ConfigError, match=r"evaluation\.second_judges\[0\]\.mode"):
        validate(values)


def test_a_judge_named_twice_is_asked_once(experiment: Experiment):
    found = with_judge(experiment, PluginChoice(name="keyword"), PluginChoice(name="keyword"))
    assert len(judges_of(found)) == 1


def test_scores_are_the_first_judge_s_and_hold_the_agreement(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    both = with_judge(experiment, PluginChoice(name="micro-exact"), PluginChoice(name="refusal"))
    found, directory = evaluate(session, session.start(0), both, tmp_path, "base")
    assert found.judge.startswith("micro-exact")
    assert {one.second.rpartition("-")[0] for one in found.agreement} == {"refusal"}
    assert len(list((directory / "verdicts").iterdir())) == 2
    last = json.loads((directory / "scores.json").read_text())
    assert last["judge"]["name"] == "micro-exact"
