"""Client data sets: the source read once a process, split by the partition.

In one process and in a simulation every client finds its own share this way; nothing
travels. A client on a machine of its own may have a source of its own instead.
"""

import logging
from collections.abc import Sequence
from functools import lru_cache

from fedsafe.contracts import Sample, partitions, sources
from fedsafe.data.sources import fingerprint
from fedsafe.errors import DataError
from fedsafe.experiment.schema import Data, Experiment, PluginChoice
from fedsafe.messages import SharedData
from fedsafe.runs.files import digest
from fedsafe.seeds import stream


def shares(experiment: Experiment) -> tuple[tuple[Sample, ...], ...]:
    """Return each client's examples, by client number.

    Raises:
        DataError: The source cannot be read, or leaves a client with nothing.
    """
    data = experiment.data
    drawn = Data(
        source=data.source, partition=data.partition, examples_per_client=data.examples_per_client
    )
    return _shares(drawn.model_dump_json(), experiment.seed, experiment.federation.clients)


def shared_samples(shared: SharedData | None, client: int, limit: int | None) -> tuple[Sample, ...]:
    """Return a client's part of data that all clients share.

    Raises:
        DataError: They cannot be read, leave a client with nothing, or there are none.
    """
    if shared is None:
        raise DataError(
            "data.source is 'client' in the server's experiment: each client brings its own "
            "examples, and this one has none. Start it with `fedsafe client --data FILE`."
        )
    if not 0 <= client < shared.clients:
        raise DataError(
            f"This is client {client}, but the server's data are divided among {shared.clients}, "
            "numbered from 0. Start fewer clients, or raise federation.clients."
        )
    data = Data(source=shared.source, partition=shared.partition, examples_per_client=limit)
    return _shares(data.model_dump_json(), shared.seed, shared.clients)[client]


def own_samples(
    source: PluginChoice, seed: int, limit: int | None, version: str = ""
) -> tuple[Sample, ...]:
    """Return the samples of a client that has its own source: all there are, to the limit.

    Args:
        source: Where they come from; they are read once a process.
        seed: Of sources that draw.
        limit: The most to return; None: all.
        version: Tells these data from others that were at the same place before.

    Raises:
        DataError: The source cannot be read, or is empty.
        ConfigError: A setting of the source is wrong.
        PluginError: There is no such source.
    """
    return _own(source.model_dump_json(), seed, limit, version)


def data_hashes(experiment: Experiment) -> dict[str, str]:
    """Return the sha256 of the data that the clients hold."""
    hashes = (fingerprint(share) for share in shares(experiment))
    return {experiment.data.source.name: digest(*hashes)}


def left_out(experiment: Experiment) -> dict[str, int]:
    """Return what was left out of the data that the clients hold, and how often.

    Raises:
        DataError: The source cannot be read.
    """
    source = experiment.data.source
    return dict(getattr(_source(source.model_dump_json(), experiment.seed), "left_out", {}))


@lru_cache(maxsize=4)
def _source(source_json: str, seed: int) -> Sequence[Sample]:
    source = PluginChoice.model_validate_json(source_json)
    return sources[source.name].configure(source.settings)(seed)


@lru_cache(maxsize=4)
def _shares(data_json: str, seed: int, clients: int) -> tuple[tuple[Sample, ...], ...]:
    data = Data.model_validate_json(data_json)
    examples = _source(data.source.model_dump_json(), seed)
    divide = partitions[data.partition.name].configure(data.partition.settings)
    parts = divide(examples, clients, stream(seed, "partition"))
    limit = data.examples_per_client
    empty = [client for client, part in enumerate(parts) if not part]
    if empty:
        raise DataError(
            f"data.partition '{data.partition.name}' leaves client {empty[0]} with no example out "
            f"of {len(examples)}. Use fewer clients, more examples, or another partition."
        )
    return tuple(tuple(examples[index] for index in part[:limit]) for part in parts)


@lru_cache(maxsize=64)
def _own(source_json: str, seed: int, limit: int | None, _version: str) -> tuple[Sample, ...]:
    choice = PluginChoice.model_validate_json(source_json)
    examples = sources[choice.name].configure(choice.settings)(seed)
    if not examples:
        raise DataError(f"This client's own data ('{choice.name}') hold no example. Give it some.")
    for what, times in getattr(examples, "left_out", {}).items():
        logging.getLogger(__name__).warning("Left out of this client's data: %s %s.", times, what)
    return tuple(examples[:limit])
