"""The ClientApp: messages in, messages out."""

from pathlib import Path
from typing import Any

import pytest
from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)

from clients.app import app
from clients.node_config import NodeConfig
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Hello, write_shapes
from fedsafe.models import adapters
from fedsafe.models.compression import downlink, unpack_adapter
from fedsafe.models.packing import unpack
from fedsafe.training.session import Session
from server.transport.train_messages import packed
from tests.doubles.jobs import job_of


def _context(**config: Any) -> Context:
    return Context(run_id=1, node_id=2, node_config=config, state=RecordDict(), run_config={})


def _hello(**config: Any) -> Hello:
    message = Message(RecordDict({"config": ConfigRecord({})}), 2, "query.hello")
    reply = app(message, _context(**config))
    return Hello.model_validate_json(str(reply.content["answer"]["hello"]))


def _train(experiment: Experiment, session: Session, client: int, **config: Any) -> Message:
    job = job_of(experiment, session, client)
    records = {
        "arrays": packed(session.start(0)),
        "config": ConfigRecord(
            {"job": job.model_dump_json(), "tensors": write_shapes(session.shapes)}
        ),
    }
    config = {"model": experiment.model.path, **config}
    return app(Message(RecordDict(records), 2, MessageType.TRAIN), _context(**config))  # type: ignore[arg-type]


def test_node_says_its_number() -> None:
    assert _hello(**{"partition-id": 3}) == Hello(partition=3)


def test_node_says_how_many_there_are() -> None:
    found = _hello(**{"partition-id": 3, "num-partitions": 5})
    assert found == Hello(partition=3, partitions=5)


def _site(path: Path, **values: Any) -> dict[str, str]:
    """Write a site's file; return the node configuration that says where it is."""
    known = {"socket": path / "trainer.sock", "state": path / "state"}
    file = path / "site.json"
    file.write_text(NodeConfig.model_validate({**known, **values}).model_dump_json())
    return {"fedsafe-site": str(file)}


def test_node_with_a_site_leaves_its_number_to_its_key(tmp_path: Path) -> None:
    assert _hello(**_site(tmp_path, data="d1")) == Hello(partition=None, data="d1")


def test_node_with_a_site_may_have_a_number_too(tmp_path: Path) -> None:
    assert _hello(**_site(tmp_path), **{"partition-id": 3}) == Hello(partition=3)


@pytest.mark.parametrize(("red_team", "told"), [(True, "sign-flip"), (False, None)])
def test_attacker_says_what_it_does(red_team: bool, told: str | None, tmp_path: Path) -> None:
    config = _site(tmp_path, red_team=red_team, behaviour="sign-flip")
    assert _hello(**config) == Hello(behaviour=told)


def test_site_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"which `fedsafe client` writes, cannot be read"):
        _hello(**{"fedsafe-site": str(tmp_path / "site.json")})


@pytest.mark.parametrize("number", [None, "0", -1, 1.5, True])
def test_node_without_a_number_is_a_sentence(number: object) -> None:
    config = {} if number is None else {"partition-id": number}
    with pytest.raises(RunError, match=r"This node has no number: .*--node-config"):
        _hello(**config)


def test_training_changes_the_adapter(experiment: Experiment, session: Session) -> None:
    reply = _train(experiment, session, 0, **{"partition-id": 0})
    arrays = reply.content["arrays"]
    assert isinstance(arrays, ArrayRecord)
    before = session.start(0)
    found = unpack_adapter(
        "float32", unpack(arrays["adapter"].numpy(), downlink("float32", session.shapes))
    )
    assert adapters.digest(found) != adapters.digest(before)
    assert max(float((found[n] - before[n]).abs().max()) for n in before) < 0.1


def test_message_without_shapes_is_a_sentence(experiment: Experiment, session: Session) -> None:
    job = job_of(experiment, session).model_dump_json()
    records = {"arrays": packed(session.start(0)), "config": ConfigRecord({"job": job})}
    with pytest.raises(RunError, match="does not say which tensors its adapter has"):
        app(Message(RecordDict(records), 2, "train"), _context(**{"partition-id": 0}))  # type: ignore[arg-type]


def test_training_is_reported(experiment: Experiment, session: Session) -> None:
    metrics = _train(experiment, session, 0, **{"partition-id": 0}).content["metrics"]
    assert isinstance(metrics, MetricRecord)
    assert metrics["num-examples"] == 8


def test_node_may_stand_for_several_clients(experiment: Experiment, session: Session) -> None:
    config = {"partition-id": 1, "num-partitions": 2}
    assert _train(experiment, session, 3, **config).has_content()


def test_node_that_is_taken_for_another_refuses(experiment: Experiment, session: Session) -> None:
    with pytest.raises(RunError, match="was asked to stand for client 2"):
        _train(experiment, session, 2, **{"partition-id": 1, "num-partitions": 2})


def test_message_without_a_job_is_a_sentence(session: Session) -> None:
    records = {"arrays": packed(session.start(0)), "config": ConfigRecord({"job": "{}"})}
    with pytest.raises(RunError, match="not a job"):
        app(
            Message(RecordDict(records), 2, MessageType.TRAIN),  # type: ignore[arg-type]
            _context(**{"partition-id": 0}),
        )


@pytest.mark.parametrize("lacking", ["arrays", "config"])
def test_train_message_that_lacks_a_part_is_a_sentence(lacking: str) -> None:
    records = {"arrays": ArrayRecord({}), "config": ConfigRecord({"job": "{}"})}
    del records[lacking]
    with pytest.raises(RunError, match="train message has no"):
        app(Message(RecordDict(records), 2, "train"), _context(**{"partition-id": 0}))  # type: ignore[arg-type]


def test_farewell_is_told_to_the_operator(capsys: pytest.CaptureFixture[str]) -> None:
    reply = app(Message(RecordDict(), 2, "query.farewell"), _context())
    assert not reply.has_error()
    assert '"kind": "farewell"' in capsys.readouterr().err
