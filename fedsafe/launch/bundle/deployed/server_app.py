"""The ServerApp that is installed on this machine."""

from fedsafe.app import activate

activate()

from server.app import app as _app  # noqa: E402 - the line above makes it importable

app = _app
