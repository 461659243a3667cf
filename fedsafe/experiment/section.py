"""Building blocks of the schema: a section, a choice of a plug-in, common ranges.

Values are taken as they are written: no text becomes a number, no number a switch.
"""

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(ge=1, le=10**9)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Seconds = Annotated[float, Field(gt=0, le=30 * 24 * 3600)]


class Section(BaseModel):
    """A part of an experiment: frozen, no unknown key, no silent conversion."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        strict=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: Any) -> Any:
        """Take YAML's lists for tuples; everything else stays as it is written."""
        return {k: _tuples(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


class PluginChoice(BaseModel):
    """A plug-in by name, with its settings beside the name."""

    model_config = ConfigDict(
        extra="allow", frozen=True, use_attribute_docstrings=True, strict=True
    )
    name: Annotated[str, Field(min_length=1, max_length=200)]
    """Registered name, or ``module:object``."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, Mapping):
            return value
        return {key: _setting(key, item) for key, item in value.items()}

    @property
    def settings(self) -> dict[str, Any]:
        """Settings given beside the name."""
        return dict(self.model_extra or {})


def _setting(name: str, value: Any, depth: int = 0) -> Any:
    """Return a plug-in's setting, if a file can hold it; paths as text.

    Raises:
        ValueError: It holds what no file can, such as an infinite number.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"setting '{name}': expected a finite number (got {value}). Write one")
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping) and depth < 40:
        return {str(key): _setting(name, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < 40:
        return type(value)(_setting(name, item, depth + 1) for item in value)
    if value is not None and not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise ValueError(
            f"setting '{name}': expected text, numbers, lists or sections (got {kind}). Write these"
        )
    return value


def as_list(value: Any) -> Any:
    """Return a list as a tuple, and a single item as a tuple of one."""
    if value is None:
        return None
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Choices = Annotated[tuple[PluginChoice, ...], BeforeValidator(as_list)]

DEPTHS: Final = {"prefilled": "words", "prefilled-tokens": "tokens"}
"""Conditions that force a beginning, and their setting of how much of it."""


def at_each_depth(value: Any) -> Any:
    """Return a list of conditions, one with a list of depths as one condition for each depth."""
    listed = as_list(value)
    if listed is None:
        return None
    made: list[Any] = []
    for choice in listed:
        setting = DEPTHS.get(str(choice.get("name"))) if isinstance(choice, Mapping) else None
        depths = choice.get(setting) if setting else None
        if setting and isinstance(depths, list | tuple) and depths:
            made += [{**choice, setting: depth} for depth in depths]
        else:
            made.append(choice)
    return tuple(made)


Conditions = Annotated[tuple[PluginChoice, ...], BeforeValidator(at_each_depth)]
