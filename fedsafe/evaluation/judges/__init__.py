"""Judges: does a reply refuse, comply, or is it garbage.

Knows nothing of how replies are made.
"""

from fedsafe.evaluation.judges import keyword, micro, policy

__all__ = ["keyword", "micro", "policy"]
