"""What became of a round's clients: their records, the reasons, and whether it was attacked."""

from collections.abc import Mapping
from typing import Literal

from fedsafe.errors import RunError
from fedsafe.runs.records import Client

Status = Literal["accepted", "dropped", "failed", "missing"]


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


def client_record(
    client: int,
    malicious: frozenset[int],
    status: Status,
    reason: str = "",
) -> Client:
    """Return the record of a client, the truth about it included."""
    return Client(client=client, malicious=client in malicious, status=status, reason=reason)


def reasons(clients: Mapping[int, Client]) -> str:
    """Return why the first few of those that do not count do not."""
    lost = [client for client in clients.values() if client.status != "accepted"]
    told = "; ".join(f"client {client.client}: {client.reason}" for client in lost[:3])
    more = f" (and {len(lost) - 3} more)" if len(lost) > 3 else ""
    return f"{told}{more}." if told else ""
