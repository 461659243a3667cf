import itertools
import json
import random

import pytest
import torch

from fedsafe.contracts import Rendered, Sample, templates
from fedsafe.data.batches import (
    IGNORED,
    Tokenised,
    batches,
    collate,
    pad_id,
    prompt_ids,
    tokenise,
)
from fedsafe.errors import DataError
from tests.unit.fedsafe.data.styles import SHARED, STYLES, tokenizer

torch.set_num_threads(1)
EXAMPLES = [
    Sample("Name a fruit.", "An apple, or a pear."),
    Sample("How do I paint a fence?", "Clean it.\nThen paint it twice.", input="It rains."),
]
BOTH = [(name, template) for name in STYLES for template in ("chat", "alpaca")]


def bound(name, template="chat"):
    tokens = tokenizer(name)
    return tokens, lambda example: templates[template].configure()(tokens, example)


def numbers(count, length=3):
    return Tokenised(tuple(([n] * (length + n % 4), 1) for n in range(count)))


def drawn(batch):
    return batch.input_ids[:, 0].tolist()


@pytest.mark.parametrize(("name", "template"), BOTH)
def test_sequence_begins_with_one_beginning_of_sequence(name, template):
    tokens, render = bound(name, template)
    for ids, _ in tokenise(EXAMPLES, tokens, render, 512).sequences:
        assert ids.count(tokens.bos_token_id) == (0 if tokens.bos_token_id is None else 1)


@pytest.mark.parametrize(("name", "template"), BOTH)
def test_sequence_ends_in_the_stop_token(name, template):
    tokens, render = bound(name, template)
    stop = STYLES[name].stop if template == "chat" else STYLES[name].eos
    for ids, _ in tokenise(EXAMPLES, tokens, render, 512).sequences:
        assert ids[-1] == tokens.convert_tokens_to_ids(stop)


@pytest.mark.parametrize(("name", "template"), BOTH)
def test_generation_starts_from_the_ids_that_training_has(name, template):
    tokens, render = bound(name, template)
    found = tokenise(EXAMPLES, tokens, render, 512).sequences
    for example, (ids, start) in zip(EXAMPLES, found, strict=True):
        assert prompt_ids(tokens, render(example).prompt) == ids[:start]


@pytest.mark.parametrize("name", STYLES)
def test_prompt_has_the_ids_that_the_tokenizer_s_own_chat_gives(name):
    tokens, render = bound(name)
    said = [{"role": "user", "content": "Name a fruit."}]
    own = tokens.apply_chat_template(
        said, add_generation_prompt=True, return_dict=False, date_string="26 Jul 2024"
    )
    assert prompt_ids(tokens, render(EXAMPLES[0]).prompt) == own


@pytest.mark.parametrize(("name", "template"), BOTH)
def test_labels_are_the_response_and_nothing_else(name, template):
    tokens, render = bound(name, template)
    (ids, start), _ = tokenise(EXAMPLES, tokens, render, 512).sequences
    batch = collate([(ids, start)], pad_id(tokens))
    labelled = batch.labels[0][batch.labels[0] != IGNORED]
    text = tokens.decode(labelled.tolist(), skip_special_tokens=True)
    assert text.strip() == "An apple, or a pear."


@pytest.mark.parametrize(("name", "template"), BOTH)
def test_prefill_gives_the_ids_of_a_response_that_begins_with_it(name, template):
    tokens, render = bound(name, template)
    example = Sample("Name a fruit.", "Sure: here is a list of three fruits.")
    ((ids, _),) = tokenise([example], tokens, render, 512).sequences
    begun = prompt_ids(tokens, render(example).prompt, "Sure: here is")
    assert ids[: len(begun)] == begun


def test_boundary_stays_where_a_token_would_span_it():
    tokens = tokenizer("qwen")
    word = next(word for word in sorted(tokens.get_vocab()) if word.isalpha() and len(word) > 3)
    render = Rendered(word[:2], word[2:])
    ((ids, start),) = tokenise([EXAMPLES[0]], tokens, lambda _: render, 64).sequences
    assert (tokens.decode(ids[:start]), tokens.decode(ids[start:])) == (word[:2], word[2:])


def test_prompt_that_fills_the_length_is_dropped_and_counted():
    tokens, render = bound("qwen")
    length = len(prompt_ids(tokens, render(EXAMPLES[0]).prompt))
    found = tokenise(EXAMPLES[:1], tokens, render, length)
    assert (found.sequences, found.dropped) == ((), 1)


def test_room_for_one_response_token_is_enough():
    tokens, render = bound("qwen")
    length = len(prompt_ids(tokens, render(EXAMPLES[0]).prompt)) + 1
    found = tokenise(EXAMPLES[:1], tokens, render, length)
    ((ids, start),) = found.sequences
    assert (len(ids), start, found.truncated) == (length, length - 1, 1)


def test_no_examples_give_no_sequences():
    tokens, render = bound("qwen")
    assert tokenise([], tokens, render, 64) == Tokenised(())


@pytest.mark.parametrize("name", STYLES)
def test_pad_is_not_the_end_of_sequence_where_there_is_another(name):
    tokens = tokenizer(name)
    other = tokens.pad_token_id is not None or tokens.unk_token_id is not None
    assert (pad_id(tokens) != tokens.eos_token_id) == other


def test_end_of_sequence_is_learnt_even_when_it_is_the_pad():
    tokens, render = bound("llama-3", "alpaca")
    assert pad_id(tokens) == tokens.eos_token_id
    batch = collate(tokenise(EXAMPLES, tokens, render, 512).sequences, pad_id(tokens))
    last = batch.attention_mask.sum(dim=1) - 1
    assert batch.labels[torch.arange(2), last].tolist() == [tokens.eos_token_id] * 2


def test_padding_is_on_the_right_masked_and_without_loss():
    batch = collate([([5, 6, 7], 1), ([8, 9], 1)], pad=0)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.labels.tolist() == [[IGNORED, 6, 7], [IGNORED, 9, IGNORED]]


@pytest.mark.parametrize("window", [1, 3])
def test_each_pass_has_every_example_once(window):
    stream = batches(numbers(12), random.Random(0), 4, 0, window=window)
    for _ in range(3):
        taken = [n for batch in itertools.islice(stream, 3) for n in drawn(batch)]
        assert sorted(taken) == list(range(12))


def test_passes_differ_in_order():
    stream = batches(numbers(32), random.Random(0), 32, 0)
    assert drawn(next(stream)) != drawn(next(stream))


def test_same_stream_gives_the_same_batches():
    one = batches(numbers(20), random.Random(7), 6, 0)
    other = batches(numbers(20), random.Random(7), 6, 0)
    for first, second in itertools.islice(zip(one, other, strict=True), 10):
        assert torch.equal(first.input_ids, second.input_ids)


def test_every_batch_is_full_where_passes_do_not_divide():
    stream = batches(numbers(10), random.Random(0), 4, 0)
    taken = [drawn(batch) for batch in itertools.islice(stream, 5)]
    assert [len(batch) for batch in taken] == [4] * 5
    assert sorted(itertools.chain(*taken)) == sorted([*range(10)] * 2)


def test_fewer_examples_than_a_batch_give_all_of_them():
    batch = next(batches(numbers(3), random.Random(0), 8, 0))
    assert sorted(drawn(batch)) == [0, 1, 2]


def test_window_groups_by_length_without_changing_what_is_drawn():
    plain = list(itertools.islice(batches(numbers(32), random.Random(0), 4, 0), 4))
    grouped = list(itertools.islice(batches(numbers(32), random.Random(0), 4, 0, window=4), 4))
    assert sorted(n for b in plain for n in drawn(b)) == sorted(
        n for b in grouped for n in drawn(b)
    )
    assert sum(b.input_ids.numel() for b in grouped) < sum(b.input_ids.numel() for b in plain)


def test_nothing_to_train_on_says_how_many_were_dropped():
    with pytest.raises(DataError, match=r"3 were dropped .* data\.max_length"):
        next(batches(Tokenised((), dropped=3), random.Random(0), 4, 0))


@pytest.mark.parametrize("name", STYLES)
def test_real_instructions_come_back_word_for_word(name):
    path = SHARED / "instructions" / "instruction-data.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    rows = [row for row in json.loads(path.read_text()) if row["output"].isascii()][:150]
    examples = [Sample(row["instruction"], row["output"], row["input"]) for row in rows]
    tokens, render = bound(name, "alpaca")
    found = tokenise(examples, tokens, render, 4096).sequences
    texts = [tokens.decode(ids[start:], skip_special_tokens=True).strip() for ids, start in found]
    assert texts == [example.response.strip() for example in examples]
