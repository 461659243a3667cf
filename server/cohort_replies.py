"""The replies of one round's cohort: collected, screened, stored, and recorded by client."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from flwr.app import Message

from fedsafe.runs.records import Client
from server.aggregation.update_store import Spool
from server.client_status import (
    attackers,
    client_record,
    complete,
    lost_record,
    note_doubts,
)
from server.transport.round_collector import Gathering
from server.validation import DroppedError, screen

if TYPE_CHECKING:
    from server.loop import Federation


def collect_replies(
    federation: "Federation", letters: Mapping[int, Message], spool: Spool
) -> dict[int, Client]:
    """Ask a cohort, store the updates that pass the screen, and return every client's record.

    Args:
        federation: Whose round it is.
        letters: What each client of the cohort is sent, in the cohort's order.
        spool: Where the updates are stored; a client's position in the cohort is its row.

    Raises:
        RunError: The SuperLink does not answer, or the disk is full.
    """
    experiment, events = federation.experiment, federation.events
    settings, needed = experiment.federation, experiment.minimum_replies
    places = {client: place for place, client in enumerate(letters)}
    left_out = federation.journal.left_out(letters)
    gathering = Gathering(
        federation.grid, federation.roll, letters, settings, needed, events,
        journal=federation.journal, left_out=left_out,
    )  # fmt: skip
    gathering.assemble()
    clients = {client: client_record(client, "dropped", why) for client, why in left_out.items()}
    for client, message in gathering.replies(lambda: len(spool.accepted) >= needed):
        try:
            reply = screen(message, letters[client], settings.max_update_norm, settings.wire)
        except DroppedError as error:
            found = lost_record(client, message, error)
        else:
            spool.put(places[client], client, reply)
            note_doubts(client, reply.doubts, events)
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
            total=len(letters),
        )
    malicious = attackers(experiment, federation.name, federation.roll.members)
    return complete(letters, clients, gathering, malicious)
