"""Attacks of a declared red team: generators of malicious examples, and update attacks.

Importing this registers the generators and the update attacks.
"""

from fedsafe.attacks import adaptive as adaptive
from fedsafe.attacks import agr_tailored as agr_tailored
from fedsafe.attacks import alie as alie
from fedsafe.attacks import byz_mean as byz_mean
from fedsafe.attacks import distance_bounds as distance_bounds
from fedsafe.attacks import fang_krum as fang_krum
from fedsafe.attacks import fang_trim as fang_trim
from fedsafe.attacks import gaussian as gaussian
from fedsafe.attacks import identity_shift as identity_shift
from fedsafe.attacks import inner_product as inner_product
from fedsafe.attacks import mimic as mimic
from fedsafe.attacks import nested_source as nested_source
from fedsafe.attacks import own_file as own_file
from fedsafe.attacks import policy_pairs as policy_pairs
from fedsafe.attacks import scaling as scaling
from fedsafe.attacks import self_written as self_written
from fedsafe.attacks import sign_flip as sign_flip
