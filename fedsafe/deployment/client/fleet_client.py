"""HTTP client of the SuperLink's Fleet API, with retries while the server is down.

Flower's own client, with errors of ours: Flower's would end the process. Knows nothing of
what is asked.
"""

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from fedsafe.flower.http_clients import refuse_redirects
from fedsafe.flower.internals import (
    FleetHttpClient,
    NodeAuthHttpInterceptor,
    RetryInvoker,
    RuntimeVersionMetadata,
    exponential,
    get_runtime_version_incompatibility_exit_message,
)

LONGEST_PAUSE = 5
"""Seconds between two tries to reach a server that is away."""
AWAY = (408, 502, 503, 504)
"""HTTP statuses of a server, or a front of one, that may do its work a little later. Not 500:
so Flower answers for ever of a run that a SuperLink does not know since it was restarted."""


class SessionEndedError(Exception):
    """The server ended this node's session or refused to start one.

    Args:
        kind: ``version`` of Flower, ``key`` not let in, ``refused`` for another reason,
            ``session`` not known, ``trust`` in its certificate, ``replaced`` by another node.
        words: The server's own, where it has any.
    """

    def __init__(self, kind: str, words: str = "") -> None:
        super().__init__(f"{kind}: {words}")
        self.kind, self.words = kind, words


class RequestFailedError(Exception):
    """A request failed; its text says why."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status
        """HTTP status of the answer; 0 where there was none."""


class FleetClient:
    """One node's signed connection to the Fleet API, with retries.

    Args:
        address: ``HOST:PORT``.
        authority: PEM of the certificate that the server is checked by; None: no TLS.
        key: Who this node is; every request is signed with it.
        lost: Called when the server cannot be reached, and at each further try.
        found: Called when it is reached again.
    """

    def __init__(
        self,
        address: str,
        authority: bytes | None,
        key: ec.EllipticCurvePrivateKey,
        *,
        lost: Callable[[], None],
        found: Callable[[], None],
    ) -> None:
        signed = NodeAuthHttpInterceptor(key, key.public_key())
        self.fleet = FleetHttpClient.from_server_address(
            address, authority is None, authority, [_Version(), signed]
        )
        refuse_redirects(self.fleet)  # who sends us elsewhere is not our server
        self._lost, self._found = lost, found

    def __call__(
        self, method: Callable[[Any], Any], request: Any, most: float | None = None
    ) -> Any:
        """Send a request and return the answer, with retries while the server is unreachable.

        Args:
            method: One of the fleet's.
            request: What is asked.
            most: Seconds after which a server that fails to answer is given up.

        Raises:
            SessionEndedError: It does not know us, or is not the one it should be.
            RequestFailedError: It refuses this request, or it came to nothing.
        """
        retry = RetryInvoker(
            lambda: exponential(max_delay=LONGEST_PAUSE),
            (httpx.TransportError, httpx.HTTPStatusError),
            max_tries=None,
            max_time=most,
            on_backoff=lambda _: self._lost(),
            on_success=lambda state: self._found() if state.tries > 1 else None,
            should_giveup=_final,
        )
        try:
            return retry.invoke(method, request)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.UNAUTHORIZED:
                raise SessionEndedError("session") from None
            raise RequestFailedError(_reason(error.response), error.response.status_code) from None
        except (httpx.RequestError, ValueError) as error:  # also what is not Flower's answer
            if _distrusted(error):
                raise SessionEndedError("trust") from None
            raise RequestFailedError(str(error) or type(error).__name__) from None


class _Version:
    """Adds the Flower version to requests, and checks that the server's is compatible."""

    def __init__(self) -> None:
        self._headers = dict(RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata())

    def intercept(self, context: Any, call_next: Any) -> Any:
        """Add the version to a request, and look at the answer.

        Raises:
            SessionEndedError: The versions do not go together.
        """
        context.request.headers.update({**self._headers, "accept-encoding": "identity"})
        response = call_next(context)
        if response.is_error and get_runtime_version_incompatibility_exit_message(response.text):
            raise SessionEndedError("version")
        return response


def _final(error: Exception) -> bool:
    """Return whether an error is final, so that a retry is useless."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code not in AWAY
    return _distrusted(error)


def _distrusted(error: BaseException | None) -> bool:
    """Say whether a request failed because the server's certificate is not the right one."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reason(response: httpx.Response) -> str:
    """Return why the server refused, in its own words where it has any."""
    with suppress(ValueError, KeyError, TypeError):
        return str(response.json()["detail"])[:200]
    return f"HTTP {response.status_code}"
