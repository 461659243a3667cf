"""Secret values kept out of records: which settings hold them, and texts without them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import SecretStr

from fedsafe.plugins.secret_settings import SECRET_NAME

MASK: Final = "[secret]"
"""Stands where a secret value was."""


def is_secret(name: str, value: object) -> bool:
    """Tell whether a setting holds a secret: by its type, or by its name where it is a text."""
    if isinstance(value, SecretStr):
        return True
    return isinstance(value, str) and SECRET_NAME.search(name.casefold()) is not None


def secrets_of(settings: Mapping[str, Any]) -> list[str]:
    """Return the secret values among settings, the longest first."""
    found = [revealed(value) for name, value in settings.items() if is_secret(name, value)]
    return sorted({text for text in found if text.strip()}, key=lambda text: (-len(text), text))


def revealed(value: Any) -> Any:
    """Return a setting as its file holds it, a secret in the clear."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def masked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings for a record, secret values replaced."""
    return {name: MASK if is_secret(name, value) else value for name, value in settings.items()}


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secret values, however they are spaced or capitalised in it."""
    for secret in secrets:
        words = r"\s*".join(re.escape(character) for character in "".join(secret.split()))
        text = re.sub(rf"(?<!\w){words}(?!\w)", MASK, text, flags=re.IGNORECASE)
    return text
