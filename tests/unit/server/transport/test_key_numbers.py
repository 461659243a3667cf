"""Client numbers stay with their keys, whatever is done to the list between two starts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsafe.errors import RunError
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Member
from fedsafe.runs.store import Store
from server.transport.allowlist import Allowed
from server.transport.key_numbers import KeyNumbers, fingerprint


def listed(*keys: str) -> list[Allowed]:
    """Return an allow list of keys; a key is written name:version, or just name."""
    return [
        Allowed(place, key.partition(":")[0], "", key.encode()) for place, key in enumerate(keys)
    ]


def start(store: Store, *keys: str) -> dict[str, int]:
    """Return the numbers of a start with this list, by key."""
    numbers = KeyNumbers(store)
    found = {one.key.decode(): one.number for one in numbers.assign(listed(*keys))}
    numbers.save()
    return found


def test_at_first_a_number_is_the_place_in_the_list(tmp_path: Path) -> None:
    assert start(Store(tmp_path), "a", "b", "c") == {"a": 0, "b": 1, "c": 2}


def test_a_removed_key_renumbers_nobody(tmp_path: Path) -> None:
    store = Store(tmp_path)
    start(store, "a", "b", "c")
    assert start(store, "a", "c") == {"a": 0, "c": 2}


def test_a_removed_key_that_comes_back_has_its_number(tmp_path: Path) -> None:
    store = Store(tmp_path)
    start(store, "a", "b", "c")
    start(store, "a", "c")
    assert start(store, "a", "b", "c")["b"] == 1


def test_a_new_key_takes_no_number_that_another_had(tmp_path: Path) -> None:
    store = Store(tmp_path)
    start(store, "a", "b", "c")
    assert start(store, "a", "c", "d") == {"a": 0, "c": 2, "d": 3}


def test_a_client_that_is_given_another_key_keeps_its_number(tmp_path: Path) -> None:
    store = Store(tmp_path)
    start(store, "a", "b", "c")
    assert start(store, "a", "b:2", "c") == {"a": 0, "b:2": 1, "c": 2}


def test_two_keys_of_one_name_are_two_clients(tmp_path: Path) -> None:
    store = Store(tmp_path)
    start(store, "a", "b")
    assert start(store, "a", "b", "b:2") == {"a": 0, "b": 1, "b:2": 2}


def test_a_run_of_an_earlier_version_keeps_the_numbers_of_who_joined(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_members([Member(client=2, key=fingerprint(b"c"), name="c")])
    assert start(store, "a", "c")["c"] == 2


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / RunFile.CLIENT_KEYS).write_text('{"number": 1}\n')
    with pytest.raises(RunError, match=r"keys\.jsonl, which says which key is which client"):
        KeyNumbers(Store(tmp_path))


@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), min_size=2))
def test_over_any_changes_a_key_has_one_number_and_a_number_one_key(
    tmp_path_factory: pytest.TempPathFactory, starts: list[list[str]]
) -> None:
    store, seen = Store(tmp_path_factory.mktemp("run")), dict[str, int]()
    for keys in starts:
        for key, number in start(store, *keys).items():
            assert seen.setdefault(key, number) == number
    assert len(set(seen.values())) == len(seen)
