"""The connection inside Flower's clients."""

from types import SimpleNamespace

import pytest

from fedsafe.errors import LaunchError
from fedsafe.flower.http_clients import refuse_redirects
from fedsafe.flower.internals import ControlHttpClient, FleetHttpClient


@pytest.mark.parametrize("kind", [FleetHttpClient, ControlHttpClient])
def test_client_follows_no_redirect(kind: type[FleetHttpClient] | type[ControlHttpClient]) -> None:
    client = kind.from_server_address("127.0.0.1:1", True, None, [])
    refuse_redirects(client)
    assert client._client.follow_redirects is False
    client.close()


@pytest.mark.parametrize("kept", [{}, {"_client": None}, {"_client": object()}])
def test_connection_that_is_kept_elsewhere_is_an_error(kept: dict[str, object]) -> None:
    with pytest.raises(LaunchError, match=r"SimpleNamespace\._client"):
        refuse_redirects(SimpleNamespace(**kept))
