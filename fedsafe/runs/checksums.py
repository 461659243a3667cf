"""JSON records with a checksum: a record that was changed since it was written is an error.

The field ``sha256`` holds the digest of the other fields. A record without one, as earlier
versions wrote it, is read as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsafe.errors import RunError, reason_of
from fedsafe.runs.files import write_json

FIELD = "sha256"


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the checksum of its fields added."""
    rest = {name: value for name, value in record.items() if name != FIELD}
    return {**rest, FIELD: _checksum(rest)}


def verified(record: Any, path: Path) -> Any:
    """Return a JSON value as it was before `sealed`; what is no object is returned as it is.

    Args:
        record: What was read.
        path: Where it was read, for the message.

    Raises:
        RunError: Its fields are not those that the checksum was made of.
    """
    if not isinstance(record, dict) or FIELD not in record:
        return record
    rest = {name: value for name, value in record.items() if name != FIELD}
    if record[FIELD] != (found := _checksum(rest)):
        raise RunError(
            f"{path} was changed or damaged after it was written: its checksum is {found[:16]}, "
            f"and it says {str(record[FIELD])[:16]}. Restore it from a copy, or start again in "
            "another directory."
        )
    return rest


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Replace a file by a JSON object with its checksum.

    Raises:
        RunError: The disk is full; the file is as it was.
    """
    write_json(path, sealed(record))


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the JSON object that `write_sealed` wrote.

    Raises:
        RunError: It is not there, is no JSON object, or was changed since.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise RunError(f"{path} cannot be read: {reason}. Restore it from a copy.") from None
    if not isinstance(found, dict):
        raise RunError(f"{path} cannot be read: it holds no JSON object. Restore it from a copy.")
    return dict(verified(found, path))


def _checksum(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
