"""Classify client errors: transient (retry) or final, with a readable reason."""

import re

from flwr.app import Error

from fedsafe.errors import TransientError
from fedsafe.flower.internals import ErrorCode

LOST = {
    ErrorCode.NODE_UNAVAILABLE: "its node went offline",
    ErrorCode.MESSAGE_UNAVAILABLE: "its reply was lost on the way",
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE: "its reply came too late",
}
"""What the SuperLink says of a client from which nothing came."""
BROKEN = {
    ErrorCode.UNKNOWN: "its process died",
    ErrorCode.LOAD_CLIENT_APP_EXCEPTION: "its ClientApp could not be loaded; see its log",
    ErrorCode.CLIENT_APP_CRASHED: "its ClientApp stopped responding",
}
"""What goes wrong on a client's machine outside of its work."""
_MARK = re.compile(rf"\W*(class\W+)?[\w.]*\b{TransientError.__name__}\b")


def transient(error: Error) -> bool:
    """Return whether an error is worth a retry: a machine or process failed, it did not refuse."""
    return error.code in LOST or error.code in BROKEN or bool(_MARK.match(error.reason or ""))


def in_words(error: Error) -> str:
    """Return the reason for an error code of Flower; "" where the client states its own."""
    return LOST.get(error.code) or BROKEN.get(error.code) or ""
