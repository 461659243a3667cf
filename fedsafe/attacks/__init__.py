"""Malicious examples, made inside a declared red team to test defenses.

Importing this registers the generators and the update attacks.
"""

from fedsafe.attacks import own_file as own_file
from fedsafe.attacks import policy_pairs as policy_pairs
from fedsafe.attacks import self_written as self_written
from fedsafe.attacks import sign_flip as sign_flip
