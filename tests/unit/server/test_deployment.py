"""A run on separate machines: clients die and return, and the same adapter comes out."""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message, MessageType, MetricRecord, RecordDict

from fedsafe.errors import RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Hello, Job
from fedsafe.runs.events import Event, Events
from fedsafe.runs.records import Round, Summary
from fedsafe.runs.store import Store
from server.experiment import run_experiment
from server.transport import dispatch, round_collector
from server.transport.allowlist import Allowed
from tests.doubles.grids import HttpGrid, hello
from tests.doubles.requests import arrays_in, parcel

ALLOW = tuple(Allowed(n, f"site-{n}", "", f"key of {10 + n}".encode()) for n in range(4))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(dispatch, "LONGEST_PAUSE", 0.005)
    monkeypatch.setattr(round_collector, "RETRY_SECONDS", (0.001,))
    monkeypatch.setattr(round_collector, "LOOK_SECONDS", 0.0)


def _trained(message: Message) -> Message:
    """Move every number by a step of the client's own."""
    job = Job.parse(str(message.content["config"]["job"]))
    step = np.float32(0.001 * (job.client + 1) * job.round)
    content = RecordDict(
        {
            "arrays": parcel({name: a + step for name, a in arrays_in(message).items()}),
            "metrics": MetricRecord({"num-examples": 8, "loss": 0.5}),
        }
    )
    return Message(content, reply_to=message)


class Machines:
    """Four clients, each on a machine of its own that looks three times before it answers."""

    def __init__(self) -> None:
        self.says = {10 + n: Hello(data=f"digest {n}") for n in range(4)}
        self.jobs: list[Job] = []
        self.train: Callable[[Message], Message | None] = _trained
        self.grid = HttpGrid(self._answer, lambda node: 3)
        for node in self.says:
            self.grid.start(node)

    def _answer(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        if message.metadata.message_type != MessageType.TRAIN:
            return hello(message, self.says[node].model_dump_json())
        self.jobs.append(Job.parse(str(message.content["config"]["job"])))
        return self.train(message)

    def lead(
        self, experiment: Experiment, directory: Path, listen: Any = None, allow: Any = ALLOW
    ) -> Summary:
        store = Store(directory)
        events = Events(store.events, listen)
        return run_experiment(self.grid, experiment, store, events, "deployment", allow=allow)


def _changed(experiment: Experiment, **changes: Any) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["federation"] |= {"deadline": 20, **changes.pop("federation", {})}
    return validate({**values, **changes})


def _attacked(experiment: Experiment, malicious: int = 1) -> Experiment:
    attack = {"malicious": malicious, "behaviour": {"name": "sign-flip"}}
    return _changed(experiment, red_team=True, attack=attack, control=False)


def _bare(directory: Path) -> list[Round]:
    return [record.model_copy(update={"seconds": 0.0}) for record in Store(directory).rounds()]


def test_run_of_a_deployment_completes(experiment: Experiment, tmp_path: Path) -> None:
    summary = Machines().lead(_changed(experiment), tmp_path / "run")
    assert (summary.status, len(Store(tmp_path / "run").rounds())) == ("completed", 2)


def test_random_kills_leave_the_adapter_as_it_is(experiment: Experiment, tmp_path: Path) -> None:
    long = _changed(experiment, federation={"rounds": 12, "retries": 20})
    undisturbed = Machines().lead(long, tmp_path / "undisturbed")
    machines = Machines()
    killer = Killer(machines)
    disturbed = machines.lead(long, tmp_path / "disturbed")
    assert killer.kills == 50
    assert disturbed.stages[-1].adapter == undisturbed.stages[-1].adapter


class Killer:
    """Fifty kills at random moments: of a node, of one that returns late, of a ClientApp."""

    def __init__(self, machines: Machines) -> None:
        self._machines, self._rng = machines, random.Random(0)
        self.kills = 0
        self._plan()

    def _plan(self) -> None:
        if self.kills < 50:
            grid = self._machines.grid
            grid.script[grid.looked + self._rng.randrange(3, 9)] = self._kill

    def _kill(self) -> None:
        grid = self._machines.grid
        node, how = self._rng.choice(sorted(grid.keys)), self._rng.randrange(3)
        self.kills += 1
        if how == 0:
            grid.restart(node)
        elif how == 1:
            self._machines.train = _crash_once(self._machines)
        else:
            grid.stop(node)
            grid.script[grid.looked + 12] = partial(self._back, node)
            return
        self._plan()

    def _back(self, node: int) -> None:
        self._machines.grid.start(node)
        self._plan()


def _crash_once(machines: Machines) -> Callable[[Message], Message]:
    """Return what makes the next client that is asked die over its work."""

    def crash(message: Message) -> Message:
        machines.train = _trained
        return Message(Error(8, "ClientApp stopped responding."), reply_to=message)

    return crash


def test_record_says_how_often_a_client_was_asked(experiment: Experiment, tmp_path: Path) -> None:
    machines = Machines()
    machines.train = _crash_once(machines)
    machines.lead(_changed(experiment), tmp_path / "run")
    first, second = ([c.asked for c in r.clients] for r in Store(tmp_path / "run").rounds())
    assert (sorted(first), second) == ([1, 1, 1, 2], [1, 1, 1, 1])


def test_client_without_its_key_on_the_list_takes_no_part(
    experiment: Experiment, tmp_path: Path
) -> None:
    machines = Machines()
    machines.grid.start(14, b"a stranger's key")
    machines.says[14] = Hello(partition=0, data="stranger")
    machines.lead(_changed(experiment), tmp_path / "run")
    assert 14 not in {message.metadata.dst_node_id for message in machines.grid.pushed}


class Killed(BaseException):
    """Stands for the end of the server's process."""


def test_server_that_was_killed_goes_on_to_the_same_bytes(
    experiment: Experiment, tmp_path: Path
) -> None:
    three = _changed(experiment, federation={"rounds": 3})
    whole = Machines().lead(three, tmp_path / "whole")

    def kill(event: Event) -> None:
        if event.kind == "client" and Store(tmp_path / "killed").rounds():
            raise Killed

    with pytest.raises(Killed):
        Machines().lead(three, tmp_path / "killed", kill)
    again = Machines().lead(three, tmp_path / "killed")
    assert [s.adapter for s in again.stages] == [s.adapter for s in whole.stages]
    assert _bare(tmp_path / "killed") == _bare(tmp_path / "whole")


def test_job_names_the_run_and_no_other(experiment: Experiment, tmp_path: Path) -> None:
    one, other = Machines(), Machines()
    one.lead(_changed(experiment), tmp_path / "one")
    other.lead(_changed(experiment), tmp_path / "other")
    named = [{job.run for job in machines.jobs} for machines in (one, other)]
    assert (len(named[0]), len(named[1]), named[0] & named[1], "" in named[0]) == (
        1,
        1,
        set(),
        False,
    )


def test_job_names_the_run_as_before_a_restart(experiment: Experiment, tmp_path: Path) -> None:
    def kill(event: Event) -> None:
        if event.kind == "round-end":
            raise Killed

    one, again = Machines(), Machines()
    with pytest.raises(Killed):
        one.lead(_changed(experiment), tmp_path / "run", kill)
    again.lead(_changed(experiment), tmp_path / "run")
    assert {job.run for job in one.jobs} == {job.run for job in again.jobs}


def test_server_reads_no_data_of_clients(experiment: Experiment, tmp_path: Path) -> None:
    data = experiment.data.model_dump(mode="json")
    nowhere = {"name": "jsonl", "path": str(tmp_path / "at-the-client.jsonl")}
    apart = _changed(experiment, data={**data, "source": nowhere})
    assert Machines().lead(apart, tmp_path / "run").status == "completed"


def test_provenance_has_the_digests_that_clients_say(
    experiment: Experiment, tmp_path: Path
) -> None:
    Machines().lead(_changed(experiment), tmp_path / "run")
    found = json.loads((tmp_path / "run" / "provenance.json").read_text(encoding="utf-8"))
    assert (found["runtime"], found["data"]) == (
        "deployment",
        {f"client {n}": f"digest {n}" for n in range(4)},
    )


def test_run_goes_on_though_a_client_has_other_data_now(
    experiment: Experiment, tmp_path: Path
) -> None:
    Machines().lead(_changed(experiment), tmp_path / "run")
    machines, heard = Machines(), list[Event]()
    machines.says[12] = Hello(data="new")
    (tmp_path / "run" / "summary.json").unlink()
    summary = machines.lead(_changed(experiment), tmp_path / "run", heard.append)
    assert summary.status == "completed"
    assert any("Client 2 has other data" in event.message for event in heard)


def test_run_of_a_deployment_is_not_gone_on_with_in_one_process(
    experiment: Experiment, tmp_path: Path
) -> None:
    Machines().lead(_changed(experiment), tmp_path / "run")
    store = Store(tmp_path / "run")
    with pytest.raises(RunError, match="began as 'deployment'"):
        run_experiment(HttpGrid(_trained), _changed(experiment), store, Events(), "inline")


def test_truth_is_what_attackers_say(experiment: Experiment, tmp_path: Path) -> None:
    machines = Machines()
    machines.says[13] = Hello(behaviour="sign-flip")
    machines.lead(_attacked(experiment), tmp_path / "run")
    for record in Store(tmp_path / "run").rounds():
        assert [client.malicious for client in record.clients] == [False, False, False, True]


def test_control_of_a_deployment_has_no_malicious_client(
    experiment: Experiment, tmp_path: Path
) -> None:
    machines = Machines()
    machines.says[13] = Hello(behaviour="sign-flip")
    machines.lead(_attacked(experiment).model_copy(update={"control": True}), tmp_path / "run")
    records = Store(tmp_path / "run").control.rounds()
    assert not any(client.malicious for record in records for client in record.clients)


def test_declared_attack_without_attackers_fails_before_any_round(
    experiment: Experiment, tmp_path: Path
) -> None:
    machines = Machines()
    with pytest.raises(RunError, match="none that is here was started as an attacker"):
        machines.lead(_attacked(experiment), tmp_path / "run")
    assert not machines.jobs


def _refusing(machines: Machines, rounds: set[int]) -> None:
    """Let the attacker answer with an error in these rounds, and behave in the others."""

    def answer(message: Message) -> Message | None:
        job = Job.parse(str(message.content["config"]["job"]))
        if job.client == 3 and job.round in rounds:
            return Message(Error(2, "<class 'fedsafe.errors.RunError'>:<'No.'>"), reply_to=message)
        return _trained(message)

    machines.says[13] = Hello(behaviour="sign-flip")
    machines.train = answer


def test_attacker_that_answers_a_round_with_an_error_does_not_end_the_run(
    experiment: Experiment, tmp_path: Path
) -> None:
    machines, heard = Machines(), list[Event]()
    _refusing(machines, {1})
    summary = machines.lead(_attacked(experiment), tmp_path / "run", heard.append)
    told = " ".join(event.message for event in heard)
    assert (summary.status, "did not take place in round 1" in told) == ("completed", True)


def test_attack_that_never_takes_place_is_said_at_the_end(
    experiment: Experiment, tmp_path: Path
) -> None:
    machines = Machines()
    _refusing(machines, {1, 2})
    with pytest.raises(RunError, match="The attack took place in none of the 2 rounds"):
        machines.lead(_attacked(experiment), tmp_path / "run")
    assert len(Store(tmp_path / "run").rounds()) == 2
    summary = Store(tmp_path / "run").summary()
    assert summary is not None
    assert (summary.status, "perfect defense" in summary.reason) == ("failed", True)


def test_client_whose_reply_killed_the_server_is_left_out_when_it_starts_again(
    experiment: Experiment, tmp_path: Path
) -> None:
    heard: list[str] = []
    store = Store(tmp_path / "run")
    store.directory.mkdir()
    marker = {"federation": "main", "round": 1, "client": 2, "message": "m"}
    (store.directory / ".reply-being-rebuilt.json").write_text(json.dumps(marker))
    listen = lambda event: heard.append(event.message)  # noqa: E731
    Machines().lead(_changed(experiment), store.directory, listen)
    first, second = store.rounds()
    assert [client.status for client in first.clients] == [*["accepted"] * 2, "dropped", "accepted"]
    assert "server was killed" in first.clients[2].reason
    assert [client.status for client in second.clients] == ["accepted"] * 4
    assert any("client 2's reply to round 1" in text for text in heard)


def test_other_number_of_attackers_than_declared_is_noted(
    experiment: Experiment, tmp_path: Path
) -> None:
    machines, heard = Machines(), list[Event]()
    machines.says[13] = Hello(behaviour="sign-flip")
    machines.lead(_attacked(experiment, malicious=2), tmp_path / "run", heard.append)
    told = "1 clients are attackers by their own operators' word (3); the experiment says 2."
    assert told in {event.message for event in heard}


def test_attackers_of_a_red_team_without_an_attack_are_on_record(
    experiment: Experiment, tmp_path: Path
) -> None:
    machines = Machines()
    machines.says[13] = Hello(behaviour="sign-flip")
    summary = machines.lead(_changed(experiment, red_team=True), tmp_path / "run")
    found = summary.stages[-1].detection
    assert found is not None
    assert found.kept_malicious == 2


def test_attacker_takes_no_part_in_an_undeclared_run(
    experiment: Experiment, tmp_path: Path
) -> None:
    machines = Machines()
    machines.says[13] = Hello(behaviour="sign-flip")
    short = _changed(experiment, federation={"grace": 0.1})
    machines.lead(short, tmp_path / "run")
    assert 3 not in {job.client for job in machines.jobs}


def test_too_few_clients_are_a_sentence(experiment: Experiment, tmp_path: Path) -> None:
    machines = Machines()
    for node in (11, 12, 13):
        machines.grid.stop(node)
    hurried = _changed(experiment, federation={"deadline": 0.2})
    with pytest.raises(RunError, match="1 of 4 clients answered the roll call; 2 are needed"):
        machines.lead(hurried, tmp_path / "run")
