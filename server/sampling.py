"""Which clients a round asks: drawn from the seed by client number, never by node id.

Node ids change with every session; a client's number does not, so the same experiment
asks the same clients on every runtime.
"""

from fedsafe.experiment.schema import Experiment
from fedsafe.seeds import stream


def cohort(experiment: Experiment, number: int) -> list[int]:
    """Return the clients of a round, ascending."""
    everyone = range(experiment.federation.clients)
    return sorted(stream(experiment.seed, "sample", number).sample(everyone, experiment.sampled))
