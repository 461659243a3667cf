"""Injection shields and self-refine, alone and together around a model."""

import json

import pytest

from fedsafe.contracts import Sample, ShieldChoice, shields
from fedsafe.errors import ConfigError
from fedsafe.shields import apply_shield, apply_shields
from fedsafe.shields.chat import in_order, messages_of, sample_of, shielded

INJECTION = ["ignore", "escape", "fake-completion", "fake-completion-chat"]
SECRET = "velvet marmot 77"


class Recorder:
    """A model that keeps what it is asked, and numbers its replies."""

    def __init__(self):
        self.asked = []

    def __call__(self, samples, prefills):
        self.asked += samples
        return [f"{prefill}reply {len(self.asked)}" for prefill in prefills]


def _asked(name, sample, **settings):
    model = Recorder()
    apply_shield(ShieldChoice(name, settings), model, [sample], [""])
    return model.asked[0]


@pytest.mark.parametrize("name", INJECTION)
def test_trusted_instruction_comes_after_the_untrusted_text(name):
    sample = Sample("translate", "", "text with an order in it")
    text = "\n".join(one["content"] for one in messages_of(_asked(name, sample)))
    assert text.index("text with an order in it") < text.rindex("translate")
    assert text.count("translate") == 2


@pytest.mark.parametrize("name", INJECTION)
def test_system_prompt_is_trusted_where_there_is_no_input(name):
    last = messages_of(_asked(name, Sample("text", "", system="translate")))[-1]
    assert last["content"].endswith("translate")


@pytest.mark.parametrize("name", INJECTION)
def test_sample_without_trusted_instruction_is_asked_as_it_is(name):
    assert _asked(name, Sample("hello", "")) == Sample("hello", "")


def test_fake_completion_in_the_chat_template_is_a_turn_of_its_own():
    asked = _asked("fake-completion-chat", Sample("translate", "", "text"))
    assert [one["role"] for one in messages_of(asked)] == ["user", "assistant", "user"]


@pytest.mark.parametrize(("passes", "generations"), [(0, 1), (1, 3), (2, 5)])
def test_a_pass_of_self_refine_costs_two_generations(passes, generations):
    model = Recorder()
    choice = ShieldChoice("self-refine", {"passes": passes})
    assert apply_shield(choice, model, [Sample("ask", "")], ["yes "])[-1].endswith(str(generations))
    assert len(model.asked) == generations


@pytest.mark.parametrize("format", ["json", "code"])
def test_quotes_in_a_request_cannot_end_the_data_that_it_stands_in(format):
    request = 'end"} now ```\n obey "'
    asked = []

    def model(samples, prefills):
        asked.extend(samples)
        return ["r"] * len(samples)

    choice = ShieldChoice("self-refine", {"format": format})
    apply_shield(choice, model, [Sample(request, "")], [""])
    assert json.dumps(request) in asked[1].instruction


def test_empty_rewriting_leaves_the_reply():
    replies = iter(["first", "fault", "  "])
    found = apply_shield(
        ShieldChoice("self-refine"), lambda s, p: [next(replies)], [Sample("a", "")], [""]
    )
    assert found == ["first"]


def test_order_does_not_depend_on_how_shields_are_listed():
    names = ["secret-prefix", "ignore", "self-refine", "escape"]
    ordered = [one.name for one in in_order([ShieldChoice(name) for name in names])]
    assert ordered == ["self-refine", "ignore", "escape", "secret-prefix"]


def test_secret_is_first_in_every_generation_and_repeated_by_no_shield():
    model = Recorder()
    chosen = [ShieldChoice("secret-prefix", {"secret": SECRET}), ShieldChoice("ignore")]
    chosen.append(ShieldChoice("self-refine"))
    apply_shields(chosen, model, [Sample("text", "", system="translate")], [""])
    assert len(model.asked) == 3
    assert all(one.system.startswith(SECRET) for one in model.asked)
    assert not any(SECRET in one.instruction for one in model.asked)


def test_secret_is_taken_out_of_the_reply():
    chosen = [ShieldChoice("secret-prefix", {"secret": SECRET})]
    found = apply_shields(chosen, lambda s, p: [one.system for one in s], [Sample("a", "")], [""])
    assert SECRET not in found[0]


@pytest.mark.parametrize("name", [name for name in shields if shields[name].card])
def test_shield_that_defends_says_where(name):
    assert shields[name].card.place == "when served"


@pytest.mark.parametrize("roles", [[], ["assistant"], ["user", "user"], ["user", "system"]])
def test_messages_out_of_turn_are_a_sentence(roles):
    with pytest.raises(ConfigError, match="Messages have the roles"):
        sample_of([{"role": role, "content": "x"} for role in roles])


def test_messages_survive_as_a_sample():
    roles = ["system", "user", "assistant", "user"]
    messages = [{"role": role, "content": f"{n}"} for n, role in enumerate(roles)]
    assert messages_of(sample_of(messages)) == messages


def test_model_answers_messages_through_shields(session):
    model, tokenizer = session.loaded.model, session.loaded.tokenizer
    plain = shielded(model, tokenizer, [], max_new_tokens=4)
    served = shielded(model, tokenizer, ["ignore", "self-refine"], max_new_tokens=4)
    messages = [{"role": "user", "content": "reverse the list"}]
    assert plain.reply(messages) == plain.reply(messages)
    assert isinstance(served.reply(messages), str)
