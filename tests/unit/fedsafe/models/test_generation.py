"""Generation: batches change nothing, sampling repeats, stop tokens end a reply."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from fedsafe.errors import ModelError
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel
from fedsafe.models.generation import Decoding, generate

PROMPTS = [[20, 21], [30, 31, 32, 33, 34, 35, 36], [40], [50, 51, 52, 53]]


@pytest.fixture(autouse=True)
def _adapter(loaded: LoadedModel) -> None:
    adapters.write(loaded.model, adapters.start(loaded.model, 0))


def _greedy(loaded: LoadedModel, prompt: list[int], tokens: int) -> list[int]:
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(tokens):
            ids.append(int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_batched_and_padded_equals_one_by_one(loaded: LoadedModel) -> None:
    expected = [_greedy(loaded, prompt, 6) for prompt in PROMPTS]
    assert generate(loaded, PROMPTS, Decoding(max_new_tokens=6)) == expected


@pytest.mark.parametrize("size", [1, 2, 3])
def test_batch_size_changes_nothing(size: int, loaded: LoadedModel) -> None:
    whole = generate(loaded, PROMPTS, Decoding(max_new_tokens=6))
    assert generate(loaded, PROMPTS, Decoding(max_new_tokens=6, batch_size=size)) == whole


def test_reply_ends_before_a_stop_token(loaded: LoadedModel) -> None:
    (whole,) = generate(loaded, PROMPTS[1:2], Decoding(max_new_tokens=6))
    stop = whole[3]
    cut = whole[: whole.index(stop)]
    assert generate(loaded, PROMPTS[1:2], Decoding(max_new_tokens=6, stop=(stop,))) == [cut]


def test_stop_token_of_one_leaves_the_others_alone(loaded: LoadedModel) -> None:
    whole = generate(loaded, PROMPTS, Decoding(max_new_tokens=6))
    stop = next(t for t in whole[1] if all(t not in reply for reply in (whole[0], whole[3])))
    found = generate(loaded, PROMPTS, Decoding(max_new_tokens=6, stop=(stop,)))
    assert (found[0], found[3]) == (whole[0], whole[3])


def test_greedy_ignores_the_penalties_of_the_model(loaded: LoadedModel) -> None:
    plain = generate(loaded, PROMPTS, Decoding(max_new_tokens=12))
    own = loaded.model.get_base_model().generation_config
    own.repetition_penalty = 5.0
    try:
        assert generate(loaded, PROMPTS, Decoding(max_new_tokens=12)) == plain
    finally:
        own.repetition_penalty = None


def test_no_reply_is_longer_than_allowed(loaded: LoadedModel) -> None:
    assert {len(r) for r in generate(loaded, PROMPTS, Decoding(max_new_tokens=5))} == {5}


def test_sampling_repeats_with_its_stream(loaded: LoadedModel) -> None:
    decoding = Decoding(max_new_tokens=6, temperature=1.0)
    one = generate(loaded, PROMPTS, decoding, random.Random(1))
    assert generate(loaded, PROMPTS, decoding, random.Random(1)) == one


def test_sampling_of_another_stream_differs(loaded: LoadedModel) -> None:
    decoding = Decoding(max_new_tokens=6, temperature=1.0)
    one = generate(loaded, PROMPTS, decoding, random.Random(1))
    assert generate(loaded, PROMPTS, decoding, random.Random(2)) != one


def test_sampling_goes_on_along_its_stream(loaded: LoadedModel) -> None:
    decoding, rng = Decoding(max_new_tokens=6, temperature=1.0), random.Random(1)
    assert generate(loaded, PROMPTS, decoding, rng) != generate(loaded, PROMPTS, decoding, rng)


def test_same_prompt_is_answered_in_different_ways(loaded: LoadedModel) -> None:
    decoding = Decoding(max_new_tokens=6, temperature=1.0)
    replies = generate(loaded, [[20, 21]] * 8, decoding, random.Random(0))
    assert len({tuple(reply) for reply in replies}) > 1


def test_sampling_without_a_stream_is_refused(loaded: LoadedModel) -> None:
    with pytest.raises(ValueError, match="rng"):
        generate(loaded, PROMPTS, Decoding(temperature=1.0))


def test_generation_leaves_the_global_stream_alone(loaded: LoadedModel) -> None:
    torch.manual_seed(3)
    generate(loaded, PROMPTS, Decoding(max_new_tokens=2, temperature=1.0), random.Random(0))
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))


def test_progress_counts_finished_prompts(loaded: LoadedModel) -> None:
    told: list[int] = []
    generate(loaded, PROMPTS, Decoding(max_new_tokens=1, batch_size=3), progress=told.append)
    assert told == [1, 2, 3, 4]


def test_no_prompt_gets_no_reply(loaded: LoadedModel) -> None:
    assert generate(loaded, [], Decoding()) == []


def test_model_that_was_training_goes_on_training(loaded: LoadedModel) -> None:
    loaded.model.train()
    generate(loaded, PROMPTS[:1], Decoding(max_new_tokens=1))
    training = loaded.model.training
    loaded.model.eval()
    assert training


@contextmanager
def _small_memory(loaded: LoadedModel, rows: int) -> Iterator[None]:
    """Let the model itself run out of memory above so many rows."""

    def limited(_module: torch.nn.Module, _args: object, given: dict[str, torch.Tensor]) -> None:
        if len(given["input_ids"]) > rows:
            raise torch.OutOfMemoryError

    hook = loaded.model.get_base_model().register_forward_pre_hook(limited, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_batch_that_does_not_fit_is_halved(loaded: LoadedModel, temperature: float) -> None:
    decoding = Decoding(max_new_tokens=6, temperature=temperature)
    with _small_memory(loaded, 1):
        found = generate(loaded, PROMPTS, decoding, random.Random(0))
    assert [len(reply) for reply in found] == [6, 6, 6, 6]


def test_prompt_that_does_not_fit_is_a_sentence(loaded: LoadedModel) -> None:
    with (
        _small_memory(loaded, 0),
        pytest.raises(ModelError, match="ran out of memory on cpu with a single prompt of 1 tok"),
    ):
        generate(loaded, [[20]], Decoding(max_new_tokens=2))
