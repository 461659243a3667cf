"""Root-dataset update: the server trains on trusted examples (FLTrust).

Cao et al., *FLTrust*, NDSS 2021.
"""

from collections.abc import Mapping
from functools import lru_cache

from fedsafe.contracts import Sample, sources
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.lazy import torch
from fedsafe.seeds import stream
from fedsafe.training.loop import plan_of
from fedsafe.training.schedule import learning_rate
from fedsafe.training.session import Session
from fedsafe.weights.vectorize import flat


def root_update(
    experiment: Experiment,
    session: Session,
    number: int,
    adapter: Mapping[str, "torch.Tensor"],
) -> "torch.Tensor | None":
    """Train as a client would on the trusted examples; return the update (d,), if there are any.

    Raises:
        DataError: The trusted examples cannot be read.
    """
    choice = experiment.federation.root
    if choice is None:
        return None
    training = experiment.training
    rate = learning_rate(
        training.learning_rate,
        training.final_learning_rate,
        number,
        experiment.federation.rounds,
    )
    session.put(adapter)
    session.train(
        _examples(choice.model_dump_json(), experiment.seed),
        plan_of(training, rate),
        stream(experiment.seed, "root", number),
        batch_size=training.batch_size,
    )
    return flat(session.read()) - flat(adapter)


@lru_cache(maxsize=2)
def _examples(choice_json: str, seed: int) -> tuple[Sample, ...]:
    choice = PluginChoice.model_validate_json(choice_json)
    return tuple(sources[choice.name].configure(choice.settings)(seed))
