"""Client keys at server start, checked against the experiment and the run so far."""

from pathlib import Path
from typing import TYPE_CHECKING

from fedsafe.errors import ConfigError
from fedsafe.experiment import Experiment
from fedsafe.runs.store import Store

if TYPE_CHECKING:
    from server.transport.allowlist import Allowed


def starting_keys(
    allow: Path, experiment: Experiment, store: Store, *, fewer: bool
) -> "tuple[tuple[Allowed, ...], list[str]]":
    """Return the allowed keys with their client numbers in this run, and warnings.

    Raises:
        ConfigError: At the first start they are not as many as the clients, or at any start
            too few of them may take part.
    """
    from fedsafe.app import activate

    activate()
    from server.transport.allowlist import read_allow
    from server.transport.key_numbers import KeyNumbers

    numbers, listed, clients = KeyNumbers(store), read_allow(allow), experiment.federation.clients
    excused = bool(numbers.known) or (fewer and len(listed) < clients)
    if len(listed) != clients and not excused:
        raise ConfigError(
            f"{allow} lists {len(listed)} keys, and the experiment has {clients} clients, of one "
            f"key each. Use --set federation.clients={len(listed)}, list {clients} keys, or start "
            "with fewer and add others while it runs: --allow-fewer."
        )
    keys = numbers.assign(listed)
    there = {one.number for one in keys if not one.revoked and one.number < clients}
    if len(there) < experiment.minimum_replies:
        raise ConfigError(
            f"{allow} lets {len(there)} of the experiment's {clients} clients take part, and each "
            f"round needs the replies of {experiment.minimum_replies}. List more keys, or restore "
            "those that are revoked with `fedsafe certs restore NAME`."
        )
    notes = [
        f"The key '{one.name}' is number {one.number}, and there are {clients} clients, numbered "
        "from 0: it is left out."
        for one in keys
        if one.number >= clients
    ]
    if len(there) < clients:
        lacking = ", ".join(str(n) for n in range(clients) if n not in there)
        notes.append(f"No key may take part as client {lacking}.")
    return keys, notes
