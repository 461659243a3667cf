"""Lisa: local training that alternates between safety data and own data, with a proximal term."""

from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from clients.algorithms.safety_examples import Safety, safety_samples, unnamed
from fedsafe.contracts import (
    Batch,
    DefenseCard,
    LocalTask,
    ModelContext,
    Objective,
    algorithms,
)
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

STATES = ("alignment", "fine-tuning")


class Switching:
    """The state of each step, and the weights where each state was left last.

    Attributes:
        points: Weights by state and name, as they were when that state was left; at first those
            of the first step.
    """

    def __init__(self, alignment: int, finetuning: int, points: "dict[str, Tensor]") -> None:
        self.lengths, self.points = (alignment, finetuning), points

    def state(self, step: int) -> str:
        """Return the state of a step, counted from 0 over all rounds."""
        return STATES[step % sum(self.lengths) >= self.lengths[0]]

    def at(self, step: int, weights: "dict[str, Tensor]") -> str:
        """Return the state of a step that is about to be taken, and keep the weights of a switch.

        Args:
            step: Its number from 0 over all rounds.
            weights: float32, before the step.
        """
        state = self.state(step)
        for one in STATES:
            left = step > 0 and one == self.state(step - 1) != state
            for name, weight in weights.items():
                if left or f"{one}/{name}" not in self.points:
                    self.points[f"{one}/{name}"] = weight.detach().float().cpu().clone()
        return state

    def distance(self, state: str, weights: "dict[str, Tensor]") -> "Tensor":
        """Return half the squared distance to where the other state was left; differentiable."""
        other = STATES[1 - STATES.index(state)]
        parts = [
            (weight - self.points[f"{other}/{name}"].to(weight)).float().square().sum()
            for name, weight in weights.items()
        ]
        return 0.5 * torch.stack(parts).sum()


@algorithms(
    "lisa",
    paper="Huang et al., Lisa, NeurIPS 2024",
    badge="variant: at the clients of a federation; the clock and the switch points go on over "
    "rounds, each round begins at the aggregated adapter",
    card=DefenseCard(
        claim="Alternating between safety data and user data, each held near the other's last "
        "weights, keeps alignment under harmful fine-tuning better than alternation alone.",
        needs=("gradients", "safety examples"),
        cost="no pass beside those of local training; two copies of the adapter",
        place="at the clients",
        cannot=unnamed,
        nothing={"alignment_steps": 0, "rho": 0.0},
    ),
)
def lisa(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    safety: Safety,
    alignment_steps: Annotated[
        int, Field(ge=0, description="Steps on safety data in turn, K1.")
    ] = 100,
    finetuning_steps: Annotated[
        int, Field(ge=1, description="Steps on the client's own data in turn, K2.")
    ] = 900,
    rho: Annotated[float, Field(ge=0, description="Factor of the proximal term.")] = 1.0,
    free_steps: Annotated[
        int,
        Field(ge=0, description="First steps of all without it; 10 % of all in the public code."),
    ] = 0,
) -> None:
    """Fine-tune by turns on safety and own data, with (rho / 2) ||w - w_other||^2 in the loss.

    w_other are the weights where the other of the two states was left last. Own batches go on
    while a batch of safety examples stands in for one, as in the authors' code.

    Raises:
        DataError: The source of the safety examples has none.
    """
    if not alignment_steps and not rho:
        context.fit(task.samples, steps=task.steps)
        return
    begun = (task.round - 1) * task.steps
    batches = cycle(context.batches(safety_samples(task, safety)))
    switching = Switching(alignment_steps, finetuning_steps, task.memory)
    proximal = proximal_loss(switching, batches, begun, rho, free_steps)
    context.fit(task.samples, proximal, steps=task.steps)


def proximal_loss(
    switching: Switching, safety: Iterator[Batch], begun: int, rho: float, free_steps: int
) -> Objective:
    """Return the objective: cross entropy of the state's batch, and the proximal term.

    Args:
        switching: Says the state of each step.
        safety: Batches of safety examples, without end.
        begun: Steps of earlier rounds.
        rho: Factor of the proximal term.
        free_steps: First steps of all without it.
    """

    def objective(context: ModelContext, batch: Batch, step: int, /) -> "tuple[Tensor, float]":
        now, weights = begun + step - 1, context.trainable()
        state = switching.at(now, weights)
        chosen = next(safety) if state == "alignment" else batch
        summed, count = context.cross_entropy(chosen)
        if rho and now >= free_steps:
            summed = summed + count * rho * switching.distance(state, weights)
        return summed, count

    return objective
