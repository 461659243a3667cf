"""What became of a round's clients: their records, the reasons, and whether it was attacked."""

from collections.abc import Collection, Mapping
from typing import Literal

from flwr.app import Message

from fedsafe.attacks.malicious_clients import malicious_clients
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import REFUSED
from fedsafe.runs.events import Events
from fedsafe.runs.records import Client
from server.transport.client_errors import in_words
from server.transport.client_identity import Members

Status = Literal["accepted", "dropped", "failed", "missing"]


def attackers(experiment: Experiment, name: str, members: Members | None) -> frozenset[int]:
    """Return the truth about who is malicious in a federation, for the records.

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


def see_attack(experiment: Experiment, there: Collection[int], events: Events) -> None:
    """See before any round that a declared attack has its attackers; note who is missing.

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


def require_attack(number: int, clients: Mapping[int, Client]) -> None:
    """Fail a red-team run whose attack breaks down: it would pass for a perfect defense.

    Raises:
        RunError: Every malicious client of the round answered with an error.
    """
    malicious = [client for client in clients.values() if client.malicious]
    if malicious and all(client.status == "failed" for client in malicious):
        raise RunError(
            f"The attack did not take place in round {number}: malicious client "
            f"{malicious[0].client} answered with {malicious[0].reason} See to the attack's "
            "settings and start again."
        )


def client_record(client: int, status: Status, reason: str = "") -> Client:
    """Return the record of a client; the truth about it is entered by whoever knows it."""
    return Client(client=client, malicious=False, status=status, reason=reason)


def reasons(clients: Mapping[int, Client]) -> str:
    """Return why the first few of those that do not count do not."""
    lost = [client for client in clients.values() if client.status != "accepted"]
    told = "; ".join(f"client {client.client}: {client.reason}" for client in lost[:3])
    more = f" (and {len(lost) - 3} more)" if len(lost) > 3 else ""
    return f"{told}{more}." if told else ""
