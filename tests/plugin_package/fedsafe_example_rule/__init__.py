"""A rule by somebody else, which imports FedSafe's contracts and nothing more."""

from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates


def first_client(
    updates: Updates,
    state: State,
    /,
    *,
    scale: Annotated[float, Field(gt=0, description="Factor on the update.")] = 1.0,
) -> Aggregate:
    """Trust whoever comes first, and no one else."""
    influence = updates.weights * 0
    influence[0] = 1
    return Aggregate(scale * updates.matrix[0], influence)
