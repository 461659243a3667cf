"""What a malicious client changes about its own training; importing this registers them.

Knows nothing of the server or of any strategy.
"""

from clients.attacks import poisoned_data as poisoned_data
from clients.attacks import poisoned_update as poisoned_update
