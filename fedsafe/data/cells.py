"""Read and check the text fields of a row; errors name line and field.

Knows nothing of which field means what.
"""

from collections.abc import Mapping
from typing import Any

from fedsafe.errors import DataError
from fedsafe.plugins import suggestion


def find(row: Mapping[str, Any], name: str) -> str | None:
    """Return a field's name as the row has it, in whatever case; None: it has no such field."""
    if name in row:
        return name
    wanted = name.strip().casefold()
    alike = [own for own in row if isinstance(own, str) and own.strip().casefold() == wanted]
    return alike[0] if len(alike) == 1 else None


def text_of(where: str, row: Mapping[str, Any], name: str, *, optional: bool = False) -> str:
    """Return a field's text; the case of its name does not matter.

    Raises:
        DataError: The field is missing, or is no text that can be encoded.
    """
    own = find(row, name)
    if own is None:
        if optional:
            return ""
        raise DataError(
            f"{where}: expected a field '{name}', got {listed(row)}.{suggestion(name, list(row))}"
        )
    value = row[own]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{where}: expected text in field '{own}', got {_kind(value)}. Put it in quotes, or "
            "name another field."
        )
    check_text(where, own, value)
    return value


def check_text(where: str, name: str, text: str) -> None:
    """Check that a text can be encoded, as every tokenizer does first.

    Raises:
        DataError: It holds one half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: field '{name}' holds half a character, {text[error.start]!r} at place "
            f"{error.start + 1}, which no tokenizer can take. Write the whole character, or take "
            "it out."
        ) from None


def listed(row: Mapping[str, Any]) -> str:
    """Return the names of a row's fields, in words."""
    return f"the fields {', '.join(map(str, row))}" if row else "no field"


def _kind(value: object) -> str:
    try:
        return f"{type(value).__name__} {str(value)[:40]!r}"
    except (RecursionError, ValueError):
        return f"{type(value).__name__}, nested too deeply or too long to show"
