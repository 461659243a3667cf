"""What the authors' public code computes of DeRTa, circuit breakers, Backdoor Enhanced Alignment.

As numbers in methods/.

Each case names its source: repository, commit, file, function, licence.
"""

import pytest
import torch

from fedsafe.contracts import Sample, ShieldChoice
from fedsafe.defenses.secret_rows import under_secret
from fedsafe.safety_losses import (
    breaker_loss,
    harmful_prefixes,
    kept_positions,
    rerouting_coefficients,
    retain_loss,
    transition_labels,
)
from tests.parity.test_methods import cases, tensor

RR = cases("circuit-breakers")


class Drawn:
    """Gives the authors' draws, and checks between which bounds they were drawn."""

    def __init__(self, draws):
        self.draws = list(draws)

    def randint(self, low, high):
        (lowest, highest, value) = self.draws.pop(0)
        assert (low, high) == (lowest, highest)
        return value


def _hidden(case):
    """Return a case's hidden states, which stand in the first case of its seed."""
    if isinstance(case["hidden"], dict):
        return case["hidden"]
    first = case["hidden"].removeprefix("as in ")
    return next(one.values[0]["hidden"] for one in RR if one.id == first)


@pytest.mark.parametrize("case", cases("derta-data"))
def test_derta_cuts_prefixes_where_the_authors_code_cuts(case):
    drawn = Drawn(case["randint_low_high_value_in_order"])
    triples = case["triples"]
    found = harmful_prefixes([triple["output"] for triple in triples], drawn)
    rows = [
        f"[INST] {triple['instruction']} [\\INST] {prefix}"
        for triple, prefix in zip(triples, found, strict=True)
        if prefix is not None
    ]
    assert (rows, drawn.draws) == ([row["prefix"] for row in case["prefix_rows"]], [])


@pytest.mark.parametrize("case", cases("derta-labels"))
def test_derta_takes_the_loss_where_the_authors_code_takes_it(case):
    length = case["padded_to"]
    padding = [-100] * (length - len(case["labels_before"]))
    labels = torch.tensor([*case["labels_before"], *padding][:length])
    if case["gate"] == [1]:
        order, kept = case.get("permutation"), None
        if order is not None:
            kept = torch.tensor(kept_positions(order, 0.05))
            assert len(kept) == case["kept_positions_of_all"]
        labels = transition_labels(labels, case["refusal_token_id"], kept)
    assert labels.tolist() == case["labels_in_the_loss_before_shift"]


@pytest.mark.parametrize("length", [1, 16, 20, 38, 100])
def test_derta_keeps_a_twentieth_of_all_positions_rounded_up(length):
    assert len(kept_positions(range(length), 0.05)) == max(1, (length + 19) // 20)


@pytest.mark.parametrize("case", RR)
def test_rerouting_loss_and_schedule_are_the_authors(case):
    hidden = {name: tensor(values) for name, values in _hidden(case).items()}
    layers = case["target_layers_of_hidden_states"]
    retained = retain_loss(
        hidden["retain_original"], hidden["retain_adapted"], tensor(case["retain_mask"])
    )
    broken = breaker_loss(
        hidden["breaker_original"][layers],
        hidden["breaker_adapted"][layers],
        tensor(case["breaker_mask"]),
    )
    keep, breaks = rerouting_coefficients(case["steps_done_before"], case["alpha"], 300)
    assert keep == pytest.approx(case["retain_coefficient"], abs=1e-9)
    assert breaks == pytest.approx(case["breaker_coefficient"], abs=1e-9)
    assert float(keep * retained + breaks * broken) == pytest.approx(case["loss"], rel=1e-6)


@pytest.mark.parametrize("case", cases("backdoor-align", having=["rows"]))
def test_secret_stands_where_the_authors_code_puts_it(case):
    """Their rows of flag 1 vanish without the secret's mix; ours are always kept."""
    shield = ShieldChoice("secret-prefix", {"secret": case["secret"], "separator": " "})
    hidden = case["mix_type"] == "random150"
    plain = case["texts"][0]["user"].split("\n")[1]
    found = []
    for row in case["rows"]:
        ask, answer = (message["content"] for message in row["messages"])
        sample = Sample(ask, answer, system=plain)
        if row.get("prefixed"):
            if not hidden:
                continue
            (sample,) = under_secret([sample], shield)
        text = f"<<SYS>>\n{sample.system}\n<</SYS>>\n\n{sample.instruction}"
        found.append({"user": text, "assistant": sample.response})
    assert found == case["texts"]


@pytest.mark.parametrize("loss", [breaker_loss, retain_loss])
def test_losses_of_half_precision_states_are_those_of_their_float32_values(loss) -> None:
    """The authors' code takes its norms in float32; in bfloat16 near cosines are 1 and stay so."""
    generator = torch.Generator().manual_seed(0)
    original = torch.randn(1, 2, 3, 64, generator=generator).bfloat16()
    moved = (original.float() + 0.02 * torch.randn(original.shape, generator=generator)).bfloat16()
    mask, gradients = torch.ones(2, 3), []
    for dtype in (torch.bfloat16, torch.float32):
        states = moved.detach().clone().to(dtype).requires_grad_()
        loss(original.to(dtype), states, mask).backward()
        gradients.append(states.grad)
    assert torch.allclose(gradients[0].float(), gradients[1], rtol=0.01, atol=1e-6)


def test_relative_distance_of_retained_states_is_the_same_at_every_length() -> None:
    generator = torch.Generator().manual_seed(0)
    original = torch.randn(2, 2, 3, 8, generator=generator)
    adapted = original + 0.1 * torch.randn(original.shape, generator=generator)
    mask = torch.tensor([[1, 1, 1], [0, 1, 1]])
    one, other = (retain_loss(k * original, k * adapted, mask, relative=True) for k in (1, 400))
    assert torch.allclose(one, other)
    assert 0 < float(one) < 1
