"""Whether a declared attack took place: noted round by round, judged at the federation's end."""

from collections.abc import Sequence
from typing import Any

import pytest

from fedsafe.errors import RunError
from fedsafe.runs.events import Events
from fedsafe.runs.records import Client, Round
from server.client_status import check_attack_took_place, note_attack_errors, note_unknown_claims


def _client(number: int, status: Any, *, malicious: bool = True) -> Client:
    return Client(client=number, malicious=malicious, status=status, reason="error: No luck.")


def _rounds(*statuses: Sequence[str]) -> list[Round]:
    """Return rounds in which attackers 1, 2, ... ended so, and client 0 is honest."""
    return [
        Round(
            round=number,
            cohort=list(range(len(ends) + 1)),
            clients=[
                _client(0, "accepted", malicious=False),
                *(_client(place, status) for place, status in enumerate(ends, 1)),
            ],
            learning_rate=0.1,
            adapter="",
        )
        for number, ends in enumerate(statuses, 1)
    ]


def _heard() -> tuple[list[str], Events]:
    told: list[str] = []
    return told, Events(listen=lambda event: told.append(event.message))


def test_round_without_its_attack_is_noted_and_ends_nothing() -> None:
    told, events = _heard()
    clients = {client.client: client for client in _rounds(["failed", "missing"])[0].clients}
    note_attack_errors(4, clients, events)
    assert told == [
        "The attack did not take place in round 4: malicious client 1 answered with error: No luck."
    ]


@pytest.mark.parametrize("ends", [["accepted"], ["dropped"], ["failed", "accepted"], []])
def test_round_with_its_attack_or_without_attackers_is_not_noted(ends: list[str]) -> None:
    told, events = _heard()
    clients = {client.client: client for client in _rounds(ends)[0].clients}
    note_attack_errors(1, clients, events)
    assert told == []


@pytest.mark.parametrize("status", ["failed", "missing"])
def test_attack_that_took_place_in_no_round_passes_for_no_defense(status: str) -> None:
    with pytest.raises(RunError, match=r"took place in none of the 3 rounds: .* perfect defense"):
        check_attack_took_place(True, _rounds([status], [status], [status]), Events())


def test_attack_of_a_single_round_is_enough_and_the_others_are_noted() -> None:
    told, events = _heard()
    check_attack_took_place(True, _rounds(["failed"], ["accepted"], ["missing"], []), events)
    assert told == [
        "The attack took place in 1 of the 3 rounds that asked malicious clients; see rounds.jsonl "
        "for what they answered in the others."
    ]


def test_attack_of_every_round_raises_no_note() -> None:
    told, events = _heard()
    check_attack_took_place(True, _rounds(["accepted"], ["failed", "dropped"]), events)
    assert told == []


def test_declared_attack_that_asked_no_attacker_passes_for_no_defense() -> None:
    with pytest.raises(RunError, match="none of its 2 rounds asked a malicious client"):
        check_attack_took_place(True, _rounds([], []), Events())


def test_federation_without_a_declared_attack_is_not_judged() -> None:
    check_attack_took_place(False, _rounds(["failed"]), Events())


def test_implausible_claims_are_told_once_in_one_sentence() -> None:
    told, events = _heard()
    note_unknown_claims(3, ("loss -9.9e+14", "seconds -5"), events)
    note_unknown_claims(4, (), events)
    assert told == [
        "Client 3 reports loss -9.9e+14, seconds -5: outside the plausible range, recorded as "
        "unknown. Its update counts; the rule judges that."
    ]
