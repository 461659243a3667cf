"""Judges: does a reply refuse, comply, or is it garbage; importing this registers them.

Knows nothing of how replies are made.
"""

from fedsafe.evaluation.judges import classifier as classifier
from fedsafe.evaluation.judges import endpoint as endpoint
from fedsafe.evaluation.judges import keyword as keyword
from fedsafe.evaluation.judges import language_model as language_model
from fedsafe.evaluation.judges import micro as micro
from fedsafe.evaluation.judges import policy as policy
from fedsafe.evaluation.judges import refusal as refusal
from fedsafe.evaluation.judges import self_verdict as self_verdict
