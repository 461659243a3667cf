"""Lisa's states, switch points and gradients, as the authors' public code has them (methods/)."""

import pytest
import torch

from clients.algorithms.lisa import Switching
from tests.parity.test_methods import cases, tensor

STATES = {"alignment": "alignment", "finetune": "fine-tuning"}


def _start(case):
    return {name: tensor(values).requires_grad_() for name, values in case["start"].items()}


def _flat(weights):
    return torch.cat([weight.reshape(-1) for weight in weights.values()])


@pytest.mark.parametrize("case", cases("lisa"))
def test_lisa_takes_the_steps_of_the_authors_code(case):
    weights, rho, points = _start(case), float(case["rho"]), {}
    total = int(case["steps_an_epoch"]) * int(case["epochs"])
    switching = Switching(int(case["alignment_step"]), int(case["finetune_step"]), points)
    aligned = iter(case["alignment_batches_in_turn"] * total)
    own = case["finetune_batches"]
    for step, expected in enumerate(case["trace"]):
        state = switching.at(step, weights)
        assert state == STATES[expected["state"]]
        batch = tensor(next(aligned) if state == "alignment" else own[step % len(own)])
        loss = 0.5 * (_flat(weights) - batch).square().sum()
        if step > 0.1 * total:
            loss = loss + rho * switching.distance(state, weights)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        found = torch.cat([one.reshape(-1) for one in gradients])
        assert torch.allclose(_flat(weights), tensor(expected["weights_before"]), atol=1e-6)
        assert torch.allclose(found, tensor(expected["gradient"]), rtol=1e-5, atol=1e-6)
        for name, ours in STATES.items():
            point = torch.cat([points[f"{ours}/{key}"].reshape(-1) for key in weights])
            assert torch.allclose(point, tensor(expected[f"switch_point_{name}"]), atol=1e-6)
        rate = float(case["learning_rate_of_plain_SGD"])
        with torch.no_grad():
            for weight, one in zip(weights.values(), gradients, strict=True):
                weight.sub_(rate * one)
