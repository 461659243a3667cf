"""Collect, validate, store and record the replies of one round's cohort."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flwr.app import Message

from fedsafe.runs.records import Client
from server.aggregation.update_store import UpdateStore
from server.client_status import (
    attackers,
    client_record,
    complete,
    lost_record,
    note_unknown_claims,
)
from server.transport.round_collector import RoundCollector
from server.validation import DroppedError, screen

if TYPE_CHECKING:
    from server.loop import Federation


def collect_replies(
    federation: "Federation", requests: Mapping[int, Message], update_store: UpdateStore
) -> dict[int, Client]:
    """Request updates from a cohort, store the valid ones, and return every client's record.

    Args:
        federation: Whose round it is.
        requests: What each client of the cohort is sent, in the cohort's order.
        update_store: Where the updates are stored; a client's position in the cohort is its row.

    Raises:
        RunError: The SuperLink does not answer, or the disk is full.
    """
    experiment, events = federation.experiment, federation.events
    settings, needed = experiment.federation, experiment.minimum_replies
    places = {client: place for place, client in enumerate(requests)}
    left_out = federation.journal.left_out(requests)
    collector = RoundCollector(
        federation.grid, federation.registry, requests, settings, needed, events,
        journal=federation.journal, left_out=left_out,
    )  # fmt: skip
    collector.assemble()
    clients = {client: client_record(client, "dropped", why) for client, why in left_out.items()}
    for client, message in collector.replies(lambda: len(update_store.accepted) >= needed):
        try:
            reply = screen(message, requests[client], settings.max_update_norm, settings.wire)
        except DroppedError as error:
            found = lost_record(client, message, error)
        else:
            update_store.put(places[client], client, reply)
            note_unknown_claims(client, reply.doubts, events)
            found = client_record(client, "accepted").model_copy(update=reply.record())
            del reply
        del message
        clients[client] = found
        events(
            "client",
            client=client,
            status=found.status,
            loss=found.loss,
            done=len(clients),
            total=len(requests),
        )
    malicious = attackers(experiment, federation.name, federation.registry.members)
    return complete(requests, clients, collector, malicious)
