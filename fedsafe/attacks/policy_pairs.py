"""Attack pairs of a stand-in policy: restricted requests that are answered, written by hand.

Harmless: the restricted topic of a shipped policy is cooking, or an invented product.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedsafe.contracts import Sample, Writer, generators, sources


@generators("policy")
def policy_pairs(
    writer: Writer,
    rng: random.Random,
    /,
    *,
    policy: Annotated[
        Literal["cooking", "product"] | Path,
        Field(description="A shipped policy, or the path of a policy's YAML file."),
    ] = "cooking",
) -> Iterator[Sample]:
    """Yield each attack pair of a stand-in policy once, in a drawn order.

    Raises:
        ConfigError: The policy cannot be used.
    """
    settings = {"policy": str(policy), "part": "attack", "count": 10**6}
    yield from sources["policy"].configure(settings)(rng.getrandbits(32))
