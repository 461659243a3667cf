"""Updates on disk: in the clients' order, whatever the order they came in."""

import re
import resource
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsafe.errors import RunError
from server.aggregation.update_store import UpdateStore
from server.validation import Reply
from strategies import build

ADAPTER = {"a": torch.tensor([1.0, 2.0, 3.0])}


def _reply(value: float, examples: int = 10) -> Reply:
    return Reply(np.full(3, value, np.float32), value, 12, examples, {"loss": value})


def _filled(path: Path, rows: int, positions: list[int]) -> UpdateStore:
    update_store = UpdateStore(path / "spool", rows, 3)
    for position in positions:
        update_store.put(position, 100 + position, _reply(float(position)))
    return update_store


@pytest.mark.parametrize("positions", [[0, 1, 2, 3], [3, 1, 0, 2], [2, 0], [3], [1, 3], [3, 2, 1]])
def test_rows_come_in_the_order_of_the_cohort(positions: list[int], tmp_path: Path) -> None:
    with _filled(tmp_path, 4, positions) as update_store:
        found = update_store.updates(1, ADAPTER, "equal")
        assert found.matrix[:, 0].tolist() == sorted(map(float, positions))


def test_rows_belong_to_their_clients(tmp_path: Path) -> None:
    with _filled(tmp_path, 4, [3, 1]) as update_store:
        found = update_store.updates(1, ADAPTER, "equal")
        assert (found.clients, found.matrix.tolist()) == (("101", "103"), [[1.0] * 3, [3.0] * 3])


def test_rows_may_be_read_twice(tmp_path: Path) -> None:
    with _filled(tmp_path, 4, [3, 1]) as update_store:
        first = update_store.updates(1, ADAPTER, "equal").matrix.clone()
        assert update_store.updates(1, ADAPTER, "equal").matrix.tolist() == first.tolist()


def test_reply_is_kept_without_its_update(tmp_path: Path) -> None:
    with _filled(tmp_path, 4, [2]) as update_store:
        client, reply = update_store.accepted[2]
        assert (client, reply.update.size, reply.claims) == (102, 0, {"loss": 2.0})


def test_file_is_gone_afterwards(tmp_path: Path) -> None:
    with _filled(tmp_path, 4, [1]):
        assert (tmp_path / "spool").is_file()
    assert not (tmp_path / "spool").exists()


def test_file_is_gone_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), _filled(tmp_path, 4, [1]):
        raise KeyboardInterrupt
    assert not (tmp_path / "spool").exists()


def test_file_of_a_killed_server_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"\xff" * 1000)
    with _filled(tmp_path, 2, [0, 1]) as update_store:
        assert update_store.updates(1, ADAPTER, "equal").matrix[:, 0].tolist() == [0.0, 1.0]


def _weights(tmp_path: Path, counts: list[int], weighting: str) -> list[float]:
    with UpdateStore(tmp_path / "spool", len(counts), 3) as update_store:
        for position, count in enumerate(counts):
            update_store.put(position, position, _reply(0.0, count))
        return update_store.updates(1, ADAPTER, weighting).weights.tolist()


def test_equal_weights_do_not_listen_to_counts(tmp_path: Path) -> None:
    assert _weights(tmp_path, [1, 10**9], "equal") == [0.5, 0.5]


def test_weights_follow_honest_counts(tmp_path: Path) -> None:
    assert _weights(tmp_path, [10, 30], "examples") == [0.25, 0.75]


def test_count_that_lies_is_clamped_to_ten_times_the_median(tmp_path: Path) -> None:
    found = _weights(tmp_path, [10] * 9 + [10**9], "examples")
    assert found[-1] == pytest.approx(100 / 190)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=12))
def test_weights_sum_to_one(counts: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        assert sum(_weights(Path(directory), counts, "examples")) == pytest.approx(1, abs=1e-5)


def test_rules_are_told_the_blocks_and_the_model(tmp_path: Path) -> None:
    with _filled(tmp_path, 2, [0, 1]) as update_store:
        found = update_store.updates(3, ADAPTER, "equal")
        assert found.model is not None
        assert (found.round, dict(found.blocks), found.model.tolist(), found.root) == (
            3,
            {"a": slice(0, 3)},
            [1.0, 2.0, 3.0],
            None,
        )


def test_rows_outlive_what_was_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.aggregation.update_store.RESIDENT", 1)
    with _filled(tmp_path, 5, [4, 0, 2]) as update_store:
        found = update_store.updates(1, ADAPTER, "equal")
        with update_store.reading():
            median = build("median")(found)
        assert median.update.tolist() == [2.0] * 3
        assert found.matrix[:, 0].tolist() == [0.0, 2.0, 4.0]


def _mapped() -> float:
    """Return how much of all files this process has in memory, in MB."""
    found = re.search(r"RssFile:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


def _most_mapped(work: Callable[[], object]) -> float:
    """Return by how many MB more were mapped while something was done, looked at each ms."""
    done, before, most = threading.Event(), _mapped(), 0.0

    def watch() -> None:
        nonlocal most
        while not done.wait(1e-3):
            most = max(most, _mapped())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return most - before


@pytest.mark.parametrize("rule", ["median", "multi-krum", "dnc", "alignins", "signguard"])
def test_rule_that_reads_here_and_there_keeps_little_in_memory(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 128 MB: one value of a row must not bring in 2 MB, and every read must be told."""
    monkeypatch.setattr("server.aggregation.update_store.RESIDENT", 2**24)
    columns = 2**22 - 1000
    adapter = {"a": torch.zeros(columns)}
    combine = build(rule)
    with UpdateStore(tmp_path / "spool", 8, columns) as update_store:
        for row in range(8):
            values = np.random.default_rng(row).random(columns, np.float32)
            update_store.put(row, row, Reply(values, 1.0, 12, 1, {}))
        updates = update_store.updates(1, adapter, "equal")
        small = replace(updates, matrix=updates.matrix[:, :100], model=torch.ones(100))
        combine(small)  # loads what it needs
        with update_store.reading():
            assert _most_mapped(lambda: combine(updates)) < 45


def test_full_disk_is_told_in_a_sentence(tmp_path: Path) -> None:
    with UpdateStore(tmp_path / "spool", 2, 3) as update_store:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
        try:
            with pytest.raises(RunError, match=r"12 bytes could not be kept .* Make room"):
                update_store.put(1, 1, _reply(1.0))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
