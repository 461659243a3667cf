"""Local algorithms: how a client trains its adapter in a round; importing this registers them.

Those with the trait ``malicious`` are for attackers of a declared red team.
"""

from clients.algorithms import forged_update, poisoned_data, supervised

__all__ = ["forged_update", "poisoned_data", "supervised"]
