"""Self-check at start: does the installed flwr have every private name that FedSafe uses?"""

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from fedsafe.flower.internals import HOMES, unsupported
from fedsafe.flower.requirements import ASSIGNED, ATTRIBUTES, CALLS, FIELDS, GUARDED, PARTS


def check(part: str) -> None:
    """Check that the installed flwr has the private names that one of our programs needs.

    Args:
        part: ``launch``, ``client``, ``server``, ``serverapp`` or ``superlink``.

    Raises:
        LaunchError: It has not; the message names all that is missing, the version that was
            found and the supported ones.
    """
    if missing := list(_missing(part)):
        raise unsupported(missing)


def _missing(part: str) -> Iterator[str]:
    """Yield the full name of each thing that is missing."""
    for name in PARTS[part].split():
        yield from missing_of(name)
    for message, fields in FIELDS[part].items():
        yield from missing_fields(message, fields)
    if part == "superlink":
        yield from _missing_of_the_superlink()


def missing_of(name: str) -> Iterator[str]:
    """Yield what the installed flwr lacks of one name in `fedsafe.flower.internals`."""
    module, there = HOMES[name]
    try:
        found = getattr(import_module(module), there)
    except (ImportError, AttributeError):
        yield f"{module}.{there}"
        return
    for attribute in ATTRIBUTES.get(name, "").split():
        if not hasattr(found, attribute):
            yield f"{module}.{there}.{attribute}"
    for attribute in ASSIGNED.get(name, "").split():
        if attribute not in found.__init__.__code__.co_names:
            yield f"{module}.{there}.{attribute}"
    for called, (positional, keywords) in CALLS.items():
        owner, _, method = called.partition(".")
        if owner == name and (not method or hasattr(found, method)):
            function = getattr(found, method) if method else found
            if not _takes(function, positional, keywords.split()):
                words = ", ".join(["..."] * bool(positional) + [f"{k}=" for k in keywords.split()])
                yield f"{module}.{there}{f'.{method}' if method else ''}({words})"


def missing_fields(message: str, fields: str) -> Iterator[str]:
    """Yield which fields a protobuf message of the installed flwr lacks.

    Args:
        message: Its module below ``flwr.proto``, a dot, and its name.
        fields: Names of fields, with spaces between.
    """
    module, _, name = message.partition(".")
    try:
        message_type = getattr(import_module(f"flwr.proto.{module}"), name)
    except (ImportError, AttributeError):
        yield f"flwr.proto.{message}"
        return
    known = set(message_type.DESCRIPTOR.fields_by_name)
    yield from (f"flwr.proto.{message}.{field}" for field in fields.split() if field not in known)


def _takes(function: Callable[..., Any], positional: int, keywords: list[str]) -> bool:
    """Return whether a function can be called with so many arguments and these keywords."""
    try:
        inspect.signature(function).bind(*[None] * positional, **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True


def _missing_of_the_superlink() -> Iterator[str]:
    """Yield the requests that the quota middleware checks and the SuperLink does not parse."""
    try:
        types = import_module(HOMES["PROTOBUF_REQUEST_TYPES"][0]).PROTOBUF_REQUEST_TYPES
    except (ImportError, AttributeError):
        return  # missing as a name already
    yield from (f"a request POST {path}" for path in sorted(GUARDED) if ("POST", path) not in types)
