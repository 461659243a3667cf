"""The examples that a server aligns its base model with, before a federation."""

from collections.abc import Sequence

from fedsafe.contracts import Sample, sources
from fedsafe.errors import DataError
from fedsafe.experiment.schema import Alignment
from fedsafe.seeds import stream


def aligned_samples(alignment: Alignment, seed: int) -> Sequence[Sample]:
    """Return the examples that the server aligns with.

    Raises:
        DataError: They cannot be read, or there are none.
    """
    choice = alignment.source
    samples = list(sources[choice.name].configure(choice.settings)(seed))
    if not samples:
        raise DataError(f"alignment.source '{choice.name}' gives no example. Name another one.")
    wanted = alignment.examples
    if wanted is None or wanted >= len(samples):
        return samples
    chosen = stream(seed, "alignment", "examples").sample(range(len(samples)), wanted)
    return [samples[index] for index in sorted(chosen)]
