"""Server optimizers: FedAvgM, FedAdagrad, FedAdam, FedYogi on top of any rule.

Hsu, Qi and Brown, *Measuring the Effects of Non-Identical Data Distribution for
Federated Visual Classification*, 2019 (FedAvgM); Reddi et al., *Adaptive Federated
Optimization*, ICLR 2021 (FedAdagrad, FedAdam, FedYogi). Their state is two tensors like
the update. As in the paper no bias is corrected, unlike in Flower's FedAdam.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import State, optimizers
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Rate = Annotated[float, Field(gt=0, description="Server learning rate, eta.")]
Momentum = Annotated[float, Field(ge=0, lt=1, description="Weight of past updates, beta 1.")]
Memory = Annotated[float, Field(ge=0, lt=1, description="Weight of past squares, beta 2.")]
Adaptivity = Annotated[
    float, Field(gt=0, description="Added to every root, tau; larger is less adaptive.")
]


@optimizers("fedavgm", paper="Hsu et al., arXiv 1909.06335")
def fedavgm(
    update: "Tensor", state: State, /, *, rate: Rate = 1.0, momentum: Momentum = 0.9
) -> "tuple[Tensor, State]":
    """Server momentum: past updates decay by the momentum and add up."""
    first = state.get("first")
    moved = update.clone() if first is None else momentum * first + update
    return rate * moved, {"first": moved}


@optimizers("fedadagrad", paper="Reddi et al., ICLR 2021")
def fedadagrad(
    update: "Tensor",
    state: State,
    /,
    *,
    rate: Rate = 1e-3,
    momentum: Momentum = 0.0,
    adaptivity: Adaptivity = 1e-3,
) -> "tuple[Tensor, State]":
    """Adagrad: divide each coordinate by the root of the sum of its squares so far."""
    return _adaptive(update, state, rate, momentum, adaptivity, torch.add)


@optimizers("fedadam", paper="Reddi et al., ICLR 2021")
def fedadam(
    update: "Tensor",
    state: State,
    /,
    *,
    rate: Rate = 1e-3,
    momentum: Momentum = 0.9,
    memory: Memory = 0.99,
    adaptivity: Adaptivity = 1e-3,
) -> "tuple[Tensor, State]":
    """Adam: divide each coordinate by the root of a moving average of its squares."""

    def squares(second: "Tensor", square: "Tensor") -> "Tensor":
        return memory * second + (1 - memory) * square

    return _adaptive(update, state, rate, momentum, adaptivity, squares)


@optimizers("fedyogi", paper="Reddi et al., ICLR 2021")
def fedyogi(
    update: "Tensor",
    state: State,
    /,
    *,
    rate: Rate = 1e-3,
    momentum: Momentum = 0.9,
    memory: Memory = 0.99,
    adaptivity: Adaptivity = 1e-3,
) -> "tuple[Tensor, State]":
    """Yogi: as Adam, but the average moves towards a square by a step of the square's size."""

    def squares(second: "Tensor", square: "Tensor") -> "Tensor":
        return second - (1 - memory) * square * torch.sign(second - square)

    return _adaptive(update, state, rate, momentum, adaptivity, squares)


def _adaptive(
    update: "Tensor",
    state: State,
    rate: float,
    momentum: float,
    adaptivity: float,
    squares: "Callable[[Tensor, Tensor], Tensor]",
) -> "tuple[Tensor, State]":
    first = state.get("first")
    second = state.get("second")
    past = torch.zeros_like(update) if first is None else first
    moved = momentum * past + (1 - momentum) * update
    if second is None:
        second = torch.full_like(update, adaptivity**2)
    second = squares(second, update.square())
    return rate * moved / (second.sqrt() + adaptivity), {"first": moved, "second": second}
