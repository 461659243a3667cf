"""What comes of one client's work in one round, as it travels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Arrays = dict[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class TrainResult:
    """What a client sends back."""

    arrays: Arrays
    """As `fedsafe.models.compression` packs an update."""
    metrics: dict[str, int | float]
