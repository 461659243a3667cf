"""What only the server may know: its random draws, and the secret settings of its plug-ins."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, MessageType, MetricRecord, RecordDict

from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Hello
from fedsafe.runs.events import Event, Events
from fedsafe.runs.layout import RunFile
from fedsafe.runs.store import Store
from server.experiment import run_experiment
from server.randomness import Draws
from server.transport import dispatch, round_collector
from server.transport.allowlist import Allowed
from tests.doubles.grids import HttpGrid, hello
from tests.doubles.requests import arrays_in, parcel

ALLOW = tuple(Allowed(n, f"site-{n}", "", f"key of {10 + n}".encode()) for n in range(4))
PLANTED = "planted-5b0c"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(dispatch, "LONGEST_PAUSE", 0.005)
    monkeypatch.setattr(round_collector, "LOOK_SECONDS", 0.0)


class Deployment:
    """Four clients on machines of their own, and everything that the server sends them."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.grid = HttpGrid(self._answer, lambda node: 1)
        for node in range(10, 14):
            self.grid.start(node)

    def _answer(self, message: Message) -> Message | None:
        self.sent.append(message)
        if message.metadata.message_type != MessageType.TRAIN:
            return hello(message, Hello(data="digest").model_dump_json())
        arrays = {name: array + np.float32(0.01) for name, array in arrays_in(message).items()}
        metrics = MetricRecord({"num-examples": 8, "loss": 0.5})
        content = RecordDict({"arrays": parcel(arrays), "metrics": metrics})
        return Message(content, reply_to=message)

    def run(self, experiment: Experiment, directory: Path, listen: Any = None, **how: Any) -> None:
        store = Store(directory)
        events = Events(store.events, listen)
        run_experiment(self.grid, experiment, store, events, "deployment", allow=ALLOW, **how)


@pytest.fixture
def sampling(experiment: Experiment) -> Experiment:
    """Return an experiment that samples two of four clients, with a rule that draws."""
    values = experiment.model_dump(mode="json")
    strategy = {"name": "tests.doubles.plugins:drawing"}
    values["federation"] |= {
        "sampled": 2,
        "rounds": 6,
        "minimum_replies": 1,
        "deadline": 20,
        "strategy": strategy,
    }
    return validate(values)


def _draws(directory: Path) -> list[tuple[list[int], float]]:
    return [(record.cohort, record.metrics["seed"]) for record in Store(directory).rounds()]


def test_draws_of_two_deployments_differ(sampling: Experiment, tmp_path: Path) -> None:
    for name in ("one", "other"):
        Deployment().run(sampling, tmp_path / name)
    one, other = _draws(tmp_path / "one"), _draws(tmp_path / "other")
    assert [cohort for cohort, _ in one] != [cohort for cohort, _ in other]
    assert one[0][1] != other[0][1]


def test_file_of_an_earlier_deployment_repeats_its_draws(
    sampling: Experiment, tmp_path: Path
) -> None:
    Deployment().run(sampling, tmp_path / "one")
    Deployment().run(sampling, tmp_path / "other", randomness=tmp_path / "one" / RunFile.RANDOMNESS)
    assert _draws(tmp_path / "other") == _draws(tmp_path / "one")


def test_restarted_deployment_goes_on_with_its_draws(sampling: Experiment, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if event.kind == "round-end" and event.data["record"]["round"] == 2:
            raise KeyboardInterrupt

    Deployment().run(sampling, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        Deployment().run(
            sampling, tmp_path / "run", stop, randomness=tmp_path / "whole" / RunFile.RANDOMNESS
        )
    Deployment().run(sampling, tmp_path / "run")
    assert _draws(tmp_path / "run") == _draws(tmp_path / "whole")


def test_secrets_are_in_no_file_and_no_message(
    sampling: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", PLANTED)
    values = sampling.model_dump(mode="json")
    judge = {"name": "tests.doubles.plugins:paid_judge", "key": "env:JUDGE_KEY"}
    values["evaluation"]["judge"] = {**judge, "api_key": "env:JUDGE_KEY"}
    values["defenses"] = ["tests.doubles.plugins:nudge"]
    deployment, heard, directory = Deployment(), [], tmp_path / "run"
    deployment.run(validate(values), directory, heard.append)
    randomness = (directory / RunFile.RANDOMNESS).read_text().strip()
    draws = Draws.of(0, Store(directory))
    secrets = [PLANTED, randomness, str(draws.cohorts), str(draws.rules)]
    told = [str(event).encode() for event in heard]
    sent = [part for message in deployment.sent for part in _contents(message)]
    kept = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    del kept[directory / RunFile.RANDOMNESS]
    for secret in secrets:
        assert [path for path, content in kept.items() if secret.encode() in content] == []
        assert not any(secret.encode() in content for content in [*told, *sent])


def _contents(message: Message) -> list[bytes]:
    """Return everything in a message as bytes."""
    values = (value for record in message.content.values() for value in record.values())
    return [value.data if hasattr(value, "data") else str(value).encode() for value in values]


def test_seed_of_the_experiment_does_not_reach_the_clients(
    sampling: Experiment, tmp_path: Path
) -> None:
    values = sampling.model_dump(mode="json")
    values |= {"seed": 734_655_917_203}
    values["data"]["source"] = {"name": "client"}
    deployment = Deployment()
    deployment.run(validate(values), tmp_path / "run")
    sent = [part for message in deployment.sent for part in _contents(message)]
    assert sent
    assert not any(b"734655917203" in content for content in sent)
