"""Who gets which examples, where the data are the clients' own."""

from pathlib import Path

import pytest

from fedsafe.contracts import Sample
from fedsafe.data.client_datasets import data_hashes, own_samples
from fedsafe.errors import DataError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import PluginChoice
from fedsafe.runs.files import write_lines

CLIENTS = "data.source is 'client': each client brings its own examples"


@pytest.fixture
def own(tmp_path: Path) -> PluginChoice:
    path = tmp_path / "own.jsonl"
    write_lines(path, [{"instruction": f"ask {n}", "response": "fine"} for n in range(5)])
    return PluginChoice.model_validate({"name": "jsonl", "path": str(path)})


def test_own_source_is_the_whole_share(own: PluginChoice) -> None:
    found = own_samples(own, 0, None)
    assert [example.instruction for example in found] == [f"ask {n}" for n in range(5)]


def test_own_share_keeps_to_the_limit(own: PluginChoice) -> None:
    found = own_samples(own, 0, 2)
    assert [example.instruction for example in found] == ["ask 0", "ask 1"]


def nothing(seed: int, /) -> list[Sample]:
    """Find no example."""
    return []


def test_own_source_without_an_example_is_a_sentence() -> None:
    choice = PluginChoice(name=f"{__name__}:nothing")
    with pytest.raises(DataError, match="hold no example"):
        own_samples(choice, 0, None)


def test_data_that_clients_bring_cannot_be_read_elsewhere() -> None:
    experiment = validate({"data": {"source": "client"}})
    with pytest.raises(DataError, match=CLIENTS):
        data_hashes(experiment)


def test_data_that_clients_bring_are_no_clients_own_source() -> None:
    with pytest.raises(DataError, match=CLIENTS):
        own_samples(PluginChoice(name="client"), 0, None)
