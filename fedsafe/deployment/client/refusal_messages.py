"""Error messages for a node that the server refuses."""

from fedsafe.deployment.client.connectivity import ConnectionCheck
from fedsafe.deployment.client.identity import Address


def sentence(kind: str, words: str, name: str, server: Address, seen: ConnectionCheck) -> str:
    """Return the message for a session that ended or was refused.

    Args:
        kind: As in `fedsafe.deployment.client.fleet_client.SessionEndedError`.
        words: The server's own.
        name: The node's, with the beginning of its key's fingerprint.
        server: Where it connects to.
        seen: A look at the server, taken since.
    """
    known = {
        "version": f"The server at {server} runs another version of Flower, which does not go with "
        "this one. Install the same versions on both sides.",
        "replaced": f"Another process with the key of {name} has taken its place at the server.",
        "key": f"The server does not let in {name}: its key is not on the allow list, or a node "
        "with this key counts as online. Send the server's operator the key's .pub file, or stop "
        "the other node; one that was killed is forgotten within two minutes.",
        "refused": f"{server} does not answer as a FedSafe server does ({words}). Check the "
        "address, and look at the server's log.",
        "trust": f"The certificate of {server} was not the right one, and is again.",
        "session": "The server no longer knows this session, as after a restart of its own, or "
        "does not take the signature.",
    }
    if kind in {"version", "replaced"}:
        return known[kind]
    return seen.refusal or seen.clock or known[kind]
