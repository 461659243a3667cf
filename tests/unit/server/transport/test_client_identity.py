"""Who is which client in a deployment: the key tells, and the run directory remembers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Hello
from fedsafe.runs.events import Events
from fedsafe.runs.provenance import observe
from fedsafe.runs.store import Store
from server.transport.allowlist import Allowed
from server.transport.client_identity import ClientIdentities
from server.transport.nodes import Node

ALLOW = tuple(Allowed(n, f"site-{n}", "", f"key {n}".encode()) for n in range(3))
RED = {"red_team": True}


def _members(
    experiment: Experiment, directory: Path, allow: Any = ALLOW, **changes: Any
) -> tuple[ClientIdentities, list[str]]:
    store = Store(directory)
    heard: list[str] = []
    events = Events(listen=lambda event: heard.append(event.message))
    return ClientIdentities(experiment.model_copy(update=changes), store, events, allow), heard


def _node(number: int, node: int = 11) -> Node:
    return Node(node, f"key {number}".encode(), "1")


def test_number_is_the_keys_place(experiment: Experiment, tmp_path: Path) -> None:
    members, heard = _members(experiment, tmp_path)
    assert (members.admit(_node(2), Hello()), heard) == (2, [])


def test_claim_to_another_number_is_noted_and_ignored(
    experiment: Experiment, tmp_path: Path
) -> None:
    members, heard = _members(experiment, tmp_path)
    assert members.admit(_node(2), Hello(partition=0)) == 2
    assert heard == ["Client 2 says it is number 0; its key says 2."]


def test_key_that_is_not_listed_may_not_join(experiment: Experiment, tmp_path: Path) -> None:
    members, heard = _members(experiment, tmp_path)
    assert not members.may_join(_node(7))
    assert "not on the allow list" in heard[0]


def test_listed_key_may_join(experiment: Experiment, tmp_path: Path) -> None:
    members, heard = _members(experiment, tmp_path)
    assert (members.may_join(_node(0)), heard) == (True, [])


def test_listed_key_beyond_the_federation_may_not_join(
    experiment: Experiment, tmp_path: Path
) -> None:
    late = Allowed(4, "late", "", b"key 4")
    members, heard = _members(experiment, tmp_path, allow=(*ALLOW, late))
    assert not members.may_join(_node(4))
    assert "'late' is number 4 of the allow list; there are 4 clients" in heard[0]


def test_operator_is_told_once(experiment: Experiment, tmp_path: Path) -> None:
    members, heard = _members(experiment, tmp_path)
    for _ in range(3):
        members.may_join(_node(7))
    assert len(heard) == 1


def test_number_is_kept_for_its_key_over_a_restart(experiment: Experiment, tmp_path: Path) -> None:
    _members(experiment, tmp_path, allow=())[0].admit(_node(0), Hello(partition=3))
    again, heard = _members(experiment, tmp_path, allow=())
    assert again.admit(_node(1), Hello(partition=3)) is None
    assert "which another key has in this run" in heard[0]


def test_key_keeps_its_number_over_a_restart(experiment: Experiment, tmp_path: Path) -> None:
    _members(experiment, tmp_path, allow=())[0].admit(_node(0), Hello(partition=3))
    again, _ = _members(experiment, tmp_path, allow=())
    assert again.admit(_node(0, node=99), Hello(partition=3)) == 3


def test_allow_list_may_give_a_client_a_new_key(experiment: Experiment, tmp_path: Path) -> None:
    _members(experiment, tmp_path)[0].admit(_node(1), Hello())
    renewed = (ALLOW[0], Allowed(1, "site-1", "", b"key 9"))
    members, heard = _members(experiment, tmp_path, allow=renewed)
    assert members.admit(_node(9), Hello()) == 1
    assert "another key than before" in heard[0]


def test_client_without_a_number_is_left_out(experiment: Experiment, tmp_path: Path) -> None:
    members, heard = _members(experiment, tmp_path, allow=())
    assert members.admit(_node(0), Hello()) is None
    assert "did not say which client it is" in heard[0]


def test_attacker_is_who_says_so(experiment: Experiment, tmp_path: Path) -> None:
    members, _ = _members(experiment, tmp_path, **RED)
    members.admit(_node(0), Hello())
    members.admit(_node(1), Hello(behaviour="poisoned-data"))
    assert members.attackers == {1}


def test_attacker_outside_a_red_team_is_left_out(experiment: Experiment, tmp_path: Path) -> None:
    members, heard = _members(experiment, tmp_path)
    assert members.admit(_node(1), Hello(behaviour="poisoned-data")) is None
    assert "will refuse: this run declares no red team. It is left out." in heard[0]


def test_truth_outlasts_a_restart(experiment: Experiment, tmp_path: Path) -> None:
    _members(experiment, tmp_path, **RED)[0].admit(_node(1), Hello(behaviour="sign-flip"))
    again, _ = _members(experiment, tmp_path, **RED)
    assert again.attackers == {1}


def test_change_of_conduct_is_noted(experiment: Experiment, tmp_path: Path) -> None:
    members, heard = _members(experiment, tmp_path, **RED)
    members.admit(_node(1), Hello(behaviour="sign-flip"))
    members.admit(_node(1), Hello())
    assert heard == ["Client 1 was an attacker ('sign-flip') and is honest now."]


def test_digest_of_its_data_is_provenance(experiment: Experiment, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_provenance(observe(model="", data={}, runtime="deployment", gpus=[]))
    members, _ = _members(experiment, tmp_path)
    members.admit(_node(2), Hello(data="c2"))
    members.admit(_node(1), Hello(data="c1"))
    found = store.provenance()
    assert found is not None
    assert list(found.data.items()) == [("client 1", "c1"), ("client 2", "c2")]


def test_change_of_data_is_noted(experiment: Experiment, tmp_path: Path) -> None:
    members, heard = _members(experiment, tmp_path)
    members.admit(_node(2), Hello(data="old"))
    members.admit(_node(2), Hello(data="new"))
    assert heard == ["Client 2 has other data than before: digest new, which was old."]


@pytest.mark.parametrize("field", ["data", "behaviour"])
def test_words_of_a_client_are_one_short_line(
    field: str, experiment: Experiment, tmp_path: Path
) -> None:
    members, _ = _members(experiment, tmp_path, **RED)
    members.admit(_node(0), Hello.model_validate({field: "\x1b[31m a\nb" + "x" * 10**5}))
    (known,) = Store(tmp_path).members()
    said = getattr(known, field)
    assert (len(said), said.isprintable()) == (100, True)


def test_client_that_lacks_something_is_left_out_and_the_operator_told(
    experiment: Experiment, tmp_path: Path
) -> None:
    members, heard = _members(experiment, tmp_path)
    assert members.admit(_node(1), Hello(lacks="it has no data of its own.")) is None
    assert heard == ["Client 1 cannot take part: it has no data of its own. It is left out."]


def test_a_revoked_key_is_dismissed_and_its_client_excluded(
    experiment: Experiment, tmp_path: Path
) -> None:
    revoked = (ALLOW[0], replace(ALLOW[1], revoked=True), ALLOW[2])
    members, _ = _members(experiment, tmp_path, allow=revoked)
    assert (members.dismissed(_node(1)), members.may_join(_node(1))) == (True, False)
    assert [members.excluded(number) for number in range(3)] == [False, True, False]


def test_a_stranger_is_not_dismissed_without_a_word(experiment: Experiment, tmp_path: Path) -> None:
    members, _ = _members(experiment, tmp_path)
    assert not members.dismissed(_node(7))
