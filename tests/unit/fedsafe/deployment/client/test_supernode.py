"""A node: message in, reply out, whatever comes; sessions that end and begin again."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from clients.worker.status_lines import MARK
from fedsafe.deployment.client import connectivity
from fedsafe.deployment.client import supernode as module
from fedsafe.deployment.client.fleet_client import RequestFailedError, SessionEndedError
from fedsafe.deployment.client.identity import Address
from fedsafe.deployment.client.supernode import Node, Settings

pytestmark = pytest.mark.usefixtures("flower_task")


class Over(BaseException):
    """The script has come to its end."""


class FleetConnection:
    """A line on which everything is written down beforehand."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.replies: list[Message] = []
        self.opened = self.closed = 0
        self.lose: RequestFailedError | None = None

    def open(self) -> int:
        self.opened += 1
        return 77

    def close(self) -> None:
        self.closed += 1

    def next(self) -> Message | None:
        if not self.script:
            raise Over
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def answer(self, reply: Message, seconds: float) -> None:
        self.replies.append(reply)
        if self.lose is not None:
            raise self.lose


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(module.time, "sleep", found.append)
    monkeypatch.setattr(connectivity, "look", lambda *_: connectivity.ConnectionCheck(reached=True))
    return found


@pytest.fixture(autouse=True)
def _own_task() -> Iterator[None]:
    known = TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id
    yield
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = known


def settings(tmp_path: Path) -> Settings:
    return Settings(
        Address("localhost", 1), None, tmp_path / "key", tmp_path / "site.json", "n0", 3
    )


def run(tmp_path: Path, line: FleetConnection) -> None:
    """Let a node live until its script ends."""
    with pytest.raises(Over):
        Node(settings(tmp_path), lambda *_: line).run()  # type: ignore[arg-type,return-value]


def told(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    lines = capsys.readouterr().err.splitlines()
    said = [json.loads(one.removeprefix(MARK)) for one in lines if one.startswith(MARK)]
    return [(one["kind"], one.get("message", one.get("reason", ""))) for one in said]


def hello() -> Message:
    return Message(RecordDict({"config": ConfigRecord({})}), 77, "query.hello")


def write_site(tmp_path: Path) -> None:
    (tmp_path / "site.json").write_text(json.dumps({"socket": "/s", "state": "/t", "data": "d1"}))


def test_a_message_is_answered_by_the_clientapp(tmp_path: Path, slept: list[float]) -> None:
    write_site(tmp_path)
    line = FleetConnection(hello())
    run(tmp_path, line)
    (reply,) = line.replies
    assert json.loads(reply.content["answer"]["hello"])["data"] == "d1"
    assert json.loads(reply.content["answer"]["hello"])["partition"] == 3


def test_what_the_clientapp_raises_is_the_reply(
    tmp_path: Path, slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    line = FleetConnection(hello())  # there is no site's file
    run(tmp_path, line)
    (reply,) = line.replies
    assert reply.error.reason.startswith("RunError: The file ")
    assert ("job-failed", reply.error.reason.removeprefix("RunError: ")) in told(capsys)


def test_a_kind_of_message_that_nobody_knows_is_answered(
    tmp_path: Path, slept: list[float]
) -> None:
    line = FleetConnection(Message(RecordDict(), 77, "train.unheard_of"), hello())
    write_site(tmp_path)
    run(tmp_path, line)
    assert [reply.has_error() for reply in line.replies] == [True, False]


def test_a_server_that_does_not_wait_is_asked_every_few_seconds(
    tmp_path: Path, slept: list[float]
) -> None:
    run(tmp_path, FleetConnection(None, None))
    assert [round(seconds) for seconds in slept] == [3, 3]


@pytest.mark.parametrize("where", ["next", "answer"])
def test_what_was_lost_is_told_and_the_session_goes_on(
    where: str, tmp_path: Path, slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    write_site(tmp_path)
    line = FleetConnection(RequestFailedError("not whole") if where == "next" else hello())
    line.lose = RequestFailedError("no question waits for this reply", 409)
    run(tmp_path, line)
    assert (line.opened, line.closed) == (1, 1)
    assert [kind for kind, _ in told(capsys)] == ["connected", "lost"]


@pytest.mark.parametrize(
    ("status", "why"), [(409, "has taken its place"), (413, "does not answer as a FedSafe server")]
)
def test_a_question_that_is_refused_ends_the_session(
    status: int, why: str, tmp_path: Path, slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    line = FleetConnection(RequestFailedError("no", status))
    run(tmp_path, line)
    assert (line.opened, line.closed) == (2, 2)
    assert any(kind == "refused" and why in message for kind, message in told(capsys))


def test_the_end_of_a_session_is_told_once(
    tmp_path: Path, slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(FleetConnection):
        def open(self) -> int:
            if len(slept) >= 5000:
                raise Over
            raise SessionEndedError("refused", f"off by {len(slept)} s")

    run(tmp_path, Refusing())
    refused = [message for kind, message in told(capsys) if kind == "refused"]
    assert len(refused) == 1
    assert "(off by 0 s)" in refused[0]
    assert (slept[0], max(slept[:11]), slept[-1]) == (1.0, 5.0, 30.0)


def test_it_says_when_the_server_is_away_and_back(
    tmp_path: Path, slept: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Callable[[], None]] = []

    class Flaky(FleetConnection):
        def next(self) -> Message | None:
            for call in (calls[0], calls[0], calls[1]):
                call()
            return super().next()

    def connect(*rest: Any) -> FleetConnection:
        calls.extend(rest[-2:])
        return Flaky()

    with pytest.raises(Over):
        Node(settings(tmp_path), connect).run()  # type: ignore[arg-type]
    assert [kind for kind, _ in told(capsys)] == ["connected", "away", "connected"]
