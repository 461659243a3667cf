"""Flower App Bundle (FAB) of a deployment: it only imports the installed FedSafe.

It opens the door to what is installed there, so that each machine runs its own.
"""

from pathlib import Path

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "fedsafe-deployed"
version = "0.1.0"
description = "FedSafe as it is installed here"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "fedsafe"
fab-include = ["deployed/*.py"]

[tool.flwr.app.components]
serverapp = "deployed.server_app:app"
clientapp = "deployed.client_app:app"

[tool.flwr.app.config]
experiment = "micro"
settings = ""
output = ""
allow = ""
randomness = ""
"""


def files() -> dict[str, bytes | Path]:
    """Return the app's files by their names in it."""
    home = Path(__file__).parent
    sources = {path.relative_to(home).as_posix(): path for path in (home / "deployed").glob("*.py")}
    return {"pyproject.toml": PYPROJECT.encode(), **sources}
