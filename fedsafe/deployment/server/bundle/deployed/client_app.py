"""The installed ClientApp, in a process that ends with its parent."""

from fedsafe.app import activate
from fedsafe.deployment.child_processes import end_with_parent

activate()
end_with_parent()

from clients.app import app as _app  # noqa: E402 - the lines above make it importable

app = _app
