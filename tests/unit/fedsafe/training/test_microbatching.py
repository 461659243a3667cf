"""Passes of like length: the same examples, less padding, the same gradient."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
import torch

from fedsafe.contracts import Batch
from fedsafe.data.batches import collate
from fedsafe.models import adapters
from fedsafe.models.base import LoadedModel
from fedsafe.training.forward import response_loss
from fedsafe.training.loop import Loss, Plan, train
from fedsafe.training.microbatching import FEWEST, overhead_of, passes


def _batch(*lengths: int, first: int = 20) -> Batch:
    rows = [(list(range(first + 7 * n, first + 7 * n + m)), 1) for n, m in enumerate(lengths)]
    return collate(rows, 0)


def _rows(batches: list[Batch]) -> list[tuple[list[int], list[int]]]:
    found = []
    for batch in batches:
        for ids, mask, labels in zip(
            batch.input_ids, batch.attention_mask, batch.labels, strict=True
        ):
            count = int(mask.sum())
            assert not mask[count:].any()
            assert (labels[count:] == -100).all()
            found.append((ids[:count].tolist(), labels[:count].tolist()))
    return sorted(found)


def _padded(batches: list[Batch]) -> int:
    return sum(batch.input_ids.numel() for batch in batches)


def test_every_example_is_there_once() -> None:
    parts = [_batch(90, 10, 50, 12), _batch(11, 88, 52, 9, first=200)]
    assert _rows(passes(parts, 5)) == _rows(parts)


def test_padding_goes() -> None:
    assert _padded(passes([_batch(90, 10, 10, 10)], 5)) == 90 + 30


def test_longest_pass_comes_first() -> None:
    found = passes([_batch(10, 90, 50)], 5)
    assert [batch.input_ids.shape[1] for batch in found] == [90, 50, 10]


def test_a_pass_that_saves_less_than_it_costs_is_not_made() -> None:
    parts = [_batch(90, 80, 85, 80)]
    assert passes(parts, 40)[0] is parts[0]


def test_batches_of_one_step_are_shared_out_anew() -> None:
    parts = [_batch(90, 10), _batch(11, 88, first=200)]
    assert _padded(passes(parts, 1000)) == 2 * 90 + 2 * 11


@pytest.mark.parametrize("overhead", [1, 50, 10_000])
def test_no_pass_holds_more_examples_than_a_batch(overhead: int) -> None:
    parts = [_batch(5, 6, 7, 8), _batch(9, 5, 6, 90, first=200)]
    assert max(len(batch.input_ids) for batch in passes(parts, overhead)) <= 4


def test_cuts_are_the_cheapest() -> None:
    lengths, overhead = (60, 55, 54, 30, 12, 11, 4), 25

    def cost(cuts: tuple[int, ...]) -> int:
        bounds = [0, *cuts, len(lengths)]
        return sum((end - begin) * lengths[begin] + overhead for begin, end in pairwise(bounds))

    ways = [c for n in range(len(lengths)) for c in combinations(range(1, len(lengths)), n)]
    found = passes([_batch(*lengths)], overhead)
    assert _padded(found) + overhead * len(found) == min(cost(way) for way in ways)


def test_adapter_trains_to_the_same_place(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [_batch(60, 8, 40, 9), _batch(10, 57, 12, 38, first=150)]
    loss = Loss(lambda batch, _: response_loss(loaded, batch), per_token=True)
    trained = []
    for overhead in (10**6, 1):
        monkeypatch.setattr("fedsafe.training.loop.overhead_of", lambda _, o=overhead: o)
        adapters.write(loaded.model, adapters.start(loaded.model, 0))
        report = train(loaded, iter(parts), Plan(2, 0.01), seed=0, loss=loss)
        trained.append((adapters.read(loaded.model), report))
    adapters.write(loaded.model, adapters.start(loaded.model, 0))
    (whole, one), (split, other) = trained
    assert (one.tokens, one.padded > other.padded) == (other.tokens, True)
    for name, tensor in whole.items():
        torch.testing.assert_close(split[name], tensor, rtol=1e-3, atol=1e-5)


def test_passes_of_a_small_model_are_dear(loaded: LoadedModel) -> None:
    assert overhead_of(loaded) > 1000


def test_no_model_is_cut_up_for_a_few_tokens(loaded: LoadedModel) -> None:
    class Large:
        def get_base_model(self) -> "Large":
            return self

        def num_parameters(self, *, exclude_embeddings: bool) -> int:
            return 10**12

    assert overhead_of(replace(loaded, model=Large())) == FEWEST
