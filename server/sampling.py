"""Sample a round's cohort: by client number, never by node id.

Node ids change with every session; a client's number does not, so the same experiment
asks the same clients in every session.
"""

from fedsafe.experiment.schema import Experiment
from fedsafe.seeds import stream


def cohort(experiment: Experiment, number: int, seed: int | None = None) -> list[int]:
    """Return the clients of a round, ascending.

    Args:
        experiment: How many clients there are, and how many are asked.
        number: Of the round, from 1.
        seed: Of the draw; None: the experiment's.
    """
    everyone = range(experiment.federation.clients)
    drawn = stream(experiment.seed if seed is None else seed, "sample", number)
    return sorted(drawn.sample(everyone, experiment.sampled))
