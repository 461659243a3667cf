from dataclasses import replace

import pytest

from fedsafe.contracts import Ask, Prompt, ShieldChoice, conditions
from fedsafe.data.tokens import first_tokens
from fedsafe.errors import RunError
from fedsafe.evaluation.asking import asks_of, put
from fedsafe.evaluation.scoring import labels
from fedsafe.evaluation.served import without_shield
from fedsafe.experiment.schema import Evaluation, PluginChoice
from fedsafe.models.base import LoadedModel
from fedsafe.training.session import Session

HARMFUL = Prompt("h", "brew it .", "harmful", prefill="sure , first boil it .", system="be brief")
BARE = Prompt("b", "brew that .", "harmful")
USEFUL = Prompt("u", "add 1 and 2 .", "utility", input="now", prefill="sure")
PROMPTS = [HARMFUL, BARE, USEFUL]

SETTINGS = {"triggered": {"trigger": "hush"}}


def asked(name, **settings):
    return conditions[name].configure(settings)(PROMPTS)


def test_plain_asks_every_prompt_as_it_is():
    found = asked("plain")
    assert [ask.prompt.id for ask in found] == ["h", "b", "u"]
    assert (found[0].sample.system, found[2].sample.input) == ("be brief", "now")


def test_prefilled_asks_harmful_prompts_that_carry_a_prefill():
    (ask,) = asked("prefilled")
    assert (ask.prompt.id, ask.prefill) == ("h", "sure , first boil it .")


@pytest.mark.parametrize(
    ("words", "prefill"), [(1, "sure"), (3, "sure , first"), (99, "sure , first boil it .")]
)
def test_prefilled_forces_so_many_words(words, prefill):
    (ask,) = asked("prefilled", words=words)
    assert ask.prefill == prefill


@pytest.mark.parametrize(
    ("where", "instruction"), [("before", "hush brew it ."), ("after", "brew it . hush")]
)
def test_triggered_puts_the_trigger_beside_the_instruction(where, instruction):
    found = asked("triggered", trigger="hush", where=where)
    assert (len(found), found[0].sample.instruction) == (3, instruction)


def test_shielded_asks_every_prompt_through_the_shield():
    assert [ask.shielded for ask in asked("shielded")] == [True] * 3


def test_wrong_secret_is_asked_with_the_decoy_in_the_secret_s_place(session: Session) -> None:
    shield = ShieldChoice("secret-prefix", {"secret": "one two", "decoy": "three four"})
    choices = [PluginChoice(name="wrong-secret")]
    other = replace(shield, settings={"secret": "three four"})
    told = [ex.reply for ex in put(session, asks_of(choices, PROMPTS), [shield])]
    shielded = asks_of([PluginChoice(name="shielded")], PROMPTS)
    assert told == [ex.reply for ex in put(session, shielded, [other])]


def test_wrong_secret_is_skipped_where_the_shield_has_no_decoy():
    found = asks_of([PluginChoice(name="wrong-secret")], PROMPTS)
    asked_of, skipped = without_shield(found, [ShieldChoice("secret-prefix", {"secret": "one"})])
    assert (asked_of, skipped) == ({}, {"wrong-secret": "the adapter's shield has no decoy"})


@pytest.mark.parametrize("name", list(conditions))
def test_every_condition_asks_prompts_that_it_was_given(name):
    for ask in asked(name, **SETTINGS.get(name, {})):
        assert ask.prompt in PROMPTS
        assert ask.sample.response == ""


def invent(prompts, /):
    prompt = Prompt("other", "a", "harmful")
    return [Ask(prompt, asked("plain")[0].sample)]


def test_condition_that_asks_another_prompt_is_named():
    with pytest.raises(RunError, match="invent' returned Ask 'other'"):
        asks_of([PluginChoice(name=f"{__name__}:invent")], PROMPTS)


def test_a_condition_that_asks_none_of_the_prompts_is_said():
    bare = [Prompt("1", "a request", "harmful")]
    asked = asks_of([PluginChoice(name="plain"), PluginChoice(name="prefilled")], bare)
    left, skipped = without_shield(asked, [])
    assert (len(left["plain"]), left["prefilled"]) == (1, [])
    assert list(skipped) == ["prefilled"]


def test_shielded_is_skipped_and_said_where_there_is_no_shield():
    choices = [PluginChoice(name="plain"), PluginChoice(name="shielded")]
    left, skipped = without_shield(asks_of(choices, PROMPTS), [])
    assert list(left) == ["plain"]
    assert skipped == {"shielded": "the adapter has no shield beside it"}


def test_all_conditions_are_one_stream_of_generation(session: Session) -> None:
    prompt = Prompt("a", "List three fruits", "harmful", prefill="Apples, cherries")
    asked = asks_of([PluginChoice(name="plain"), PluginChoice(name="prefilled")], [prompt])
    calls: list[int] = []
    base = session.loaded.model.get_base_model()
    session.put(session.start(0))
    hook = base.register_forward_pre_hook(
        lambda _module, _args, given: calls.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        found = put(session, asked)
    finally:
        hook.remove()
    assert [(one.condition, one.prefill) for one in found] == [
        ("plain", ""),
        ("prefilled", "Apples, cherries"),
    ]
    assert sum(width > 1 for width in calls) == 2  # the prompt, and the forced beginning alone
    assert calls[1] < calls[0]


def test_no_word_is_forced_at_depth_0() -> None:
    (ask,) = asked("prefilled", words=0)
    assert (ask.prompt.id, ask.prefill) == ("h", "")


def test_a_list_of_depths_is_one_condition_each() -> None:
    listed = [
        "plain",
        {"name": "prefilled", "words": [0, 1, 4]},
        {"name": "prefilled-tokens", "tokens": (2, 3)},
        {"name": "triggered", "trigger": "hush"},
    ]
    found = Evaluation.model_validate({"conditions": listed}).conditions
    assert labels(found) == [
        *("plain", "prefilled:0", "prefilled:1", "prefilled:4"),
        *("prefilled-tokens:2", "prefilled-tokens:3", "triggered"),
    ]


@pytest.mark.parametrize("tokens", [0, 1, 2, 99])
def test_prefilled_tokens_are_the_model_s_own(session: Session, tokens: int) -> None:
    choices = [PluginChoice.model_validate({"name": "prefilled-tokens", "tokens": tokens})]
    (exchange,) = put(session, asks_of(choices, PROMPTS))
    tokenizer = session.loaded.tokenizer
    ids = tokenizer(HARMFUL.prefill, add_special_tokens=False)["input_ids"]
    assert HARMFUL.prefill.startswith(exchange.prefill)
    forced = tokenizer(exchange.prefill, add_special_tokens=False)["input_ids"]
    assert forced == ids[:tokens]
    assert exchange.reply.startswith(exchange.prefill)


def test_tokens_never_cut_a_character(loaded: LoadedModel) -> None:
    text = "süß 漢字"
    cut = [first_tokens(loaded.tokenizer, text, count) for count in range(30)]
    assert all(text.startswith(one) for one in cut)
    assert cut[0] == ""
    assert cut[-1] == text
