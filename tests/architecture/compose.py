"""docker-compose.yml as an engine would read it, for the tests."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\$|\$\{\w+:-([^}]*)\}")


@dataclass(frozen=True)
class Mount:
    """A volume in a service."""

    volume: str
    target: str
    read_only: bool


def read(path: Path = FILE) -> dict[str, Any]:
    """Return the file with the defaults of its variables."""
    text = VARIABLE.sub(lambda found: found[1] if found[1] is not None else "$", path.read_text())
    assert "${" not in text, "a variable without a default"
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def services() -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    found: dict[str, dict[str, Any]] = read()["services"]
    return found


def clients() -> dict[str, dict[str, Any]]:
    """Return the services that take part."""
    return {name: one for name, one in services().items() if one["command"][0] == "client"}


def mounts(service: dict[str, Any]) -> Iterator[Mount]:
    """Yield a service's volumes."""
    for text in service["volumes"]:
        volume, target, *options = text.split(":")
        yield Mount(volume, target, options == ["ro"])


def fedsafe_commands() -> dict[str, list[str]]:
    """Return what `fedsafe` is given in each service."""
    given = {}
    for name, service in services().items():
        if "entrypoint" not in service:  # the image's own, `fedsafe`
            given[name] = service["command"]
            continue
        (script,) = service["command"]
        (line,) = (line for line in script.splitlines() if line.startswith("fedsafe "))
        given[name] = shlex.split(line)[1:]
    return given
