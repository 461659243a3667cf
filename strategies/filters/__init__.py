"""Pre-aggregation filters: what is done to the updates before a rule combines them."""

from strategies.filters import clipping, mixing, noise, safe_grad, safety_probe

__all__ = ["clipping", "mixing", "noise", "safe_grad", "safety_probe"]
