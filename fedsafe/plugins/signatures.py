"""A plug-in's signature: its settings as a pydantic model, its data parameters checked.

Positional-only parameters are data, keyword-only ones are settings.
"""

import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Strict, create_model

COLLECTIONS = (tuple, list, set, frozenset, dict, Sequence, Mapping)
DATA = inspect.Parameter.POSITIONAL_ONLY
SETTING = inspect.Parameter.KEYWORD_ONLY


def settings_of(function: Callable[..., Any], name: str) -> type[BaseModel]:
    """Return the pydantic model of a function's keyword-only parameters.

    Numbers and switches are taken as they are written: no text becomes a number, no
    number a switch.
    """
    settings = [p for p in inspect.signature(function).parameters.values() if p.kind is SETTING]
    hints = _hints(function, [parameter.name for parameter in settings])
    fields: dict[str, Any] = {
        parameter.name: (
            strict(hints.get(parameter.name, Any)),
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in settings
    }
    config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, protected_namespaces=()
    )
    return create_model(f"{name} settings", __config__=config, **fields)


def strict(annotation: Any) -> Any:
    """Return an annotation whose numbers and switches convert nothing.

    >>> strict(tuple[int, ...])
    tuple[typing.Annotated[int, Strict(strict=True)], ...]
    """
    if annotation in {int, float, bool}:
        return Annotated[annotation, Strict()]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(strict(arguments[0]), *annotation.__metadata__)]
    if origin in {Union, types.UnionType}:
        return Union[tuple(strict(argument) for argument in arguments)]  # noqa: UP007 - made here
    if origin in COLLECTIONS:
        inner = tuple(a if a is Ellipsis else strict(a) for a in arguments)
        return origin[inner]
    return annotation


def misfit(function: Any, examples: Iterable[Callable[..., Any]]) -> str:
    """Return why a function cannot be a plug-in of a kind; empty when it can.

    Args:
        function: What somebody's path names.
        examples: Plug-ins of the kind; they say how one is called, and some kinds are called in
            two ways. None: not checked.
    """
    known = [data for example in examples if (data := data_of(example)) is not None]
    if not known:
        return ""
    ways = {len(data): f"({', '.join(data)}, /, *, settings)" for data in reversed(known)}
    wanted = " or ".join(ways[count] for count in sorted(ways))
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = None
    if isinstance(function, type) or parameters is None:
        what = "a class" if isinstance(function, type) else "of a signature that Python cannot read"
        return f"it is {what}, and a function {wanted} is called"
    for parameter in parameters:
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            return f"it takes '{parameter}', where each setting needs a name: {wanted}"
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            return (
                f"its parameter '{parameter.name}' is neither data nor a setting. Write {wanted}: "
                "data before the '/', settings after the '*'"
            )
    taken = [parameter.name for parameter in parameters if parameter.kind is DATA]
    if len(taken) not in ways:
        return f"it takes {len(taken)} data parameters ({', '.join(taken)}), expected {wanted}"
    return ""


def data_of(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """Return the names of a function's data parameters; None for a class."""
    if isinstance(function, type):
        return None
    parameters = inspect.signature(function).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind is DATA)


def _hints(function: Callable[..., Any], names: list[str]) -> dict[str, Any]:
    """Resolve the annotations of some parameters; data parameters stay unread.

    Data may be annotated with types imported for checkers only.
    """
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__annotations__"):
        function = type(function).__call__  # an object that can be called
    annotations = getattr(function, "__annotations__", {})
    holder = type(
        "Settings", (), {"__annotations__": {n: annotations[n] for n in names if n in annotations}}
    )
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    return get_type_hints(holder, vars(module) if module else {}, include_extras=True)
