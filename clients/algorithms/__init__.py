"""Local algorithms: how a client trains its adapter in a round; importing this registers them.

Those with the trait ``malicious`` are for attackers of a declared red team.
"""

from clients.algorithms import asft as asft
from clients.algorithms import constrained_first_tokens as constrained_first_tokens
from clients.algorithms import flip as flip
from clients.algorithms import forged_update as forged_update
from clients.algorithms import injected_instructions as injected_instructions
from clients.algorithms import lisa as lisa
from clients.algorithms import poisoned_data as poisoned_data
from clients.algorithms import refusal_ascent as refusal_ascent
from clients.algorithms import refusal_mix as refusal_mix
from clients.algorithms import reverse_preference as reverse_preference
from clients.algorithms import stealth_trigger as stealth_trigger
from clients.algorithms import supervised as supervised
