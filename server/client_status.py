"""Per-client round records (accepted, failed, missing) and checks that the attack took place."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from flwr.app import Message

from fedsafe.errors import RunError
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import REFUSED
from fedsafe.runs.events import Events
from fedsafe.runs.records import Client, Round
from server.transport.client_errors import in_words
from server.transport.client_identity import ClientIdentities
from server.transport.round_collector import RoundCollector
from server.transport.train_messages import weight
from server.validation import size

Status = Literal["accepted", "dropped", "failed", "missing"]


def attackers(
    experiment: Experiment, name: str, members: ClientIdentities | None
) -> frozenset[int]:
    """Return the malicious clients of a federation (ground truth for the records).

    On separate machines those whose own operators said so; elsewhere those whom the seed
    draws. In the control everyone is honest.
    """
    if members is None:
        return malicious_clients(experiment)
    return frozenset() if name == "control" else members.attackers


def failure(reply: Message, dropped: Exception) -> tuple[Status, str]:
    """Return status and reason of a reply that was not accepted."""
    if not reply.has_error() or reply.error.code == REFUSED:
        return "dropped", str(dropped)
    words = in_words(reply.error)
    return "failed", f"error: {words}" if words else str(dropped)


def check_quorum(number: int, needed: int, there: int, clients: Mapping[int, Client]) -> None:
    """Check that a round has as many usable replies as are needed.

    Raises:
        RunError: It has fewer.
    """
    if there < needed:
        raise RunError(
            f"Round {number} has {there} usable replies; {needed} are needed. {reasons(clients)} "
            "Raise federation.deadline, lower federation.minimum_replies, or see to the clients; "
            "`fedsafe resume` goes on from here."
        )


def check_attackers_present(experiment: Experiment, there: Collection[int], events: Events) -> None:
    """Check before the first round that declared attackers are present; note the missing.

    Raises:
        RunError: No client was started as an attacker: it would pass for a perfect defense.
    """
    wanted = experiment.attack.malicious if experiment.attack else 0
    if wanted and not there:
        raise RunError(
            f"The experiment declares an attack by {wanted} clients, and none that is here was "
            "started as an attacker: it would pass for a perfect defense. Start attackers with "
            "`fedsafe client --red-team --behaviour NAME`, or remove the attack."
        )
    if experiment.attack and len(there) != wanted:
        events(
            "note",
            f"{len(there)} clients are attackers by their own operators' word "
            f"({', '.join(map(str, sorted(there)))}); the experiment says {wanted}.",
        )


def note_attack_errors(number: int, clients: Mapping[int, Client], events: Events) -> None:
    """Note a round in which every malicious client answered with an error.

    It ends nothing: a client that announces an attack and answers with an error could
    otherwise end any red-team run. `check_attack_took_place` judges the federation as a whole.
    """
    malicious = [client for client in clients.values() if client.malicious]
    if malicious and not any(_attacked(client) for client in malicious):
        events(
            "note",
            f"The attack did not take place in round {number}: malicious client "
            f"{malicious[0].client} {_why_not(malicious[0])}",
        )


def check_attack(experiment: Experiment, rounds: Sequence[Round], events: Events) -> None:
    """Check at the end of a federation that the attack of its experiment took place.

    Raises:
        RunError: It did in no round: the model would pass for a perfect defense.
    """
    if experiment.contaminated:
        _check_contamination(rounds)
    declared = experiment.attack is not None and experiment.attack.malicious > 0
    check_attack_took_place(declared, rounds, events)


def check_attack_took_place(declared: bool, rounds: Sequence[Round], events: Events) -> None:
    """Check at the end of a federation that a declared attack took place.

    An attack takes place in a round where a malicious client sent an update, accepted or not.

    Raises:
        RunError: It took place in no round: the model would pass for a perfect defense.
    """
    if not declared or not rounds:
        return
    malicious = [(one.round, c) for one in rounds for c in one.clients if c.malicious]
    attacked = {number for number, client in malicious if _attacked(client)}
    if attacked:
        asked = {number for number, _ in malicious}
        if attacked != asked:
            events(
                "note",
                f"The attack took place in {len(attacked)} of the {len(asked)} rounds that asked "
                "malicious clients; see rounds.jsonl for what they answered in the others.",
            )
        return
    if not malicious:
        raise RunError(
            f"The experiment declares an attack, and none of its {len(rounds)} rounds asked a "
            "malicious client: its model would pass for a perfect defense. Sample more clients a "
            "round (federation.sampled), raise attack.malicious, or change the seed."
        )
    number, last = malicious[-1]
    raise RunError(
        f"The attack took place in none of the {len(rounds)} rounds: its model would pass for a "
        f"perfect defense. In round {number} malicious client {last.client} {_why_not(last)} See "
        "to the attack's settings or to those clients, and start again in another directory; the "
        "model of the control is kept."
    )


def _check_contamination(rounds: Sequence[Round]) -> None:
    """Check that honest clients with malicious examples among their own sent updates.

    Raises:
        RunError: None did: the model would pass for a perfect defense.
    """
    if not any(_attacked(client) and client.poison_samples for r in rounds for client in r.clients):
        raise RunError(
            f"The experiment declares an attack by contamination, and in none of its {len(rounds)} "
            "rounds a client trained on malicious examples: its model would pass for a perfect "
            "defense. See to attack.contamination and to the clients; the model of the control is "
            "kept."
        )


def note_unknown_claims(client: int, doubts: Sequence[str], events: Events) -> None:
    """Note reported values of a client that are out of range and recorded as unknown."""
    if doubts:
        events(
            "note",
            f"Client {client} reports {', '.join(doubts)}: outside the plausible range, recorded "
            "as unknown. Its update counts; the rule judges that.",
        )


def note_left_out(clients: Mapping[int, Client], earlier: Sequence[Round], events: Events) -> None:
    """Note clients that a filter leaves out from now on, and those that it lets in again.

    Args:
        clients: The records of the round, by number.
        earlier: The rounds before it.
        events: Receives the notes.
    """
    for number, client in clients.items():
        if client.status != "accepted":
            continue
        before = _last_reason(number, earlier)
        if client.reason and client.reason != before:
            events("note", f"Client {number} is {client.reason}.", client=number)
        elif before and not client.reason:
            events("note", f"Client {number} is let in again, on probation.", client=number)


def _last_reason(number: int, rounds: Sequence[Round]) -> str:
    """Return why a client was left out when it was accepted last; "" where it was not."""
    for record in reversed(rounds):
        for client in record.clients:
            if client.client == number and client.status == "accepted":
                return client.reason
    return ""


def _attacked(client: Client) -> bool:
    """Return whether a client sent an update, whatever became of it."""
    return client.status in {"accepted", "dropped"}


def _why_not(client: Client) -> str:
    """Return what a client did in place of sending an update, as the end of a sentence."""
    reason = client.reason.rstrip(".")
    return f"answered with {reason}." if client.status == "failed" else f"sent nothing ({reason})."


def client_record(client: int, status: Status, reason: str = "") -> Client:
    """Return the record of a client whose reply was accepted, without ground truth."""
    return Client(client=client, malicious=False, status=status, reason=reason)


def lost_record(client: int, reply: Message, dropped: Exception) -> Client:
    """Return the record of a client whose reply was not accepted."""
    found = client_record(client, *failure(reply, dropped))
    return found.model_copy(update={"bytes": size(reply)})


def complete(
    requests: Mapping[int, Message],
    clients: Mapping[int, Client],
    collector: RoundCollector,
    malicious: Collection[int],
) -> dict[int, Client]:
    """Return a record for every client of a cohort, in its order, missing replies included.

    Args:
        requests: What each client of the cohort was to be sent.
        clients: The records of those that answered.
        collector: The round, which knows how often each was asked.
        malicious: The truth about who attacks.
    """
    found = {}
    for one, request in requests.items():
        record = clients.get(one) or client_record(one, "missing", collector.reason(one))
        times = collector.times(one)
        truth = {"malicious": one in malicious, "asked": times}
        found[one] = record.model_copy(update={**truth, "bytes_sent": times * weight(request)})
    return found


def reasons(clients: Mapping[int, Client]) -> str:
    """Summarise why replies were not accepted, for the first few clients."""
    lost = [client for client in clients.values() if client.status != "accepted"]
    told = "; ".join(f"client {client.client}: {client.reason}" for client in lost[:3])
    more = f" (and {len(lost) - 3} more)" if len(lost) > 3 else ""
    return f"{told}{more}." if told else ""
