"""Connectivity check: TLS certificate, host name and clock skew to the server.

Flower gives no reason when a clock is off, and says of TLS only that
it failed. One request tells which it is. Sends nothing of the client's.
"""

import http.client
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from fedsafe.deployment.client.identity import Address

AHEAD, BEHIND = 5.0, 300.0
"""Seconds that Flower lets a client's clock be ahead of the server's, and behind."""
SECONDS = 5.0
"""Longest wait for the server."""
WRONG_NAME = {62, 64}
"""OpenSSL's codes for a certificate of another host name, and of another address."""
EARLY, LATE = 9, 10
"""OpenSSL's codes for a certificate that is not valid yet, and no longer."""


@dataclass(frozen=True)
class ConnectionCheck:
    """Result of a connectivity check."""

    reached: bool = False
    """Whether anybody answered."""
    refusal: str = ""
    """Why no node can connect, whatever its key: a sentence; empty: nothing is wrong."""
    skew: float | None = None
    """Seconds that this machine's clock is ahead of the server's; None: not known."""

    @property
    def clock(self) -> str:
        """Say what is wrong with this machine's clock; empty: nothing that matters."""
        if self.skew is None or -BEHIND < self.skew < AHEAD:
            return ""
        side = "ahead of" if self.skew > 0 else "behind"
        return (
            f"This machine's clock is {abs(self.skew):.0f} s {side} the server's; Flower takes "
            f"signatures of clocks up to {AHEAD:.0f} s ahead and {BEHIND:.0f} s behind. Set it, "
            "such as with `timedatectl set-ntp true`."
        )


def look(server: Address, authority: Path | None, seconds: float = SECONDS) -> ConnectionCheck:
    """Send one HTTP request to the server to check TLS, certificate and clock.

    Args:
        server: Its address.
        authority: The certificate it is checked by; None: plain HTTP.
        seconds: Longest wait.
    """
    connection = _connection(server, authority, seconds)
    try:
        asked = time.time()
        connection.request("GET", "/")
        answer = connection.getresponse()
        answered = time.time()
    except ssl.SSLCertVerificationError as error:
        return ConnectionCheck(reached=True, refusal=_untrusted(server, authority, error))
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        return ConnectionCheck(reached=True, refusal=(
            f"{server} does not speak TLS ({reason}). Check the port, and that the server runs "
            "with --tls."
        ))  # fmt: skip
    except http.client.HTTPException:
        return ConnectionCheck(reached=True, refusal=(
            f"{server} does not speak {'HTTP' if authority is None else 'HTTPS'}. Check the port."
        ))  # fmt: skip
    except OSError:
        return ConnectionCheck()
    finally:
        connection.close()
    if authority is None and answer.status == http.client.BAD_REQUEST:  # as nginx says it
        return ConnectionCheck(
            reached=True, refusal=f"{server} speaks TLS. Give --tls, not --insecure."
        )
    return ConnectionCheck(reached=True, skew=_skew(answer.headers.get("Date"), asked, answered))


def _connection(
    server: Address, authority: Path | None, seconds: float
) -> http.client.HTTPConnection:
    if authority is None:
        return http.client.HTTPConnection(server.host, server.port, timeout=seconds)
    context = ssl.create_default_context(cafile=str(authority))
    return http.client.HTTPSConnection(server.host, server.port, timeout=seconds, context=context)


def _untrusted(server: Address, authority: Path | None, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in WRONG_NAME:
        return (
            f"The server's certificate is not one for {server.host}. Give --server the name it was "
            "made for, or make it anew: fedsafe certs init --host "
            f"{server.host}"
        )
    if error.verify_code in (EARLY, LATE):
        when = "not valid yet" if error.verify_code == EARLY else "no longer valid"
        return (
            f"The server's certificate is {when}, by this machine's clock "
            f"({time.strftime('%Y-%m-%d %H:%M')}). Set the clock, or have the server's certificate "
            "made anew."
        )
    return (
        f"{server} shows a certificate that {authority} did not sign ({error.verify_message}): it "
        "is another server, or --tls is not its ca.crt. Ask its operator for the file."
    )


def _skew(date: str | None, asked: float, answered: float) -> float | None:
    """Return the seconds that our clock is ahead; a server's date counts whole seconds."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    if theirs > answered:
        return answered - theirs
    return max(0.0, asked - (theirs + 1))
