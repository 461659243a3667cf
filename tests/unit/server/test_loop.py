"""The rounds of a federation: bad clients are dropped, the rest goes on, nothing is lost."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import (
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp

from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.launch.grid import InlineGrid
from fedsafe.messages import Hello, Job
from fedsafe.models import adapters
from fedsafe.runs.events import Event, Events
from fedsafe.runs.store import FederationStore
from fedsafe.training.session import Session
from server.loop import Federation
from server.transport.client_registry import ClientRegistry
from tests.doubles.requests import arrays_in, parcel

Behaviour = Callable[[Message, Job, dict[str, Any]], Message]


def _answer(message: Message, arrays: Mapping[str, Any], examples: int = 8) -> Message:
    content = RecordDict(
        {
            "arrays": parcel(arrays),
            "metrics": MetricRecord({"num-examples": examples, "loss": 0.5, "seconds": 0.1}),
        }
    )
    return Message(content, reply_to=message)


def _honest(message: Message, job: Job, arrays: dict[str, Any]) -> Message:
    """Move every number by a step of the client's own."""
    step = np.float32(0.001 * (job.client + 1) * job.round)
    return _answer(message, {name: array + step for name, array in arrays.items()})


def _raises(message: Message, job: Job, arrays: dict[str, Any]) -> Message:
    raise RuntimeError("out of luck")


def _not_a_number(message: Message, job: Job, arrays: dict[str, Any]) -> Message:
    return _answer(message, {name: array * np.float32("nan") for name, array in arrays.items()})


def _empty(message: Message, job: Job, arrays: dict[str, Any]) -> Message:
    return Message(RecordDict(), reply_to=message)


def _liar(message: Message, job: Job, arrays: dict[str, Any]) -> Message:
    return _answer(message, {n: a + np.float32(1) for n, a in arrays.items()}, examples=10**9)


def _app(behaviours: Mapping[int, Behaviour]) -> ClientApp:
    """Return a ClientApp whose clients behave as told, honestly unless told."""
    app = ClientApp()

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        number = context.node_config["partition-id"]
        total = context.node_config["num-partitions"]
        text = Hello(partition=number, partitions=total).model_dump_json()  # type: ignore[arg-type]
        from flwr.app import ConfigRecord

        return Message(RecordDict({"answer": ConfigRecord({"hello": text})}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        job = Job.parse(str(message.content["config"]["job"]))
        return behaviours.get(job.client, _honest)(message, job, arrays_in(message))

    return app


def _federation(
    experiment: Experiment,
    session: Session,
    directory: Path,
    behaviours: Mapping[int, Behaviour] | None = None,
    listen: Callable[[Event], None] | None = None,
    nodes: int | None = None,
) -> Federation:
    clients = experiment.federation.clients
    grid = InlineGrid(_app(behaviours or {}), nodes or clients)
    events = Events(listen=listen)
    registry = ClientRegistry(grid, clients, events)
    registry.wait(5)
    return Federation(
        name="main",
        experiment=experiment,
        grid=grid,
        registry=registry,
        session=session,
        store=FederationStore(directory),
        events=events,
    )


def _changed(experiment: Experiment, **federation: Any) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["federation"] |= federation
    return validate(values)


def test_rounds_add_the_mean_update(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    start = session.start(experiment.seed)
    found = _federation(experiment, session, tmp_path).run()
    moved = 0.001 * 2.5 * (1 + 2)
    for name, tensor in start.items():
        torch.testing.assert_close(found[name], tensor + moved, rtol=0, atol=1e-6)


def test_every_round_is_recorded(experiment: Experiment, session: Session, tmp_path: Path) -> None:
    federation = _federation(experiment, session, tmp_path)
    final = federation.run()
    records = federation.store.rounds()
    assert [record.round for record in records] == [1, 2]
    assert records[-1].adapter == adapters.digest(final)


def test_record_says_what_each_client_did(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    federation = _federation(experiment, session, tmp_path)
    federation.run()
    client = federation.store.rounds()[0].clients[2]
    numbers = sum(tensor.numel() for tensor in session.start(0).values())
    assert (client.client, client.status, client.examples, client.loss, client.seconds) == (
        2,
        "accepted",
        8,
        0.5,
        0.1,
    )
    assert client.influence == pytest.approx(0.25)
    assert client.norm == pytest.approx(0.003 * numbers**0.5, rel=1e-4)
    assert client.bytes > 4 * numbers


def test_adapter_is_saved_for_peft(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    federation = _federation(experiment, session, tmp_path)
    final = federation.run()
    assert adapters.digest(adapters.load(federation.store.adapter)) == adapters.digest(final)


@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        (_raises, "failed", "out of luck"),
        (_not_a_number, "dropped", "NaN or infinity"),
        (_empty, "dropped", "no array record"),
    ],
)
def test_bad_client_is_dropped_and_the_run_goes_on(
    behaviour: Behaviour,
    status: str,
    reason: str,
    experiment: Experiment,
    session: Session,
    tmp_path: Path,
) -> None:
    federation = _federation(experiment, session, tmp_path, {1: behaviour})
    federation.run()
    for record in federation.store.rounds():
        states = [client.status for client in record.clients]
        assert states == ["accepted", status, "accepted", "accepted"]
        assert reason in record.clients[1].reason
        assert record.clients[1].influence == 0


def test_dropped_client_does_not_count(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    start = session.start(experiment.seed)
    one = _changed(experiment, rounds=1)
    found = _federation(one, session, tmp_path, {3: _not_a_number}).run()
    name = next(iter(start))
    torch.testing.assert_close(found[name], start[name] + 0.002, rtol=0, atol=1e-6)


def test_client_that_lies_about_its_size_counts_no_more(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    federation = _federation(experiment, session, tmp_path, {1: _liar})
    federation.run()
    assert federation.store.rounds()[0].clients[1].influence == pytest.approx(0.25)


def test_update_beyond_the_limit_is_dropped(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    strict = _changed(experiment, max_update_norm=0.5)
    federation = _federation(strict, session, tmp_path, {1: _liar})
    federation.run()
    assert "is above 0.5" in federation.store.rounds()[0].clients[1].reason


def test_too_few_replies_are_a_sentence_with_the_reasons(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    bad = {0: _raises, 1: _not_a_number, 2: _empty}
    with pytest.raises(RunError) as caught:
        _federation(experiment, session, tmp_path, bad).run()
    text = str(caught.value)
    assert "Round 1 has 1 usable replies; 2 are needed." in text
    assert "client 0: error: " in text
    assert "client 1: NaN or infinity" in text


def test_round_without_enough_replies_leaves_the_earlier_ones(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    def later(message: Message, job: Job, arrays: dict[str, Any]) -> Message:
        return (_honest if job.round == 1 else _raises)(message, job, arrays)

    federation = _federation(experiment, session, tmp_path, dict.fromkeys(range(4), later))
    with pytest.raises(RunError, match="Round 2 has 0 usable replies"):
        federation.run()
    assert [record.round for record in federation.store.rounds()] == [1]


def test_failed_round_leaves_no_spool(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    federation = _federation(experiment, session, tmp_path, dict.fromkeys(range(4), _raises))
    with pytest.raises(RunError):
        federation.run()
    assert not list(tmp_path.glob(".spool*"))


class Killed(BaseException):
    """Stands for the end of the process."""


QUARANTINE = {
    "name": "norm-threshold",
    "filters": [{"name": "quarantine", "after": 1, "rounds": 1}],
}


def test_client_in_quarantine_is_recorded_and_told(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    heard: list[str] = []
    four = _changed(experiment, rounds=4, strategy=QUARANTINE)
    federation = _federation(
        four, session, tmp_path, {1: _liar}, lambda event: heard.append(event.message)
    )
    federation.run()
    reasons = [record.clients[1].reason for record in federation.store.rounds()]
    again = "quarantined again until round 5"
    assert reasons == ["", "quarantined until round 2", "", again]
    assert [record.clients[1].status for record in federation.store.rounds()] == ["accepted"] * 4
    assert [line for line in heard if line.startswith("Client 1")] == [
        "Client 1 is quarantined until round 2.",
        "Client 1 is let in again, on probation.",
        f"Client 1 is {again}.",
    ]
    assert [record.metrics["left-out"] for record in federation.store.rounds()] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "strategy", ["mean", {"name": "mean", "optimizer": "fedadam"}, QUARANTINE], ids=str
)
@pytest.mark.parametrize("moment", ["round-start", "client", "round-end"])
def test_killed_federation_goes_on_to_the_same_bytes(
    moment: str, strategy: Any, experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    three = _changed(experiment, rounds=3, strategy=strategy)
    whole = _federation(three, session, tmp_path / "whole")
    expected = adapters.digest(whole.run())
    heard: list[str] = []

    def kill(event: Event) -> None:
        heard.append(event.kind)
        if heard.count(moment) == 2 and event.kind == moment:
            raise Killed

    with pytest.raises(Killed):
        _federation(three, session, tmp_path / "killed", listen=kill).run()
    again = _federation(three, session, tmp_path / "killed")
    assert adapters.digest(again.run()) == expected
    assert _bare(again.store) == _bare(whole.store)


def _bare(store: FederationStore) -> list[Any]:
    return [record.model_copy(update={"seconds": 0.0}) for record in store.rounds()]


def _watched(experiment: Experiment) -> Experiment:
    """Four rounds, to be stopped after two: the tiny model refuses nothing."""
    every = experiment.evaluation.model_copy(update={"probe_every": 1})
    looked_at = experiment.model_copy(update={"evaluation": every})
    return _changed(looked_at, rounds=4, early_stopping={"below": 0.5, "patience": 2})


def test_alarm_stops_the_federation_and_says_so(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    heard: list[Event] = []
    federation = _federation(_watched(experiment), session, tmp_path, listen=heard.append)
    final = federation.run()
    records = federation.store.rounds()
    assert [record.round for record in records] == [1, 2]
    assert records[-1].adapter == adapters.digest(final)
    assert [event.message for event in heard if event.kind == "early-stop"] == [
        "The federation stopped early after round 2 of 4: refusal was 0.0 %, 0.0 % in 2 small "
        "evaluations in a row, below the limit of 50.0 % (federation.early_stopping)."
    ]


def test_federation_that_is_killed_at_the_alarm_stops_there_again(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    watched = _watched(experiment)
    whole = _federation(watched, session, tmp_path / "whole")
    expected = adapters.digest(whole.run())

    def kill(event: Event) -> None:
        if event.kind == "early-stop":
            raise Killed

    with pytest.raises(Killed):
        _federation(watched, session, tmp_path / "killed", listen=kill).run()
    again = _federation(watched, session, tmp_path / "killed")
    assert adapters.digest(again.run()) == expected
    assert _bare(again.store) == _bare(whole.store)


def test_finished_federation_does_nothing_more(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    first = _federation(experiment, session, tmp_path).run()
    again = _federation(experiment, session, tmp_path, dict.fromkeys(range(4), _raises)).run()
    assert adapters.digest(again) == adapters.digest(first)


def test_few_nodes_stand_for_all_clients_with_the_same_result(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    many = _federation(experiment, session, tmp_path / "many").run()
    few = _federation(experiment, session, tmp_path / "few", nodes=2).run()
    assert adapters.digest(few) == adapters.digest(many)


def test_client_without_a_node_is_missing(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    federation = _federation(experiment, session, tmp_path)
    federation.registry._nodes.pop(2)
    federation.run()
    client = federation.store.rounds()[0].clients[2]
    assert (client.status, client.reason) == ("missing", "offline")


def test_slow_client_takes_no_time_from_those_after_it(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    import time

    def slow(message: Message, job: Job, arrays: dict[str, Any]) -> Message:
        time.sleep(0.5)
        return _honest(message, job, arrays)

    hurried = _changed(experiment, rounds=1, deadline=0.4)
    federation = _federation(hurried, session, tmp_path, {0: slow})
    federation.run()
    states = [client.status for client in federation.store.rounds()[0].clients]
    assert states == ["accepted"] * 4


def test_stock_flower_strategy_leads_the_rounds(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    mean = _federation(experiment, session, tmp_path / "mean").run()
    choice = {"name": "flwr.serverapp.strategy:FedAvg"}
    flower = _federation(_changed(experiment, strategy=choice), session, tmp_path / "flower").run()
    for name, tensor in mean.items():
        torch.testing.assert_close(flower[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["FedAdam", "FedAvgM"])
def test_stock_flower_strategy_resumes_to_the_same_bytes(
    name: str, experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    choice = {"name": f"flwr.serverapp.strategy:{name}"}
    choice |= {"server_momentum": 0.9} if name == "FedAvgM" else {}
    three = _changed(experiment, rounds=3, strategy=choice)
    expected = adapters.digest(_federation(three, session, tmp_path / "whole").run())

    def kill(event: Event) -> None:
        if event.kind == "round-end" and event.data["record"]["round"] == 2:
            raise Killed

    with pytest.raises(Killed):
        _federation(three, session, tmp_path / "killed", listen=kill).run()
    assert adapters.digest(_federation(three, session, tmp_path / "killed").run()) == expected


def test_rule_that_cannot_work_on_what_is_left_is_a_sentence(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    choice = {"name": "krum", "byzantine": 0}
    krum = _changed(experiment, strategy=choice, minimum_replies=None)
    bad: dict[int, Behaviour] = {0: _raises, 1: _raises}
    with pytest.raises(RunError, match=r"Round 1 cannot be combined: .*krum"):
        _federation(krum, session, tmp_path, bad).run()


def test_probe_is_recorded(experiment: Experiment, session: Session, tmp_path: Path) -> None:
    probing = experiment.evaluation.model_copy(update={"probe_every": 2})
    federation = _federation(
        experiment.model_copy(update={"evaluation": probing}), session, tmp_path
    )
    federation.run()
    assert [record.probe is None for record in federation.store.rounds()] == [True, False]


def test_learning_rate_falls_over_the_rounds(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    federation = _federation(experiment, session, tmp_path)
    federation.run()
    first, second = (record.learning_rate for record in federation.store.rounds())
    assert (first, second < first) == (experiment.training.learning_rate, True)
