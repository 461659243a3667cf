"""Why a server does not serve a node, in its operator's words."""

import pytest

from fedsafe.deployment.client.connectivity import ConnectionCheck
from fedsafe.deployment.client.identity import Address
from fedsafe.deployment.client.refusal_messages import sentence

SERVER = Address("fl.example.org", 8443)


@pytest.mark.parametrize(
    ("kind", "seen", "why"),
    [
        (
            "key",
            ConnectionCheck(True),
            "does not let in node0 (0123): its key is not on the allow list",
        ),
        ("key", ConnectionCheck(), "does not let in node0 (0123)"),
        (
            "version",
            ConnectionCheck(True, "Anything."),
            "fl.example.org:8443 runs another version of Flower",
        ),
        ("session", ConnectionCheck(True, skew=90.0), "90 s ahead of the server's"),
        ("session", ConnectionCheck(True, skew=0.0), "no longer knows this session"),
        ("trust", ConnectionCheck(True, "The wrong certificate."), "The wrong certificate."),
        ("refused", ConnectionCheck(True), "does not answer as a FedSafe server does (HTTP 404)"),
        ("replaced", ConnectionCheck(True), "Another process with the key of node0 (0123)"),
        ("trust", ConnectionCheck(True), "was not the right one, and is again"),
    ],
)
def test_end_is_explained(kind: str, seen: ConnectionCheck, why: str) -> None:
    assert why in sentence(kind, "HTTP 404", "node0 (0123)", SERVER, seen)
