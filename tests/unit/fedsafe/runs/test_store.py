"""The run directory: one experiment, one writer, records that read back."""

import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest

from fedsafe.errors import RunError
from fedsafe.experiment.load import load
from fedsafe.experiment.schema import Experiment
from fedsafe.runs.records import Client, Round, Summary
from fedsafe.runs.store import FederationStore, Store, default_directory, experiment_hash


def _round(number: int) -> Round:
    client = Client(client=0, malicious=False, status="accepted", loss=0.5, influence=1.0)
    return Round(round=number, cohort=[0], clients=[client], learning_rate=0.1, adapter="ab")


def test_open_claims_a_new_directory(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    store.open(load("micro"))
    assert store.experiment == load("micro")


def test_open_claims_a_locked_new_directory(tmp_path: Path) -> None:
    store = Store(tmp_path / "run")
    with store.lock():
        store.open(load("micro"))
    assert store.experiment == load("micro")


def test_open_goes_on_with_the_same_experiment(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open(load("micro"))
    (tmp_path / "rounds.jsonl").touch()
    store.open(load("micro"))
    assert (tmp_path / "rounds.jsonl").is_file()


def test_open_refuses_another_experiment(tmp_path: Path) -> None:
    Store(tmp_path).open(load("micro"))
    with pytest.raises(RunError, match=r"holds another experiment. Choose another directory"):
        Store(tmp_path).open(load("micro", ["seed=1"]))


def test_open_refuses_a_directory_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match="not empty and holds no run"):
        Store(tmp_path).open(load("micro"))


def test_open_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        Store(tmp_path / "file").open(load("micro"))


def test_directory_without_experiment_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory"):
        _ = Store(tmp_path).experiment


def _try(path: str, found: "multiprocessing.Queue[str]") -> None:
    try:
        with Store(Path(path)).lock():
            found.put("held")
    except RunError as error:
        found.put(str(error))


def _other_process(path: Path) -> str:
    context = multiprocessing.get_context("fork")
    found: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=_try, args=(str(path), found))
    process.start()
    answer = found.get(timeout=30)
    process.join()
    return answer


def test_lock_refuses_a_second_writer_and_names_the_first(tmp_path: Path) -> None:
    with Store(tmp_path).lock():
        assert f"Another process ({os.getpid()}) is writing" in _other_process(tmp_path)


def test_lock_refuses_the_same_process_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.lock(), pytest.raises(RunError, match="Another process"), store.lock():
        pass


def test_lock_is_free_after_the_block(tmp_path: Path) -> None:
    with Store(tmp_path).lock():
        pass
    assert _other_process(tmp_path) == "held"


def test_lock_waits_for_another_writer_to_end(tmp_path: Path) -> None:
    first, store = threading.Event(), Store(tmp_path)

    def write() -> None:
        with store.lock():
            first.set()
            time.sleep(0.5)

    threading.Thread(target=write, daemon=True).start()
    assert first.wait(5)
    with store.lock(patience=10):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_rounds_read_back(tmp_path: Path) -> None:
    store = FederationStore(tmp_path)
    store.write_rounds([_round(1), _round(2)])
    assert store.rounds() == [_round(1), _round(2)]


def test_rounds_pass_a_torn_last_line_over(tmp_path: Path) -> None:
    store = FederationStore(tmp_path)
    store.write_rounds([_round(1), _round(2)])
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert store.rounds() == [_round(1)]


@pytest.mark.parametrize("line", ["{broken\n", '{"round": "x"}\n', "[]\n"])
def test_rounds_that_cannot_be_read_are_a_sentence(line: str, tmp_path: Path) -> None:
    store = FederationStore(tmp_path)
    store.write_rounds([_round(1)])
    path = tmp_path / "rounds.jsonl"
    path.write_text(line + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(RunError, match=r"rounds\.jsonl cannot be read"):
        store.rounds()


def test_not_a_number_in_a_record_becomes_null(tmp_path: Path) -> None:
    store = FederationStore(tmp_path)
    record = _round(1)
    odd = record.clients[0].model_copy(update={"loss": float("nan")})
    store.write_rounds([record.model_copy(update={"clients": [odd]})])
    assert store.rounds()[0].clients[0].loss is None


def test_checkpoints_are_listed_in_order(tmp_path: Path) -> None:
    store = FederationStore(tmp_path)
    for number in (10, 2, 1):
        store.checkpoint(number).mkdir()
    (tmp_path / ".round-0011.99").mkdir()
    (tmp_path / "round-0003-copy").mkdir()
    assert store.checkpoints() == [1, 2, 10]


def test_summary_reads_back(tmp_path: Path) -> None:
    summary = Summary(name="a", experiment="ab", status="running")
    Store(tmp_path).write_summary(summary)
    assert Store(tmp_path).summary() == summary


def test_summary_of_a_later_version_is_tolerated(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(
        '{"version": 2, "name": "a", "experiment": "b", "status": "completed", "new": 1}',
        encoding="utf-8",
    )
    found = Store(tmp_path).summary()
    assert found is not None
    assert found.status == "completed"


def test_broken_summary_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"summary\.json cannot be read"):
        Store(tmp_path).summary()


def test_equal_experiments_share_a_default_directory() -> None:
    assert default_directory(load("micro")) == default_directory(load("micro", ["seed=0"]))


def test_every_setting_is_part_of_the_hash() -> None:
    assert experiment_hash(Experiment()) != experiment_hash(Experiment(seed=1))
