"""Result of one client's local training in one round."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Arrays = dict[str, "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class TrainResult:
    """A client's reply: compressed update and metrics."""

    arrays: Arrays
    """As `fedsafe.models.compression` packs an update."""
    metrics: dict[str, int | float]
