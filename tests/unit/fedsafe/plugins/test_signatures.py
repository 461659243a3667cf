"""A plug-in's signature: what its settings take, and how a function of its kind is called."""

import random
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from fedsafe.app import activate
from fedsafe.contracts import REGISTRIES
from fedsafe.errors import PluginError
from fedsafe.plugins.signatures import data_of, misfit, settings_of

activate()


def example(updates: Any, state: Any, /, *, share: float = 0.1) -> None: ...


def loose(updates: Any, state: Any, *, share: float = 0.1) -> None: ...


def one(updates: Any, /) -> None: ...


def greedy(updates: Any, state: Any, /, **settings: Any) -> None: ...


def starred(updates: Any, state: Any, /, *more: Any) -> None: ...


class Called:
    def __call__(self, updates: Any, state: Any, /, *, share: float = 0.1) -> None: ...


@pytest.mark.parametrize("function", [example, Called(), partial(example, share=0.2)])
def test_function_of_the_kind_fits(function: Callable[..., Any]) -> None:
    assert misfit(function, [example]) == ""


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (loose, "its parameter 'updates' is neither data nor a setting"),
        (one, r"it takes 1 data parameters (updates), expected (updates, state, /, *, settings)"),
        (greedy, "it takes '**settings: Any'"),
        (starred, "it takes '*more: Any'"),
        (Called, "it is a class"),
        (print, "it takes '*args'"),
        (len, "it takes 1 data parameters (obj), expected (updates, state, /, *, settings)"),
        (min, "it is of a signature that Python cannot read"),
    ],
)
def test_what_does_not_fit_is_said(function: Callable[..., Any], reason: str) -> None:
    assert reason in misfit(function, [example])


def test_kind_without_plugins_is_not_checked() -> None:
    assert misfit(loose, []) == ""


@pytest.mark.parametrize("kind", REGISTRIES)
def test_plugins_of_a_kind_are_called_alike(kind: str) -> None:
    registry = REGISTRIES[kind]
    counts = {len(data_of(registry[name].function) or ()) for name in registry}
    assert len(counts) == (2 if kind == "judge" else 1)  # a judge may be given the model


@pytest.mark.parametrize("kind", REGISTRIES)
@pytest.mark.parametrize("path", ["os:system", "json:loads", "builtins:len", "random:Random"])
def test_standard_library_has_no_plugins(kind: str, path: str) -> None:
    with pytest.raises(PluginError, match="standard library"):
        REGISTRIES[kind][path]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_function_without_data_is_no_plugin_of_any_kind(kind: str) -> None:
    with pytest.raises(PluginError, match=f"is no {kind}: it takes 0 data parameters"):
        REGISTRIES[kind]["tests.doubles.signatures:nothing"]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "3"),
        (int, True),
        (int, 3.0),
        (float, "0.5"),
        (float, True),
        (bool, 1),
        (bool, "yes"),
        (int | None, "3"),
        (tuple[int, ...], ["3"]),
        (dict[str, float], {"a": "1"}),
        (Annotated[int, Field(ge=1)], "3"),
        (list[Annotated[float, Field(gt=0)]], [True]),
    ],
)
def test_setting_converts_nothing(annotation: Any, value: object) -> None:
    def plugin(data: Any, /, *, setting: Any) -> None: ...

    plugin.__annotations__["setting"] = annotation
    with pytest.raises(ValidationError):
        settings_of(plugin, "plugin")(setting=value)


def test_settings_of_a_callable_object_are_read() -> None:
    assert list(settings_of(Called(), "called").model_fields) == ["share"]


def test_stream_is_not_a_setting() -> None:
    def plugin(data: Any, rng: random.Random, /) -> None: ...

    assert not settings_of(plugin, "plugin").model_fields
