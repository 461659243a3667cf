"""Judges: does a reply refuse, comply, or is it garbage.

Knows nothing of how replies are made.
"""

from fedsafe.evaluation.judges import keyword, micro, self_verdict

__all__ = ["keyword", "micro", "self_verdict"]
