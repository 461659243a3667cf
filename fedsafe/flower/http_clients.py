"""The HTTP connection inside Flower's protobuf clients."""

from typing import Any

import httpx

from fedsafe.flower.internals import unsupported


def refuse_redirects(client: Any) -> None:
    """Have one of Flower's clients follow no redirect: it would send signed requests elsewhere.

    Raises:
        LaunchError: The installed flwr keeps the connection elsewhere.
    """
    connection = getattr(client, "_client", None)
    if not isinstance(connection, httpx.Client):
        raise unsupported([f"{type(client).__module__}.{type(client).__qualname__}._client"])
    connection.follow_redirects = False
