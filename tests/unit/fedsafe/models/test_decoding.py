"""Decoding with shared prefixes and leaving rows gives what transformers' generate gives."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fedsafe.experiment.schema import Adapter, Model
from fedsafe.models import adapters, decoding
from fedsafe.models.base import LoadedModel, load
from fedsafe.models.generation import Decoding, generate
from fedsafe.models.merged_weights import merged
from fedsafe.models.plain_generation import plain
from tests.doubles.models import make_model

SYSTEM = [7, 8, 9, 10, 11, 12]
PROMPTS = [
    [*SYSTEM, 20, 21],
    [*SYSTEM, 30, 31, 32, 33, 34, 35, 36],
    [*SYSTEM, 20, 21, 60, 61],  # the first with a prefilled reply, and a longer one
    [*SYSTEM, 20, 21, 60, 61, 62, 63],
    [*SYSTEM, 40],
    [*SYSTEM, 20, 21],
    [*SYSTEM, 50, 51, 52],
]


@pytest.fixture(scope="module", params=["llama", "qwen2", "mistral", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Tiny models of four architectures with an adapter that does something."""
    path = make_model(tmp_path_factory.mktemp("models") / request.param, request.param)
    found = load(Model(path=str(path), device="cpu"), Adapter(rank=4, alpha=8))
    tensors = adapters.start(found.model, 0)
    torch.manual_seed(0)
    adapters.write(found.model, {n: t + 0.05 * torch.randn_like(t) for n, t in tensors.items()})
    return found


def _plain(model: LoadedModel, prompts: list[list[int]], how: Decoding) -> list[list[int]]:
    base = model.model.get_base_model()
    own = base.generation_config
    try:
        with torch.inference_mode():
            return plain(model, [tuple(p) for p in prompts], how, how.max_new_tokens)
    finally:
        base.generation_config = own


@pytest.fixture(scope="module")
def whole(model: LoadedModel) -> list[list[int]]:
    """What transformers answers, and no stop token anywhere."""
    return _plain(model, PROMPTS, Decoding(max_new_tokens=10))


@pytest.fixture(scope="module")
def stop(whole: list[list[int]]) -> tuple[int, ...]:
    """Tokens that end some replies early, at different steps."""
    return whole[0][2], whole[4][5]


@pytest.mark.parametrize("size", [2, 3, 64])
def test_greedy_replies_are_those_of_transformers(
    size: int, model: LoadedModel, stop: tuple[int, ...]
) -> None:
    how = Decoding(max_new_tokens=10, stop=stop, batch_size=size)
    assert generate(model, PROMPTS, how) == _plain(model, PROMPTS, how)


def test_sampled_replies_are_those_of_transformers(
    model: LoadedModel, stop: tuple[int, ...]
) -> None:
    how = Decoding(max_new_tokens=10, stop=stop, temperature=1.3)
    order = sorted(range(len(PROMPTS)), key=lambda index: (len(PROMPTS[index]), index))
    with torch.random.fork_rng():
        torch.manual_seed(random.Random(5).getrandbits(63))
        expected = _plain(model, [PROMPTS[index] for index in order], how)
    found = generate(model, PROMPTS, how, random.Random(5))
    assert [found[index] for index in order] == expected


def test_merged_weights_are_put_back_to_the_bit(model: LoadedModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    with merged(model):
        pass
    after = model.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_merged_weights_give_the_same_logits(model: LoadedModel) -> None:
    ids = torch.tensor([PROMPTS[1]])
    with torch.no_grad():
        apart = model.model(input_ids=ids).logits
        with merged(model):
            together = model.model(input_ids=ids).logits
    assert torch.allclose(apart, together, atol=1e-5)


def test_nothing_is_merged_where_the_adapter_is_off(model: LoadedModel) -> None:
    ids = torch.tensor([PROMPTS[1]])
    with torch.no_grad(), model.model.disable_adapter():
        bare = model.model(input_ids=ids).logits
        with merged(model):
            assert torch.equal(bare, model.model(input_ids=ids).logits)


@pytest.fixture
def passes(loaded: LoadedModel) -> Iterator[list[tuple[int, int]]]:
    """Rows and tokens of each pass through the model."""
    found: list[tuple[int, int]] = []

    def see(_module: torch.nn.Module, _args: object, given: dict[str, torch.Tensor]) -> None:
        found.append(tuple(given["input_ids"].shape))  # type: ignore[arg-type]

    base = loaded.model.get_base_model()
    hook = base.register_forward_pre_hook(see, with_kwargs=True)
    yield found
    hook.remove()


def test_shared_beginnings_go_through_the_model_once(
    loaded: LoadedModel, passes: list[tuple[int, int]]
) -> None:
    generate(loaded, PROMPTS, Decoding(max_new_tokens=1))
    assert passes == [(1, 6), (4, 7), (2, 4)]  # system prompt, four prompts, two prefills


def test_head_is_given_the_last_position_without_gaps(model: LoadedModel) -> None:
    """Where its input has gaps, torch may copy the head's weight once for each row."""
    given: list[torch.Tensor] = []
    head = model.model.get_base_model().get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with hook:
        generate(model, PROMPTS, Decoding(max_new_tokens=2))
    assert {one.shape[1] for one in given} == {1}
    assert all(one.is_contiguous() for one in given)


def test_same_prompt_many_times_goes_through_the_model_once(
    loaded: LoadedModel, passes: list[tuple[int, int]]
) -> None:
    how = Decoding(max_new_tokens=2, temperature=1.0)
    generate(loaded, [PROMPTS[0]] * 5, how, random.Random(0))
    assert passes == [(1, 8), (5, 1)]


def test_rows_leave_when_their_reply_has_ended(
    loaded: LoadedModel, passes: list[tuple[int, int]]
) -> None:
    prompts = [[20, 21], [30, 31], [40, 41]]
    replies = generate(loaded, prompts, Decoding(max_new_tokens=4))
    stop = next(t for t in replies[0][1:] if t not in replies[1] and t not in replies[2])
    passes.clear()
    generate(loaded, prompts, Decoding(max_new_tokens=4, stop=(stop,)))
    assert passes[-1] == (2, 1)


def test_model_of_another_kind_of_cache_is_left_to_transformers(loaded: LoadedModel) -> None:
    base = loaded.model.get_base_model()
    assert decoding.can_decode(base, 100)
    base.config.layer_types = ["linear_attention", "full_attention"]
    try:
        assert not decoding.can_decode(base, 100)
    finally:
        del base.config.layer_types


def test_window_shorter_than_the_text_is_left_to_transformers(tmp_path: Path) -> None:
    path = make_model(tmp_path / "mistral", "mistral")
    found = load(Model(path=str(path), device="cpu"), Adapter(rank=2))
    found.model.get_base_model().config.sliding_window = 8
    assert not decoding.can_decode(found.model.get_base_model(), 9)
    replies = generate(found, [[20] * 9, [21] * 4], Decoding(max_new_tokens=3))
    assert [len(reply) for reply in replies] == [3, 3]
