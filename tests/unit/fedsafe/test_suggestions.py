"""The nearest known name."""

import pytest

from fedsafe.suggestions import nearest

KNOWN = ["steps", "batch_size", "learning_rate", "final_learning_rate", "clip", "rank", "targets"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "learning_rate"),
        ("learning-rate", "learning_rate"),
        ("learningRate", "learning_rate"),
        ("Batch_Size", "batch_size"),
        ("batch", "batch_size"),
        ("num_steps", "steps"),
        ("epochs", "steps"),
        ("target_modules", "targets"),
        ("stpes", "steps"),
        ("lora_r", "rank"),
        ("zzz", None),
        ("", None),
        ("x", None),
    ],
)
def test_nearest_name(name: str, meant: str | None) -> None:
    assert nearest(name, KNOWN) == meant
