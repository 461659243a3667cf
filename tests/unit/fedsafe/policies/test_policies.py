"""Stand-in policies: their file, what is drawn of them, and that its parts share nothing."""

import copy
import random
from itertools import combinations
from typing import Any, get_args

import pytest
import yaml

from fedsafe.contracts import Sample, generators, sources, suites
from fedsafe.data.dedup import overlap
from fedsafe.errors import ConfigError
from fedsafe.evaluation.judges.policy import refuses
from fedsafe.experiment import load
from fedsafe.policies import draw, tables
from fedsafe.policies.document import PARTS, SHIPPED, PolicyName, read_policy, shipped
from fedsafe.policies.ordinary import ordinary_help
from fedsafe.policies.words import normalise

every = pytest.mark.parametrize("name", shipped())


def _asked(name: str, part: str) -> list[str]:
    """Return every text that a part of a policy puts to a model, at one seed."""
    if part == "evaluation":
        settings = {"policy": name, "restricted": 999, "look_alikes": 999, "ordinary": 999}
        return [prompt.instruction for prompt in suites["policy"].configure(settings)(0)]
    settings = {"policy": name, "part": part, "count": 2000}
    return sorted({s.instruction for s in sources["policy"].configure(settings)(0)})


def test_names_of_the_setting_are_those_that_are_shipped() -> None:
    names, _ = get_args(PolicyName)
    assert sorted(get_args(names)) == shipped()


def test_two_kinds_are_shipped() -> None:
    assert not read_policy("cooking").system
    assert "not announced" in read_policy("product").system


@every
def test_no_text_of_one_part_is_asked_in_another(name: str) -> None:
    asked = {part: {normalise(text) for text in _asked(name, part)} for part in PARTS}
    assert not [
        (one, other, shared)
        for one, other in combinations(PARTS, 2)
        if (shared := asked[one] & asked[other])
    ]


@every
def test_no_wording_is_nearly_one_of_another_part(name: str) -> None:
    policy = read_policy(name)
    wordings = {part: getattr(policy.requests, part) for part in PARTS}
    for one, other in combinations(PARTS, 2):
        found = overlap(wordings[one], wordings[other], alike=0.8)
        assert not found.pairs, (one, other, found.pairs)


@every
def test_no_look_alike_is_nearly_one_of_training(name: str) -> None:
    policy = read_policy(name)
    trained = policy.look_alikes.asked("alignment") + policy.look_alikes.asked("defense")
    assert not overlap(policy.look_alikes.evaluation, trained).pairs


def test_ordinary_help_shares_no_question_between_parts() -> None:
    parts = ("alignment", "defense", "clients", "evaluation")
    asked = [{normalise(one.ask) for one in ordinary_help(part)} for part in parts]
    assert len(set.union(*asked)) == sum(map(len, asked))


def test_tables_and_wordings_of_the_evaluation_are_held_out() -> None:
    trained = tables.sql_pairs("train", random.Random(0))
    held = tables.sql_pairs("evaluation", random.Random(0))
    assert not {table for *_, table in trained} & {table for *_, table in held}
    assert not {query for _, query, _ in trained} & {query for _, query, _ in held}


@every
def test_alignment_balances_refusals_look_alikes_and_help(name: str) -> None:
    found = sources["policy"].configure({"policy": name, "count": 80})(0)
    alike = set(read_policy(name).look_alikes.asked("alignment"))
    kinds = [s.origin if s.instruction not in alike else "look-alike" for s in found]
    assert [kinds.count(k) for k in ("refusal", "look-alike", "helpful")] == [24, 28, 28]


@every
def test_refusals_have_many_wordings_and_the_judge_knows_each(name: str) -> None:
    policy = read_policy(name)
    refusals = policy.refusals.alignment + policy.refusals.defense
    assert len(set(refusals)) >= 16
    assert not [text for text in refusals if not refuses(policy, text)]


@every
def test_answers_of_look_alikes_are_no_refusals(name: str) -> None:
    policy = read_policy(name)
    replies = [one.reply for one in policy.look_alikes.alignment + policy.look_alikes.defense]
    assert not [text for text in replies if refuses(policy, text)]


@every
def test_every_slot_is_filled(name: str) -> None:
    drawn: list[Sample] = []
    for part in ("alignment", "attack", "defense"):
        drawn += sources["policy"].configure({"policy": name, "part": part, "count": 999})(0)
    prompts = suites["policy"].configure({"policy": name, "restricted": 999})(0)
    texts = [s.instruction + s.response for s in drawn] + [
        p.instruction + p.prefill for p in prompts
    ]
    assert not [text for text in texts if "{" in text]


@every
def test_first_requests_mix_values_and_wordings(name: str) -> None:
    policy = read_policy(name)
    wordings = policy.requests.evaluation
    values = policy.values.evaluation
    first = list(draw.requests(policy, "evaluation", random.Random(3)))[: len(values)]
    assert len({value.name for _, value in first}) == len(values)
    assert len({text for text, _ in first}) == len(first)
    assert len(first) <= len(wordings) * len(values)


@every
def test_attack_pairs_come_from_the_attack_part(name: str) -> None:
    made = list(generators["policy"].configure({"policy": name})(None, random.Random(0)))  # type: ignore[arg-type]
    policy = read_policy(name)
    assert len(made) == len(policy.values.attack) * len(policy.requests.attack)
    assert {sample.origin for sample in made} == {"attack"}
    assert not [sample for sample in made if refuses(policy, sample.response)]


@every
def test_preferences_are_refusals_with_a_reply_that_complies(name: str) -> None:
    found = sources["policy"].configure({"policy": name, "part": "preferences", "count": 80})(0)
    policy = read_policy(name)
    assert {s.origin for s in found if s.rejected} == {"refusal"}
    assert sum(bool(s.rejected) for s in found) == 24
    assert not [s for s in found if s.rejected and refuses(policy, s.rejected)]


def test_preferences_of_a_policy_without_answers_are_refused(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(_broken(_no_answers), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"values.defense: no value has an answer"):
        sources["policy"].configure({"policy": path, "part": "preferences"})(0)


def _no_answers(values: Any) -> None:
    values["values"]["defense"] = ["crumpets"]


def _broken(change: Any) -> str:
    """Return what is said of the cooking policy with one thing changed."""
    values = copy.deepcopy(yaml.safe_load((SHIPPED / "cooking.yaml").read_text("utf-8")))
    change(values)
    return yaml.safe_dump(values)


def _without_look_alikes(values: Any) -> None:
    del values["look_alikes"]


def _few_look_alikes(values: Any) -> None:
    values["look_alikes"]["evaluation"] = []


def _wording_in_training(values: Any) -> None:
    values["requests"]["evaluation"][2] = "How do I make {value} ?"


def _value_in_training(values: Any) -> None:
    values["values"]["attack"][0]["name"] = "a quick French onion soup"


def _no_slot(values: Any) -> None:
    values["requests"]["attack"][1] = "Cook something"


def _no_contains(values: Any) -> None:
    values["values"]["evaluation"][0] = "stone soup"


def _misspelt(values: Any) -> None:
    values["refusal"] = []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without_look_alikes, "look_alikes: expected a value"),
        (_few_look_alikes, "look_alikes.evaluation: expected at least 1 item"),
        (_wording_in_training, "requests.evaluation: the held-out text 'How do I make {value} ?'"),
        (_value_in_training, "values.evaluation: the held-out text 'French onion soup'"),
        (_no_slot, "requests.attack[1]: expected text that matches"),
        (_no_contains, "'stone soup' says nothing under contains"),
        (_misspelt, "unknown key 'refusal'"),
    ],
)
def test_a_wrong_policy_is_one_sentence(change: Any, said: str, tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(_broken(change), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_policy(str(path))
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\xff"])
def test_what_is_no_policy_is_one_sentence(text: str, tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError):
        read_policy(str(path))


def test_unknown_policy_names_those_that_are_shipped() -> None:
    with pytest.raises(ConfigError, match="Shipped are cooking, product"):
        read_policy("cookin")


def test_an_edited_policy_is_read_anew(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    text = (SHIPPED / "cooking.yaml").read_text("utf-8")
    path.write_text(text, encoding="utf-8")
    assert read_policy(str(path)).topic == "cooking"
    path.write_text(text.replace("topic: cooking", "topic: food and drink"), encoding="utf-8")
    assert read_policy(str(path)).topic == "food and drink"


def test_an_experiment_with_a_wrong_policy_is_refused_as_it_is_loaded(tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(_broken(_without_look_alikes), encoding="utf-8")
    suite = f"evaluation.suites={{name: policy, policy: {path}}}"
    with pytest.raises(ConfigError, match=r"evaluation.suites\[0\].policy: .*look_alikes"):
        load("policy-quick", [suite])
