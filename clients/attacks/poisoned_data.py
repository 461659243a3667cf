"""Train honestly on malicious examples: the reference attack.

Nothing about the update is forged, which is why robust aggregation hardly sees it.
Ye et al., ICLR 2025.
"""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Conduct, behaviours
from fedsafe.errors import RunError


@behaviours("poisoned-data", paper="Ye et al., ICLR 2025", traits={"poison"})
def poisoned_data(
    conduct: Conduct,
    /,
    *,
    share: Annotated[
        float, Field(gt=0, le=1, description="Share of the examples that are malicious.")
    ] = 1.0,
) -> Conduct:
    """Replace a share of the client's examples by malicious ones.

    The client keeps as many benign examples as make the share; at 1 it keeps none.

    Raises:
        RunError: No malicious examples were made for it.
    """
    if not conduct.poison:
        raise RunError("A malicious client has no malicious examples. Check attack.generator.")
    kept = round(len(conduct.poison) * (1 - share) / share)
    benign = list(conduct.examples)
    conduct.rng.shuffle(benign)
    return replace(conduct, examples=[*conduct.poison, *benign[:kept]])
