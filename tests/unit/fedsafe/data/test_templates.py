import copy

import pytest

from fedsafe.contracts import Sample, templates
from fedsafe.errors import ModelError
from tests.unit.fedsafe.data.styles import CHATML, PLAIN_TURNS, STYLES, tokenizer

PLAIN = Sample("Name a fruit.", "An apple.")
WITH_INPUT = Sample("Name the colour.", "Red.", input="an apple")


def chat(name, example, template=None, **settings):
    return templates["chat"].configure(settings)(tokenizer(name, template), example)


def alpaca(example, **settings):
    return templates["alpaca"].configure(settings)(tokenizer("llama-2"), example)


def test_alpaca_without_input_is_the_public_format():
    assert alpaca(PLAIN).prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nName a fruit.\n\n### Response:"
    )


def test_alpaca_with_input_has_its_own_preamble_and_header():
    prompt = alpaca(WITH_INPUT).prompt
    assert "paired with an input that provides further context" in prompt
    assert "### Instruction:\nName the colour.\n\n### Input:\nan apple\n\n### Response:" in prompt


def test_alpaca_response_ends_in_the_end_of_sequence():
    assert alpaca(PLAIN).response == " An apple.</s>"


def test_alpaca_system_takes_the_place_of_the_preamble():
    assert alpaca(PLAIN, system="Be brief.").prompt.startswith("Be brief.\n\n### Instruction:")


@pytest.mark.parametrize("name", STYLES)
def test_chat_response_ends_in_the_token_that_ends_the_turn(name):
    assert chat(name, PLAIN).response.endswith(STYLES[name].stop)


@pytest.mark.parametrize("name", STYLES)
def test_chat_prompt_and_response_begin_the_template_s_own_conversation(name):
    said = [{"role": "user", "content": "Name a fruit."}]
    said.append({"role": "assistant", "content": "An apple."})
    whole = tokenizer(name).apply_chat_template(said, tokenize=False, date_string="26 Jul 2024")
    rendered = chat(name, PLAIN)
    assert whole.rstrip() == rendered.prompt + rendered.response


@pytest.mark.parametrize("name", STYLES)
def test_chat_without_a_response_still_gives_the_prompt(name):
    assert chat(name, Sample("Name a fruit.", "")).prompt == chat(name, PLAIN).prompt


def test_chat_leaves_out_what_follows_the_stop_token():
    assert chat("qwen", PLAIN).response == "An apple.<|im_end|>"


def test_chat_puts_the_input_after_a_blank_line():
    assert "Name the colour.\n\nan apple<|im_end|>" in chat("qwen", WITH_INPUT).prompt


def test_chat_follows_a_template_that_trims_what_is_said():
    assert chat("llama-3", Sample("Say it.", " yes \n")).response == "yes<|eot_id|>"


def test_chat_keeps_a_response_that_repeats_the_prompt():
    example = Sample("Say reply.", "Say reply. reply")
    assert chat("llama-2", example).response == " Say reply. reply </s>"


def test_chat_system_prompt_replaces_the_default_one():
    prompt = chat("qwen", PLAIN, system="Be brief.").prompt
    assert prompt.startswith("<|im_start|>system\nBe brief.<|im_end|>")


def test_chat_is_the_same_on_any_day():
    assert "Today: 26 Jul 2024" in chat("llama-3", PLAIN).prompt


def test_chat_overrides_the_clock_of_templates_that_read_it():
    template = "{{ strftime_now('%Y-%m-%d') }}" + CHATML
    assert chat("qwen", PLAIN, template).prompt.startswith("2024-07-26")


def test_chat_tells_templates_not_to_think():
    generation = "{% if not enable_thinking %}{{ '<think></think>' }}{% endif %}"
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
        "{% if m['role'] == 'assistant' %}{{ '<think></think>' }}{% endif %}"
        "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}" + generation + "{% endif %}"
    )
    assert chat("qwen", PLAIN, template).response == "An apple.<|im_end|>"


def test_chat_strips_a_generation_prompt_that_ends_in_more_white_space():
    template = CHATML.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\n\n'")
    rendered = chat("qwen", PLAIN, template)
    assert rendered.prompt.endswith("<|im_start|>assistant")
    assert rendered.response == "\nAn apple.<|im_end|>"


def test_chat_closes_turns_that_the_template_leaves_open():
    template = PLAIN_TURNS.replace(" + ' ' + eos_token", "")
    assert chat("llama-2", PLAIN, template).response == " An apple.</s>"


def test_chat_rejects_a_generation_prompt_that_no_conversation_has():
    template = CHATML.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\n<think>\n'")
    with pytest.raises(ModelError, match=r"does not begin .* '.*<think>.*'\. Use .* 'alpaca'"):
        chat("qwen", PLAIN, template)


def test_chat_says_that_a_template_takes_no_system_prompt():
    with pytest.raises(ModelError, match=r"roles must alternate\. Leave .*system empty"):
        chat("mistral", PLAIN, system="Be brief.")


def test_chat_says_that_a_template_leaves_the_system_prompt_out():
    template = PLAIN_TURNS.replace("{{ raise_exception('no system turns') }}", "")
    with pytest.raises(ModelError, match="leaves the system prompt out"):
        chat("llama-2", PLAIN, template, system="Be brief.")


def test_chat_without_a_template_points_to_alpaca():
    with pytest.raises(ModelError, match=r"no chat template\. Use the template 'alpaca'"):
        chat("qwen", PLAIN, "")


def test_chat_rejects_a_template_without_replies():
    template = CHATML.replace("m['content']", "(m['content'] if m['role'] == 'user' else '')")
    with pytest.raises(ModelError, match="leaves replies out"):
        chat("qwen", PLAIN, template)


def test_chat_rejects_a_template_whose_turns_end_in_different_ways():
    template = CHATML.replace(
        "'<|im_end|>\n' }}{% endfor %}",
        "('<|im_end|>' if m['content'] | length > 8 else '<|endoftext|>') }}{% endfor %}",
    )
    with pytest.raises(ModelError, match="ends replies in different ways"):
        chat("qwen", PLAIN, template)


def test_alpaca_needs_an_end_of_sequence():
    tokens = copy.deepcopy(tokenizer("llama-2"))
    tokens.eos_token = None
    with pytest.raises(ModelError, match="would never stop"):
        templates["alpaca"].configure()(tokens, PLAIN)
