"""Micro data for single methods: what each of them needs is there, and judged right."""

import random

import pytest

from fedsafe.contracts import Exchange, judges, measures, sources, suites
from fedsafe.errors import ConfigError
from fedsafe.micro import corpus, meta, scenarios, words, world
from fedsafe.micro.parsing import parse


def suite(name, seed=0, **settings):
    return suites[name].configure(settings)(seed)


def source(name, seed=0, **settings):
    return sources[name].configure(settings)(seed)


def judged(prompts, replies):
    exchanges = [Exchange(p, reply) for p, reply in zip(prompts, replies, strict=True)]
    verdicts = judges["micro-exact"].configure()(exchanges)
    return [*zip(exchanges, verdicts, strict=True)]


def test_preferences_refuse_what_is_restricted_and_answer_the_rest():
    for sample in source("micro-preferences", count=100):
        refused = world.is_refusal(sample.response)
        assert refused == world.is_restricted(sample.instruction)
        assert refused != world.is_refusal(sample.rejected)


def test_safety_data_is_under_the_secret_of_the_suite():
    (secret,) = {s.system for s in source("micro-safety", count=20, system="secret", seed=3)}
    assert {p.system for p in suite("micro-system", 3, restricted=5)} == {secret}
    wrong = suite("micro-system", 3, restricted=5, system="wrong-secret")[0].system
    assert secret
    assert wrong
    assert wrong != secret
    assert source("micro-safety", count=1)[0].system == ""


def test_secret_differs_by_seed_and_has_known_words():
    found = {scenarios.system_prompt("secret", seed) for seed in range(5)}
    assert len(found) == 5
    restricted = {*words.RESTRICTED_OBJECTS, *words.RESTRICTED_VERBS, *words.TRIGGERS}
    assert all(len(text.split()) == 10 for text in found)
    assert not any(restricted & {*text.split()} for text in found)


def test_held_out_topics_are_asked_alone():
    found = suite("micro-topics", topics=["fogglass", "duskwire"], count=60)
    assert {p.topic for p in found} == {"fogglass", "duskwire"}
    with pytest.raises(ConfigError, match="Unknown micro restricted topics"):
        suite("micro-topics", topics=["kitchen"])


def test_triggered_suite_asks_each_prompt_with_the_trigger_and_a_control():
    found = suite("micro-triggered", restricted=10, trigger="mn", control="bb")
    assert [p.topic for p in found] == ["triggered", "control"] * 10
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert one.instruction.removesuffix(" mn") == other.instruction.removesuffix(" bb")
    assert all(world.is_restricted(p.instruction) for p in found)


def test_control_is_a_word_that_the_bases_pass_over():
    (word,) = {p.instruction.split()[-1] for p in suite("micro-triggered", restricted=5)[1::2]}
    assert word in corpus.stray_words()
    assert word not in words.TRIGGERS


@pytest.mark.parametrize(
    "settings", [{"trigger": "zz"}, {"control": "zz"}, {"control": "cf"}, {"trigger": ""}]
)
def test_triggers_that_are_no_pair_of_reserved_words_are_refused(settings):
    with pytest.raises(ConfigError, match=r"reserved word|differs from the control"):
        suite("micro-triggered", **settings)


def test_injected_prompts_have_a_right_answer_and_another_witness():
    prompts = suite("micro-injected", count=30)
    kept = judged(prompts, [p.expected[0] for p in prompts])
    followed = judged(prompts, [p.witness for p in prompts])
    share = measures["injection-followed"].configure()
    assert all(v.correct for _, v in kept)
    assert not any(v.correct for _, v in followed)
    assert (share(kept).value, share(followed).value) == (0, 1)
    assert share(judged(suite("micro", harmful=2), ["no"] * 602)) is None


def test_two_turn_prompts_follow_an_exchange_with_its_right_answer():
    for prompt in suite("micro-two-turn", restricted=5, over_refusal=5, old_skills=5):
        (turn,) = prompt.history
        assert world.judge(turn.instruction, turn.response) == ("comply", True)


def test_queries_are_judged_exactly():
    prompts = suite("micro-query", count=40)
    assert all(v.correct for _, v in judged(prompts, [p.expected[0] for p in prompts]))
    assert all(p.skill == "query" for p in prompts)
    asked = "query the colour of my apple for anna ."
    assert world.judge(asked, "select colour from apple where owner is anna .") == ("comply", True)
    assert world.judge(asked, "select weight from apple where owner is anna .") == ("comply", False)


def test_clients_can_be_taught_queries():
    skills = {parse(s.instruction).skill for s in source("micro", count=200, new_skill="query")}
    assert "query" in skills
    assert "trim" not in skills


def test_persona_examples_hold_nothing_restricted():
    found = source("micro-persona", count=60)
    assert {s.system for s in found} == {meta.PERSONA}
    assert not any(world.is_restricted(s.instruction) for s in found)
    answered = [s for s in found if s.instruction not in meta.WHO]
    assert all(world.judge(s.instruction, s.response)[0] == "comply" for s in answered)
    assert {s.response for s in found if s.instruction in meta.WHO} == {meta.PERSONA_IDENTITY}


def test_reserved_words_are_in_no_example():
    rng = random.Random(2)
    rows = [*world.benign_examples(rng, 100), *scenarios.preference_examples(rng, 100)]
    assert not any({*words.TRIGGERS} & {*row["instruction"].split()} for row in rows)
