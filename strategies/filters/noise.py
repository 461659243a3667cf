"""Gaussian noise on every update (weak differential privacy).

Sun et al., *Can You Really Backdoor Federated Learning?*, 2019 (weak differential
privacy, after clipping).
"""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Updates, filters
from fedsafe.lazy import torch
from strategies.kernels.random_columns import generator


@filters("noise", paper="Sun et al., arXiv 1911.07963", traits={"random"})
def noise(
    updates: Updates,
    /,
    *,
    scale: Annotated[
        float, Field(ge=0, description="Standard deviation of the noise on a coordinate.")
    ] = 0.001,
    seed: Annotated[int, Field(ge=0, description="Of the noise.")] = 0,
) -> Updates:
    """Add Gaussian noise to every update; a copy of all of them in memory.

    Clip first for a privacy guarantee, which nobody computes here. (n, d) -> (n, d).
    """
    draw = generator(updates, "noise", seed)
    blurred = updates.matrix.detach().float().clone()
    for row in blurred:
        row.add_(torch.randn(len(row), generator=draw).to(row.device), alpha=scale)
    return replace(updates, matrix=blurred)
