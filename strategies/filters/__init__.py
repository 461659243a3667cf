"""Pre-aggregation filters: what is done to the updates before a rule combines them."""

from strategies.filters import (
    clipping,
    mixing,
    noise,
    quarantine,
    safe_grad,
    safe_lora,
    safety_client,
    safety_probe,
)

__all__ = [
    "clipping",
    "mixing",
    "noise",
    "quarantine",
    "safe_grad",
    "safe_lora",
    "safety_client",
    "safety_probe",
]
