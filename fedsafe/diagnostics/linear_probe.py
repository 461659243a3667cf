"""Linear probes of hidden states: a logistic regression that tells harmful requests from others.

Xu et al., *Uncovering Safety Risks of Large Language Models through Concept Activation Vector*
(SCAV), NeurIPS 2024, arXiv:2404.12038. Knows nothing of models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

from fedsafe.errors import RunError
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 8
"""Requests of each kind below which no probe is fitted."""


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """P(harmful | h) = sigmoid(weight . h + bias), of the hidden states after one layer.

    Attributes:
        layer: Number of the layer.
        weight: float64 (h,), the concept activation vector, not of unit length.
        bias: The intercept.
        accuracy: Share of held-out requests that it tells right, in [0, 1].
        loss: Mean logistic loss on them, in nats.
    """

    layer: int
    weight: "Tensor"
    bias: float
    accuracy: float
    loss: float

    def log_odds(self, states: "Tensor") -> "Tensor":
        """Return the log-odds (n,) of "harmful", float64, of hidden states (n, h)."""
        found: Tensor = states.double() @ self.weight.to(states.device) + self.bias
        return found

    def accuracy_on(self, harmful: "Tensor", benign: "Tensor") -> list[bool]:
        """Return of each hidden state, the harmful ones (n, h) first, whether it is told right."""
        right = torch.cat([self.log_odds(harmful) > 0, self.log_odds(benign) <= 0])
        return list(map(bool, right.tolist()))


def moved(
    states: "Tensor", weight: "Tensor", bias: float, probability: float, *, always: bool = False
) -> "Tensor":
    """Move hidden states along the concept vector until the probe says P(harmful) = probability.

    h + e v with v = weight / ||weight|| and the least e that does it,
    e = (logit(probability) - bias - weight . h) / ||weight||. SCAV, section 3.2.

    Args:
        states: (..., h).
        weight: (h,).
        bias: The intercept.
        probability: Wanted P(harmful), inside (0, 1).
        always: Whether states that are below it already are moved up to it; else they stay.

    Returns:
        (..., h) in the dtype of ``states``; the states themselves where the weight is zero.
    """
    vector = weight.to(states.device).double()
    size = vector.norm()
    if float(size) == 0:
        return states
    target = log(probability) - log(1 - probability)
    step = (target - bias - states.double() @ vector) / size
    if not always:
        step = step.clamp(max=0)
    found: Tensor = (states.double() + step[..., None] * (vector / size)).to(states.dtype)
    return found


def fit(harmful: "Tensor", benign: "Tensor") -> "tuple[Tensor, float]":
    """Return weight (h,), float64, and bias of an L2-regularised logistic regression (C = 1).

    The weight lies in the span of the states, and so Newton's steps are taken there: the same
    minimum to rounding, whatever the width of the model.

    Args:
        harmful: float (n, h).
        benign: float (m, h).
    """
    from sklearn.linear_model import LogisticRegression

    states = torch.cat([harmful, benign]).double().cpu()
    basis = torch.linalg.qr(states.T).Q  # (h, min(h, n + m))
    labels = [1] * len(harmful) + [0] * len(benign)
    model: Any = LogisticRegression(solver="newton-cholesky", tol=1e-10)
    model.fit((states @ basis).numpy(), labels)
    return basis @ torch.from_numpy(model.coef_[0].copy()), float(model.intercept_[0])


def halves(rows: Any) -> tuple[Any, Any]:
    """Return the rows that a probe is fitted on, and those held out: every second one."""
    return rows[::2], rows[1::2]


def fit_layers(
    harmful: "Mapping[int, Tensor]", benign: "Mapping[int, Tensor]"
) -> "dict[int, LinearProbe]":
    """Return the probe of each layer, fitted on every second request, scored on the others.

    Args:
        harmful: Hidden states (n, h) by layer.
        benign: The same of ordinary requests.

    Raises:
        RunError: There are fewer than eight requests of a kind, or states are not finite.
    """
    found = {}
    for layer, states in harmful.items():
        _check(layer, states, benign[layer])
        (bad, held_bad), (good, held_good) = halves(states), halves(benign[layer])
        weight, bias = fit(bad, good)
        bare = LinearProbe(layer, weight, bias, 0.0, 0.0)
        right = bare.accuracy_on(held_bad, held_good)
        signed = torch.cat([bare.log_odds(held_bad), -bare.log_odds(held_good)])
        loss = float(torch.nn.functional.softplus(-signed).mean())
        found[layer] = LinearProbe(layer, weight, bias, sum(right) / len(right), loss)
    return found


def best(probes: Sequence[LinearProbe]) -> LinearProbe:
    """Return the probe of the highest held-out accuracy; of equal ones that of the least loss."""
    return max(probes, key=lambda probe: (probe.accuracy, -probe.loss, probe.layer))


def cosine(one: "Tensor", other: "Tensor") -> float:
    """Return the cosine of two vectors (h,); 0 where one of them is zero."""
    a, b = one.double(), other.double()
    return float(a @ b / (a.norm() * b.norm()).clamp_min(1e-30))


def _check(layer: int, harmful: "Tensor", benign: "Tensor") -> None:
    if min(len(harmful), len(benign)) < FEWEST:
        raise RunError(
            f"A safety probe needs at least {FEWEST} harmful and {FEWEST} benign requests; got "
            f"{len(harmful)} and {len(benign)} that repeat no evaluation prompt. Raise the count "
            "of safety_probe.harmful and safety_probe.benign, or name other sources."
        )
    if not bool(torch.isfinite(torch.cat([harmful, benign])).all()):
        raise RunError(
            f"Hidden states after layer {layer} hold NaN or infinity, so no safety probe can be "
            "fitted. Set model.dtype float32, or look at the adapter."
        )
