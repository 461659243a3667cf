"""Preference losses against the numbers of TRL's own trainer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsafe.objectives import preference_losses

CASES = json.loads((Path(__file__).parent / "dpo.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_loss_is_trls(case: dict[str, Any]) -> None:
    policy = torch.tensor(case["policy_logps_chosen_then_rejected"])
    reference = torch.tensor([*case["reference_logps_chosen"], *case["reference_logps_rejected"]])
    if case["loss_type"] == "ipo":
        policy, reference = (
            total / torch.tensor(case["tokens_chosen_then_rejected"])
            for total in (policy, reference)
        )
    chosen, rejected = (policy - reference).chunk(2)
    found = preference_losses(
        chosen - rejected,
        beta=case["beta"],
        kind=case["loss_type"],
        label_smoothing=case["label_smoothing"],
    )
    assert float(found.mean()) == pytest.approx(case["loss"], rel=1e-5)
