"""Checkpoints: a round is there whole or not at all, and a run goes on from the last one."""

import shutil
from pathlib import Path

import pytest
import torch

from fedsafe.errors import RunError
from fedsafe.runs.records import Round
from fedsafe.runs.store import FederationStore
from server import checkpoint
from server.checkpoint import Progress
from tests.doubles.disks import full_disk


def _round(number: int) -> Round:
    return Round(round=number, cohort=[0], clients=[], learning_rate=0.1, adapter=str(number))


def _saved(store: FederationStore, rounds: int, keep: int = 3) -> None:
    for number in range(1, rounds + 1):
        adapter = {"b": torch.full((2,), float(number)), "a": torch.zeros(1)}
        state = {"rule/history": torch.tensor([number])}
        records = [_round(n) for n in range(1, number + 1)]
        checkpoint.save(store, Progress(number, adapter, state), records, keep)


@pytest.fixture
def store(tmp_path: Path) -> FederationStore:
    return FederationStore(tmp_path)


def test_nothing_is_there_before_the_first_round(store: FederationStore) -> None:
    assert checkpoint.latest(store) is None


def test_latest_round_comes_back(store: FederationStore) -> None:
    _saved(store, 3)
    found = checkpoint.latest(store)
    assert found is not None
    progress, records = found
    assert (progress.round, progress.adapter["b"].tolist(), records) == (
        3,
        [3.0, 3.0],
        [_round(n) for n in (1, 2, 3)],
    )


def test_adapter_comes_back_in_order(store: FederationStore) -> None:
    _saved(store, 1)
    found = checkpoint.latest(store)
    assert found is not None
    assert list(found[0].adapter) == ["a", "b"]


def test_memory_of_the_strategy_comes_back(store: FederationStore) -> None:
    _saved(store, 2)
    found = checkpoint.latest(store)
    assert found is not None
    assert found[0].state["rule/history"].tolist() == [2]


def test_state_may_be_empty(store: FederationStore) -> None:
    checkpoint.save(store, Progress(1, {"a": torch.zeros(1)}, {}), [_round(1)], 3)
    found = checkpoint.latest(store)
    assert found is not None
    assert found[0].state == {}


def test_tensors_that_share_memory_are_saved(store: FederationStore) -> None:
    flat = torch.arange(4.0)
    checkpoint.save(store, Progress(1, {"a": flat[:2], "b": flat[1:3]}, {}), [_round(1)], 3)
    found = checkpoint.latest(store)
    assert found is not None
    assert found[0].adapter["b"].tolist() == [1.0, 2.0]


def test_old_checkpoints_are_removed(store: FederationStore) -> None:
    _saved(store, 5, keep=2)
    assert store.checkpoints() == [4, 5]


def test_crash_between_checkpoint_and_record_loses_no_round(store: FederationStore) -> None:
    _saved(store, 3)
    store.write_rounds([_round(1), _round(2)])
    found = checkpoint.latest(store)
    assert found is not None
    assert (found[0].round, found[1]) == (3, [_round(1), _round(2), _round(3)])


def test_crash_before_the_checkpoint_has_its_name_goes_back_one_round(
    store: FederationStore,
) -> None:
    _saved(store, 2)
    shutil.copytree(store.checkpoint(2), store.directory / ".round-0003.123")
    found = checkpoint.latest(store)
    assert found is not None
    assert found[0].round == 2


def test_removed_checkpoint_goes_back_to_the_one_before(store: FederationStore) -> None:
    _saved(store, 3)
    shutil.rmtree(store.checkpoint(3))
    found = checkpoint.latest(store)
    assert found is not None
    assert (found[0].round, len(found[1])) == (2, 2)


@pytest.mark.parametrize("name", [checkpoint.ADAPTER, checkpoint.STATE, checkpoint.RECORD])
@pytest.mark.parametrize("damage", ["absent", "empty", "short", "other"])
def test_corrupt_checkpoint_is_a_sentence(name: str, damage: str, store: FederationStore) -> None:
    _saved(store, 2)
    path = store.checkpoint(2) / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "absent":
        path.write_bytes({"empty": b"", "short": whole[:-3], "other": b"\xff" * 50}[damage])
    with pytest.raises(RunError, match=r"round-0002 cannot be read: .*Remove it to go on"):
        checkpoint.latest(store)


def test_lost_records_are_a_sentence(store: FederationStore) -> None:
    _saved(store, 3)
    store.write_rounds([_round(2)])
    with pytest.raises(RunError, match=r"rounds\.jsonl lacks rounds before 3"):
        checkpoint.latest(store)


@pytest.mark.parametrize("name", [checkpoint.ADAPTER, checkpoint.STATE, checkpoint.RECORD])
def test_file_of_the_round_before_is_a_sentence(name: str, store: FederationStore) -> None:
    _saved(store, 2)
    shutil.copyfile(store.checkpoint(1) / name, store.checkpoint(2) / name)
    with pytest.raises(RunError, match=r"round-0002 cannot be read: .*Remove it to go on"):
        checkpoint.latest(store)


def test_nan_is_named_as_such(store: FederationStore) -> None:
    adapter = {"a": torch.tensor([1.0, torch.nan])}
    checkpoint.save(store, Progress(1, adapter, {}), [_round(1)], 3)
    with pytest.raises(RunError, match=r"adapter\.safetensors holds NaN or infinite values in a"):
        checkpoint.latest(store)


def test_nan_that_a_rule_remembers_is_no_damage(store: FederationStore) -> None:
    state = {"rule/ratio": torch.tensor([torch.nan])}
    checkpoint.save(store, Progress(1, {"a": torch.zeros(1)}, state), [_round(1)], 3)
    found = checkpoint.latest(store)
    assert found is not None
    assert bool(found[0].state["rule/ratio"].isnan())


def test_changed_record_of_an_earlier_round_is_a_sentence(store: FederationStore) -> None:
    _saved(store, 3)
    other = _round(1).model_copy(update={"learning_rate": 0.2})
    store.write_rounds([other, _round(2), _round(3)])
    with pytest.raises(RunError, match=r"rounds\.jsonl was changed or damaged"):
        checkpoint.latest(store)


@pytest.mark.parametrize("limit", [0, 100, 300])
def test_full_disk_leaves_the_round_before(limit: int, store: FederationStore) -> None:
    _saved(store, 1)
    records = [_round(1), _round(2)]
    with pytest.raises(RunError, match="There is no room to write"), full_disk(limit):
        checkpoint.save(store, Progress(2, {"a": torch.zeros(1000)}, {}), records, 3)
    found = checkpoint.latest(store)
    assert found is not None
    assert (found[0].round, store.checkpoints()) == (1, [1])


def test_half_written_files_are_removed(store: FederationStore) -> None:
    _saved(store, 1)
    (store.directory / ".round-0002.4711").mkdir()
    for name in (".rounds.jsonl.4711", ".summary.json.4711", ".spool.f32", ".adapter.4711"):
        (store.directory / name).write_text("half", encoding="utf-8")
    (store.directory / ".lock").write_text("held", encoding="utf-8")
    checkpoint.tidy(store)
    assert sorted(path.name for path in store.directory.iterdir()) == [
        ".lock",
        "round-0001",
        "rounds.jsonl",
    ]
