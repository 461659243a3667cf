"""An adapter as one flat vector, and back."""

import torch

from fedsafe.weights.vectorize import blocks, moved

ADAPTER = {"a": torch.zeros(2, 3), "b": torch.ones(4), "c": torch.zeros(1, 1)}


def test_blocks_cover_every_column_once() -> None:
    assert blocks(ADAPTER) == {"a": slice(0, 6), "b": slice(6, 10), "c": slice(10, 11)}


def test_update_is_added_where_it_belongs() -> None:
    found = moved(ADAPTER, torch.arange(11, dtype=torch.float32))
    assert (found["a"].tolist(), found["b"].tolist(), found["c"].tolist()) == (
        [[0, 1, 2], [3, 4, 5]],
        [7, 8, 9, 10],
        [[10]],
    )


def test_old_adapter_stays_as_it_was() -> None:
    moved(ADAPTER, torch.ones(11))
    assert ADAPTER["a"].tolist() == [[0, 0, 0], [0, 0, 0]]
