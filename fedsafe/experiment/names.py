"""The names of an experiment's settings, and which one an unknown name means."""

import types
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Union, get_args, get_origin

from pydantic import BaseModel

from fedsafe.experiment.schema import Experiment
from fedsafe.suggestions import near, nearest


def unknown(location: Sequence[int | str]) -> str:
    """Return the sentence for a setting that does not exist, with the one that is meant.

    Looks among the neighbours first, then everywhere in an experiment.
    """
    name, *above = [str(part) for part in reversed(location)]
    here = names_in(tuple(reversed(above)))
    known = f"Known here: {', '.join(here)}."
    if found := nearest(name, here):
        shown = found if near(name, found) else ".".join([*reversed(above), found])
        return f"unknown setting. Did you mean '{shown}'? {known}"
    elsewhere = {path.split(".")[-1]: path for path in reversed(all_paths())}
    if found := nearest(name, elsewhere):
        return f"unknown setting here. Did you mean '{elsewhere[found]}'? {known}"
    return f"unknown setting. {known}"


def names_in(location: Sequence[str]) -> list[str]:
    """Return the setting names of the section at a location."""
    section: type[BaseModel] = Experiment
    for part in location:
        nested = _section(section, part)
        if nested is None:
            break
        section = nested
    return list(section.model_fields)


@cache
def all_paths() -> tuple[str, ...]:
    """Return the dotted path of every setting, outer ones first."""
    return tuple(sorted(_paths(Experiment, ""), key=lambda path: path.count(".")))


def _paths(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name in section.model_fields:
        yield f"{prefix}{name}"
        if (nested := _section(section, name)) is not None:
            yield from _paths(nested, f"{prefix}{name}.")


def _section(section: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the section that a setting holds, if it holds one."""
    field = section.model_fields.get(name)
    if field is None:
        return None
    union = get_origin(field.annotation) in {Union, types.UnionType}
    options = get_args(field.annotation) if union else (field.annotation,)
    nested = (o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return next(nested, None)
