"""Malicious examples, made inside a declared red team to test defenses.

Importing this registers the generators.
"""

from fedsafe.attacks import own_file as own_file
from fedsafe.attacks import self_written as self_written
