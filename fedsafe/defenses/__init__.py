"""Post-hoc defenses: repairs of the aggregated adapter on the server.

Importing this registers them. Knows nothing of clients or rounds.
"""

from fedsafe.defenses import fine_tune as fine_tune
from fedsafe.defenses import fine_tune_data as fine_tune_data
