"""Figures of one round for every view: replies that counted, loss, throughput, attackers' share."""

from collections.abc import Sequence
from math import isfinite
from statistics import median

from fedsafe.runs.records import Client, Round


def accepted(record: Round) -> int:
    """Return how many replies counted."""
    return sum(client.status == "accepted" for client in record.clients)


def dropped(record: Round) -> int:
    """Return how many replies were screened out, or were errors; missing ones are neither."""
    return sum(client.status in ("dropped", "failed") for client in record.clients)


def median_loss(record: Round) -> float | None:
    """Return the median training loss of the accepted replies; None where nobody says."""
    known = (client.loss for client in record.clients if client.status == "accepted")
    losses = [loss for loss in known if loss is not None and isfinite(loss)]
    return median(losses) if losses else None


def tokens_per_second(record: Round) -> float | None:
    """Return the tokens that clients trained on over the round's wall time; None: not known."""
    known = [client.tokens for client in record.clients if client.tokens is not None]
    tokens = sum(number for number in known if isfinite(number))
    return tokens / record.seconds if tokens and record.seconds > 0 else None


def malicious_share(clients: Sequence[Client]) -> float | None:
    """Return the share of influence that malicious clients had.

    None where none was asked, or where the strategy does not say.
    """
    if not any(client.malicious for client in clients):
        return None
    known = [(c.influence, c.malicious) for c in clients if c.influence is not None]
    total = sum(influence for influence, _ in known)
    if len(known) < len(clients):
        return None
    return sum(influence for influence, bad in known if bad) / total if total else 0.0
