"""Samples beyond the plain one: history, system text, segments, pairs and groups."""

import itertools
import random

import pytest
import torch

from fedsafe.contracts import Sample, Segment, Turn, templates
from fedsafe.data.batches import (
    IGNORED,
    Extras,
    Tokenised,
    batches,
    collate,
    in_order,
    reply_start,
    reply_texts,
    tokenise,
)
from fedsafe.data.mask import stretches
from fedsafe.data.tokens import first_token
from fedsafe.errors import DataError
from tests.unit.fedsafe.data.styles import STYLES, tokenizer

BOTH = [(name, template) for name in STYLES for template in ("chat", "alpaca")]
TALK = Sample(
    "And in the rain?",
    "First wait.",
    history=(Turn("How do I paint?", "Clean it."), Turn("Then?", "Paint it twice.")),
)


def bound(name, template="chat", chat_template=None):
    tokens = tokenizer(name, chat_template)
    render = templates[template].configure()
    return tokens, lambda example: render(tokens, example)


def taught(name, template, example):
    """Return the stretches that loss is taken on."""
    tokens, render = bound(name, template)
    found = tokenise([example], tokens, render, 512)
    return [stretch for stretch in stretches(found, 0, tokens) if stretch.weight]


@pytest.mark.parametrize(("name", "template"), BOTH)
def test_loss_is_taken_on_every_assistant_turn_with_its_end(name, template):
    end = STYLES[name].stop if template == "chat" else STYLES[name].eos
    found = [stretch.text for stretch in taught(name, template, TALK)]
    assert [text.removesuffix(end).strip() for text in found] == [
        "Clean it.",
        "Paint it twice.",
        "First wait.",
    ]
    assert all(text.endswith(end) for text in found)


@pytest.mark.parametrize(("name", "template"), BOTH)
def test_parts_joined_are_the_text(name, template):
    _, render = bound(name, template)
    rendered = render(TALK)
    assert "".join(part.text for part in rendered.parts) == rendered.prompt + rendered.response


@pytest.mark.parametrize("name", STYLES)
def test_conversation_is_the_template_s_own(name):
    tokens, render = bound(name)
    said = []
    for turn in (*TALK.history, Turn(TALK.instruction, TALK.response)):
        said.append({"role": "user", "content": turn.instruction})
        said.append({"role": "assistant", "content": turn.response})
    whole = tokens.apply_chat_template(said, tokenize=False, date_string="26 Jul 2024")
    rendered = render(TALK)
    assert whole.rstrip() == rendered.prompt + rendered.response


@pytest.mark.parametrize(("name", "template"), BOTH)
def test_system_text_of_a_sample_is_in_its_prompt(name, template):
    _, render = bound(name, template)
    assert "Answer in French." in render(Sample("a", "b", system="Answer in French.")).prompt


def test_earlier_turns_fit_where_the_last_does_not():
    tokens, render = bound("qwen")
    whole = tokenise([TALK], tokens, render, 512).sequences[0]
    found = tokenise([TALK], tokens, render, whole[1] - 2)
    assert (len(found.sequences), found.truncated) == (1, 1)


@pytest.mark.parametrize(("name", "template"), BOTH)
def test_segments_weigh_the_response(name, template):
    parts = (Segment("Clean it.", 0.0), Segment(" Paint it", 0.5), Segment(" twice.", 2.0))
    example = Sample("How?", "Clean it. Paint it twice.", segments=parts)
    found = taught(name, template, example)
    assert [stretch.weight for stretch in found] == [0.5, 2.0]
    assert found[0].text.strip() == "Paint it"
    assert found[1].text.strip().startswith("twice.")


def test_target_is_predicted_at_each_position_of_its_segment():
    parts = (Segment("Sure: here", 1.0, "I cannot"), Segment(" is a list."))
    example = Sample("How?", "Sure: here is a list.", segments=parts)
    tokens, render = bound("qwen")
    found = tokenise([example], tokens, render, 512)
    labels = [label for label in found.extras[0].labels if label != IGNORED]
    count = next(s for s in stretches(found, 0, tokens) if s.target).tokens
    assert labels[:count] == [first_token(tokens, "I cannot")] * count
    assert first_token(tokens, "I cannot") not in labels[count:]


def test_target_of_several_tokens_is_refused_where_one_is_asked_for():
    parts = (Segment("Sure: here", 1.0, "zqx zqx"),)
    tokens, render = bound("qwen")
    example = Sample("How?", "Sure: here", segments=parts)
    with pytest.raises(DataError, match="expected one"):
        tokenise([example], tokens, render, 512, single_targets=True)


def test_pairs_lie_row_by_row_with_the_same_prompt():
    tokens, render = bound("qwen")
    some = [Sample(f"Name {n}.", "An apple.", rejected=f"No {n}.") for n in range(5)]
    batch = next(batches(tokenise(some, tokens, render, 512), random.Random(0), 3, 0))
    for row in range(3):
        chosen = tokens.decode(batch.input_ids[row][batch.labels[row] == IGNORED])
        other = tokens.decode(batch.rejected.input_ids[row][batch.rejected.labels[row] == IGNORED])
        assert chosen.split("assistant")[0] == other.split("assistant")[0]
        kept = batch.rejected.labels[row]
        said = tokens.decode(kept[kept != IGNORED], skip_special_tokens=True)
        assert said.strip("No .") in chosen


def test_plain_samples_have_nothing_beside():
    tokens, render = bound("qwen")
    found = tokenise([Sample("a", "b")], tokens, render, 512)
    batch = next(batches(found, random.Random(0), 1, 0))
    assert (found.extras, batch.weights, batch.rejected, batch.groups) == ((), None, None, None)


def grouped(*sizes, single=3):
    names = [f"g{n}" for n, size in enumerate(sizes) for _ in range(size)] + [""] * single
    ids = tuple(([n] * (3 + n % 4), 1) for n in range(len(names)))
    return Tokenised(ids, extras=tuple(Extras(group=name) for name in names)), names


@pytest.mark.parametrize("window", [1, 3])
def test_groups_are_never_parted(window):
    tokenised, names = grouped(3, 2, 4, 1, 2)
    for batch in itertools.islice(batches(tokenised, random.Random(0), 5, 0, window=window), 30):
        rows = batch.input_ids[:, 0].tolist()
        for name in {names[row] for row in rows} - {""}:
            there = [row for row in rows if names[row] == name]
            assert len(there) % names.count(name) == 0
            assert len({int(batch.groups[rows.index(row)]) for row in there}) == 1


def test_each_pass_has_every_sample_of_every_group():
    tokenised, names = grouped(3, 2, 4)
    rows = [n for batch in in_order(tokenised, 5, 0) for n in batch.input_ids[:, 0].tolist()]
    assert sorted(rows) == list(range(len(names)))


def test_group_larger_than_a_batch_is_named():
    with pytest.raises(DataError, match=r"'g0' has 6 samples, and a batch takes 4"):
        next(batches(grouped(6)[0], random.Random(0), 4, 0))


def test_group_that_loses_a_sample_is_dropped_whole():
    tokens, render = bound("qwen")
    some = [Sample("a", "b", group="x"), Sample("a " * 200, "b", group="x"), Sample("c", "d")]
    found = tokenise(some, tokens, render, 60)
    assert (len(found.sequences), found.dropped) == (1, 2)


def test_weights_are_one_where_a_row_has_none():
    sequences = [([5, 6, 7], 1), ([8, 9, 4], 1)]
    extras = [Extras(), Extras(labels=[IGNORED, 9, 4], weights=[0.0, 0.5, 2.0])]
    batch = collate(sequences, 0, extras)
    assert torch.equal(batch.weights, torch.tensor([[0, 1, 1], [0, 0.5, 2.0]]))


@pytest.mark.parametrize("prefill", ["Sure: here is", "Sure: here is ", " Sure: here"])
@pytest.mark.parametrize(("name", "template"), BOTH)
def test_prefill_has_the_ids_of_a_response_that_begins_with_it(name, template, prefill):
    tokens, render = bound(name, template)
    example = Sample("Name a fruit.", prefill.rstrip() + " a list")
    ((ids, start),) = tokenise([example], tokens, render, 512).sequences
    begun, place = reply_start(tokens, render, Sample("Name a fruit.", ""), prefill)
    assert (ids[: len(begun)], place) == (begun, start)


@pytest.mark.parametrize("lead", ["\n", "", " "])
def test_prefill_follows_whatever_the_template_writes_before_replies(lead):
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '"
        + lead.replace("\n", "\\n")
        + "' + m['content'] + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}"
    )
    tokens, render = bound("qwen", chat_template=template)
    ((ids, _),) = tokenise([Sample("Name.", "Sure: a list")], tokens, render, 512).sequences
    begun, _ = reply_start(tokens, render, Sample("Name.", ""), "Sure: a")
    assert ids[: len(begun)] == begun


@pytest.mark.parametrize("text", ["Sure, here is, of course", "a  b", "don't , no"])
@pytest.mark.parametrize("name", STYLES)
def test_reply_is_decoded_as_one(name, text):
    tokens = tokenizer(name)
    (ids,) = tokens([text], add_special_tokens=False)["input_ids"]
    assert reply_texts(tokens, [ids]) == [text]


def test_text_that_the_tokenizer_cannot_take_is_one_sentence():
    tokens, render = bound("qwen")
    with pytest.raises(DataError, match=r"cannot take the text .*half of a character"):
        tokenise([Sample("a", "b"), Sample("Say \ud83d", "b")], tokens, render, 64)


def test_token_without_an_embedding_is_named():
    tokens, render = bound("qwen")
    with pytest.raises(DataError, match=r"the model's embedding has 3 rows"):
        tokenise([Sample("a", "b")], tokens, render, 64, rows=3)
