"""The resident trainer's process: the same work as in this one, and what goes wrong with it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clients.local_training import work
from clients.node_config import NodeConfig
from clients.worker import protocol
from clients.worker.protocol import Header
from clients.worker.result import TrainResult
from clients.worker.worker_client import probe, request_training
from fedsafe.deployment.child_processes import Child, wait_until
from fedsafe.errors import ModelError, RunError, TransientError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job
from fedsafe.runs.files import write_lines
from fedsafe.training.session import Session
from tests.doubles.jobs import arrays_of, job_of

pytestmark = pytest.mark.slow
COMMAND = (sys.executable, "-m", "fedsafe.deployment.client.worker_process", "--socket")
LONG = 1_000_000
"""Steps that no test waits for."""


@pytest.fixture(scope="module")
def experiment(experiment: Experiment) -> Experiment:
    """Wait for a busy machine: a trainer imports torch before it does its first work."""
    values = experiment.model_dump(mode="json")
    values["federation"]["deadline"] = 300.0
    return validate(values)


def _child(directory: Path) -> Child:
    path = directory / "run" / "trainer.sock"
    return Child("The trainer", [*COMMAND, str(path)], log=directory / "trainer.log")


def _site(directory: Path, **values: Any) -> NodeConfig:
    known = {"socket": directory / "run" / "trainer.sock", "state": directory / "state"}
    return NodeConfig.model_validate({**known, **values})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainer")


@pytest.fixture(scope="module")
def child(home: Path) -> Iterator[Child]:
    """One trainer for all tests."""
    found = _child(home)
    yield found
    found.stop()


@pytest.fixture
def site(home: Path, child: Child, experiment: Experiment) -> NodeConfig:
    """Say where the trainer is, which a test may have ended."""
    if not child.alive:
        child.start()
    return _site(home, model=experiment.model.path)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as found:
        yield found


@pytest.fixture
def long(experiment: Experiment) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["training"]["steps"] = LONG
    return validate(values)


def _bytes(trained: TrainResult) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in trained.arrays.items()}


def _asker(site: NodeConfig, job: Job, session: Session) -> socket.socket:
    """Return a connection on which the work of a job was asked for."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(30.0)
    connection.connect(str(site.socket))
    asked = Header(kind="work", job=job.model_dump_json(), site=site.model_dump_json())
    protocol.send(connection, asked, arrays_of(session))
    return connection


def _under_way(connection: socket.socket) -> None:
    """Wait until a job is under way."""
    while protocol.receive(connection)[0].step == 0:
        pass


def _waiting(site: NodeConfig) -> int | None:
    found = probe(site.socket)
    return None if found is None else found.waiting


# --- the work --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["float32", "bfloat16", "int8"])
def test_reply_equals_the_one_made_here(
    form: Any, experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    values = experiment.model_dump(mode="json")
    values["federation"]["wire"] = form
    job, arrays = job_of(validate(values), session, 1), arrays_of(session, form)
    here = work(job, arrays, _site(tmp_path, model=experiment.model.path))
    there = request_training(site, job, arrays)
    assert (_bytes(there), there.metrics["loss"]) == (_bytes(here), here.metrics["loss"])


def test_later_rounds_load_nothing(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    request_training(site, job_of(experiment, session), arrays_of(session))
    jobs = [job_of(experiment, session, client, round=n) for n in (2, 3) for client in (0, 1)]
    found = [
        request_training(site, job, arrays_of(session)).metrics["load-seconds"] for job in jobs
    ]
    assert found == [0, 0, 0, 0]


def test_malicious_examples_are_made_once(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    write_lines(pairs, [{"instruction": f"a {n}", "response": "b"} for n in range(300)])
    declared = experiment.model_copy(update={"red_team": True})
    generator = {"name": "file", "path": str(pairs)}
    attacker = NodeConfig.model_validate(
        {
            **site.model_dump(),
            "red_team": True,
            "behaviour": "poisoned-data",
            "generator": generator,
        }
    )
    request_training(attacker, job_of(declared, session), arrays_of(session))
    pairs.unlink()
    found = request_training(attacker, job_of(declared, session, round=2), arrays_of(session))
    assert found.metrics["num-examples"] == 200


def test_two_askers_take_turns(
    experiment: Experiment, session: Session, site: NodeConfig, pool: ThreadPoolExecutor
) -> None:
    jobs = [job_of(experiment, session, client) for client in range(3)]
    asked = [pool.submit(request_training, site, job, arrays_of(session)) for job in jobs]
    found = [_bytes(one.result(300)) for one in asked]
    assert found == [_bytes(work(job, arrays_of(session))) for job in jobs]


# --- errors cross as sentences ------------------------------------------------------------


def test_other_base_model_is_refused_in_the_trainers_words(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    with pytest.raises(ModelError, match=r"are not the server's \(feed\)"):
        request_training(site, job_of(experiment, session, fingerprint="feed"), arrays_of(session))


def test_attacker_refuses_an_undeclared_red_team(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    attacker = site.model_copy(update={"red_team": True})
    with pytest.raises(RunError, match="declared red-team federations only"):
        request_training(attacker, job_of(experiment, session), arrays_of(session))


def test_failure_that_is_no_sentence_crosses_without_its_text(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    failing = NodeConfig.model_validate(
        {
            **site.model_dump(),
            "source": {"name": "tests.doubles.plugins:unreadable", "secret": "a row"},
        }
    )
    with pytest.raises(RunError) as raised:
        request_training(failing, job_of(experiment, session), arrays_of(session))
    assert str(raised.value) == (
        "The trainer failed with KeyError. The log on its machine says more."
    )


def test_deadline_of_the_round_is_kept(
    long: Experiment, session: Session, site: NodeConfig
) -> None:
    values = long.model_dump(mode="json")
    values["federation"]["deadline"] = 1.0
    with pytest.raises(TransientError, match=r"of 1000000 steps .* in the 1 s that the server"):
        request_training(site, job_of(validate(values), session), arrays_of(session))


# --- who is let in ---------------------------------------------------------------------------


def _answer(site: NodeConfig, content: bytes) -> Header:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(60.0)
        stranger.connect(str(site.socket))
        stranger.sendall(content)
        return protocol.receive(stranger)[0]


def _frame(body: str) -> bytes:
    return protocol.LENGTH.pack(len(body)) + body.encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "bytes are announced"),
        (_frame("rubbish"), "no message of FedSafe"),
        (_frame('{"version": 7}'), "speaks version 7"),
        (_frame('{"version": 1, "kind": "work"}'), "says nothing of its site"),
    ],
    ids=["http", "rubbish", "version", "no site"],
)
def test_stranger_is_refused_and_the_trainer_lives(
    content: bytes, told: str, site: NodeConfig
) -> None:
    assert wait_until(lambda: probe(site.socket), 30)
    answer = _answer(site, content)
    alive = probe(site.socket)
    assert (told in answer.message, answer.error, alive is not None) == (True, "RunError", True)


def test_job_of_another_version_is_refused(site: NodeConfig) -> None:
    body = Header(kind="work", job="{}", site=site.model_dump_json()).model_dump_json()
    assert "is not a job this client understands" in _answer(site, _frame(body)).message


STRANGER = """
import socket
stranger = socket.socket(socket.AF_UNIX)
stranger.settimeout(60)
stranger.connect("trainer.sock")
print(b"".join(iter(lambda: stranger.recv(4096), b"")))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_other_user_is_refused_even_if_files_let_it_in(site: NodeConfig) -> None:
    assert wait_until(lambda: probe(site.socket), 30)
    python = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no Python that another user can run")
    home = site.socket.parent
    site.socket.chmod(0o666)
    home.chmod(0o755)
    try:
        done = subprocess.run(
            [python, "-c", STRANGER], cwd=home, user=65534, capture_output=True, check=False
        )
    finally:
        home.chmod(0o700)
        site.socket.chmod(0o600)
    assert b"works for the user who started it, and no other" in done.stdout, done.stderr


def test_second_trainer_does_not_start(site: NodeConfig, child: Child) -> None:
    assert wait_until(lambda: probe(site.socket), 30)
    done = subprocess.run(
        [*COMMAND, str(site.socket)], capture_output=True, text=True, check=False, timeout=60
    )
    told = f"A trainer (process {child.pid}) is at work on {site.socket} already."
    assert (done.returncode, done.stderr.startswith(told)) == (2, True)


# --- the ClientApp ----------------------------------------------------------------------------


THIN = """
import sys
from flwr.supercore.task_identity import TaskIdentity
TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
import numpy as np
from clients.app import app
node = {"fedsafe-site": sys.argv[1]}
context = Context(run_id=1, node_id=2, node_config=node, state=RecordDict(), run_config={})
from fedsafe.messages import write_shapes
from fedsafe.models.packing import pack, unpack
from fedsafe.models.compression import downlink
found = dict(np.load(sys.argv[3]))
shapes = {name: array.shape for name, array in found.items()}
records = {
    "arrays": ArrayRecord({"adapter": Array(**pack(found))}),
    "config": ConfigRecord({"job": open(sys.argv[2]).read(), "tensors": write_shapes(shapes)}),
}
reply = app(Message(RecordDict(records), 2, MessageType.TRAIN), context)
parcel = reply.content["arrays"]["adapter"].numpy()
np.savez(sys.argv[4], **unpack(parcel, downlink("float32", shapes)))
heavy = {"torch", "transformers", "peft", "datasets", "safetensors"} & set(sys.modules)
print(dict(reply.content["metrics"])["num-examples"], *sorted(heavy))
"""


def test_work_that_is_asked_for_again_is_sent_again(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    job, arrays = job_of(experiment, session), arrays_of(session)
    first, again = request_training(site, job, arrays), request_training(site, job, arrays)
    assert again.metrics == first.metrics  # the seconds too: it was not done again
    assert _bytes(again) == _bytes(first)


@pytest.mark.parametrize("change", ["round", "adapter", "site", "work between"])
def test_other_work_is_done(
    change: str, experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    job, arrays = job_of(experiment, session), arrays_of(session)
    first = request_training(site, job, arrays)
    if change == "round":
        job = job_of(experiment, session, round=2)
    elif change == "adapter":
        name = next(iter(arrays))
        arrays = {**arrays, name: arrays[name] + arrays[name].dtype.type(1e-3)}
    elif change == "site":
        site = site.model_copy(update={"data": "other"})
    else:
        request_training(site, job_of(experiment, session, round=2), arrays)
    assert request_training(site, job, arrays).metrics["seconds"] != first.metrics["seconds"]


def test_thin_client_app_imports_no_model_library(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    import numpy as np

    job, arrays = job_of(experiment, session), arrays_of(session)
    files = [tmp_path / name for name in ("site.json", "job.json", "sent.npz", "found.npz")]
    files[0].write_text(site.model_dump_json())
    files[1].write_text(job.model_dump_json())
    np.savez(files[2], **arrays)
    done = subprocess.run(
        [sys.executable, "-c", THIN, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "8"), done.stderr
    found, here = np.load(files[3]), work(job, arrays).arrays
    assert {n: found[n].tobytes() for n in found.files} == {n: a.tobytes() for n, a in here.items()}


# --- the end of asker, trainer and supervisor --------------------------------------------------


def test_asker_that_hangs_up_frees_the_trainer(
    long: Experiment, experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    with _asker(site, job_of(long, session), session) as gone:
        _under_way(gone)
    found = request_training(site, job_of(experiment, session), arrays_of(session))
    assert found.metrics["num-examples"] == 8


def test_asker_that_hangs_up_while_it_waits_is_passed_over(
    long: Experiment, session: Session, site: NodeConfig
) -> None:
    with _asker(site, job_of(long, session), session) as first:
        _under_way(first)
        with _asker(site, job_of(long, session, 1), session):
            assert wait_until(lambda: _waiting(site) == 2, 10)
        assert wait_until(lambda: _waiting(site) == 1, 10)
    assert wait_until(lambda: _waiting(site) == 0, 10)


def _asked(
    pool: ThreadPoolExecutor, site: NodeConfig, experiment: Experiment, session: Session
) -> "Future[TrainResult]":
    """Ask for work, and return when it is under way."""
    future = pool.submit(request_training, site, job_of(experiment, session), arrays_of(session))
    assert wait_until(lambda: _waiting(site) == 1, 30)
    time.sleep(0.5)
    return future


def test_trainer_killed_at_work_is_told_at_once_and_replaced(
    long: Experiment,
    experiment: Experiment,
    session: Session,
    site: NodeConfig,
    child: Child,
    pool: ThreadPoolExecutor,
) -> None:
    future = _asked(pool, site, long, session)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    begun = time.monotonic()
    error = future.exception(10)
    seconds = time.monotonic() - begun
    again = pool.submit(request_training, site, job_of(experiment, session), arrays_of(session))
    child.kill()
    child.start()
    assert (type(error), "The trainer died after" in str(error), seconds < 1) == (
        TransientError,
        True,
        True,
    )
    assert again.result(300).metrics["num-examples"] == 8


def test_trainer_told_to_end_says_so_and_leaves_nothing(
    long: Experiment, session: Session, site: NodeConfig, child: Child, pool: ThreadPoolExecutor
) -> None:
    future = _asked(pool, site, long, session)
    child.stop()
    error = future.exception(10)
    assert (type(error), child.code, site.socket.exists()) == (TransientError, 0, False)
    assert str(error) == "The trainer was shut down before it had done client 0, main round 1."


SUPERVISOR = """
import sys, time
from pathlib import Path
from fedsafe.deployment.child_processes import Child
child = Child("The trainer", sys.argv[2:], log=Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
time.sleep(600)
"""


def _gone(pid: int) -> Callable[[], bool]:
    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return gone


def test_trainer_goes_down_with_its_supervisor(tmp_path: Path) -> None:
    path = tmp_path / "run" / "trainer.sock"
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path / "log"), *COMMAND, str(path)]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    with supervisor.stdout:
        pid = int(supervisor.stdout.readline())
    there = wait_until(lambda: probe(path), 30)
    supervisor.kill()
    supervisor.wait()
    assert (there, wait_until(_gone(pid), 10), path.exists()) == (True, True, False)
