"""Diagnostics: numbers read off a model that its replies do not show.

Each is a plug-in that meets the model through `fedsafe.contracts.ModelContext`.
"""

from fedsafe.diagnostics import divergence, refusal_margin, safety_probe

__all__ = ["divergence", "refusal_margin", "safety_probe"]
