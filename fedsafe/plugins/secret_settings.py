"""Secret settings of plug-ins: an experiment names an environment variable, never the value.

A setting is secret if it is annotated as ``pydantic.SecretStr``, or is a text named like one
(``api_key``, ``password``). It is written ``env:NAME``, and read when the plug-in is used: so no
job, log, ``experiment.yaml`` or report can hold it.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from fedsafe.errors import ConfigError

_REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
SECRET_NAME = re.compile(
    r"(^|[_-])(secret|password|passphrase|credentials?|(api|access|auth)[_-]?(key|token))($|[_-])"
    r"|^token$"
)
"""Names of settings that hold a secret, whatever their type says."""


def literal_secrets(schema: type[BaseModel], settings: Mapping[str, Any]) -> list[str]:
    """Return the names of secret settings whose value itself is given."""
    return [
        name
        for name, value in settings.items()
        if isinstance(value, str) and value and _is_secret(schema, name)
        if not _REFERENCE.fullmatch(value)
    ]


def with_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the value of its variable in place of each ``env:NAME``.

    Raises:
        ConfigError: A variable is not set.
    """
    return {name: _value(name, value) for name, value in settings.items()}


def _value(name: str, value: Any) -> Any:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    found = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return value
    if (known := os.environ.get(found[1])) is None:
        raise ConfigError(
            f"{name} is env:{found[1]}, and there is no environment variable {found[1]}. Set it "
            "where this process is started."
        )
    return SecretStr(known) if isinstance(value, SecretStr) else known


def _is_secret(schema: type[BaseModel], name: str) -> bool:
    field = schema.model_fields.get(name)
    if field is None:
        return False
    annotations = (field.annotation, *getattr(field.annotation, "__args__", ()))
    return SecretStr in annotations or (
        str in annotations and SECRET_NAME.search(name.casefold()) is not None
    )
