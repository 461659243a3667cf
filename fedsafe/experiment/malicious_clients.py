"""Draw the malicious clients of a simulated attack from the seed.

No strategy ever sees it.
"""

from fedsafe.experiment.schema import Experiment
from fedsafe.seeds import stream


def malicious_clients(experiment: Experiment) -> frozenset[int]:
    """Return the numbers of the malicious clients; empty without an attack."""
    if experiment.attack is None:
        return frozenset()
    everyone = range(experiment.federation.clients)
    drawn = stream(experiment.seed, "roster").sample(everyone, experiment.attack.malicious)
    return frozenset(drawn)
