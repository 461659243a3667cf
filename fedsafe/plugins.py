"""Plug-ins: functions found by name, whose keyword-only parameters are their settings.

A registry holds one kind. The signature of a plug-in is its schema: an unknown or
mistyped setting is an error that names it. Built-ins are found by importing their
package, those of others by entry point (``fedsafe.rules`` and so on) or by a
``module:object`` path. Knows nothing of what any plug-in does.
"""

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from fedsafe.app import ROLES, activate
from fedsafe.errors import ConfigError, PluginError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Plugin(Generic[F]):
    """One named function, with what a user needs to choose and set it."""

    name: str
    kind: str
    function: F
    paper: str = ""
    minimum: Callable[..., int] | None = None
    """Smallest number of clients as a function of the settings; None: one is enough."""
    badge: str = ""
    """For defenses: faithful, simplified or variant, with the difference named."""
    traits: frozenset[str] = frozenset()
    """Promises that the property tests hold the plug-in to."""
    label: str = ""
    """Heading in tables and charts; empty: made of the name."""

    @property
    def summary(self) -> str:
        """First sentence of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    @property
    def description(self) -> str:
        """Whole docstring."""
        return inspect.getdoc(self.function) or ""

    @cached_property
    def schema(self) -> type[BaseModel]:
        """Pydantic model of the keyword-only parameters."""
        settings = [
            parameter
            for parameter in inspect.signature(self.function).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        hints = _hints(self.function, [parameter.name for parameter in settings])
        fields: dict[str, Any] = {
            parameter.name: (
                hints.get(parameter.name, Any),
                ... if parameter.default is parameter.empty else parameter.default,
            )
            for parameter in settings
        }
        config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
        return create_model(f"{self.name} settings", __config__=config, **fields)

    def problems(self, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return every wrong setting as (name, sentence); empty when all are right."""
        try:
            self.schema(**settings)
        except ValidationError as error:
            return [self._explain(detail, settings) for detail in error.errors()]
        return []

    def resolve(self, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return all settings, defaults included.

        Raises:
            ConfigError: A setting is unknown, missing or of the wrong type.
        """
        settings = dict(settings or {})
        if problems := self.problems(settings):
            listed = "; ".join(f"{name}: {text}" if name else text for name, text in problems)
            raise ConfigError(f"{self.kind.capitalize()} '{self.name}' cannot be set up: {listed}")
        model = self.schema(**settings)
        return {name: getattr(model, name) for name in type(model).model_fields}

    def configure(self, settings: Mapping[str, Any] | None = None) -> F:
        """Return the function with its settings bound, after checking them."""
        return partial(self.function, **self.resolve(settings))  # type: ignore[return-value]

    def _explain(self, detail: ErrorDetails, settings: Mapping[str, Any]) -> tuple[str, str]:
        name = ".".join(map(str, detail["loc"]))
        if detail["type"] != "extra_forbidden":
            got = "" if detail["type"] == "missing" else f" (got {detail['input']!r})"
            return name, f"{detail['msg']}{got}"
        known = list(self.schema.model_fields)
        hint = suggestion(name, known)
        listed = ", ".join(known) or "none"
        return name, f"unknown setting of {self.kind} '{self.name}'.{hint} Settings: {listed}."


@dataclass
class Registry(Generic[F]):
    """The plug-ins of one kind."""

    kind: str
    builtins: str
    """Package whose import registers our own."""
    group: str
    """Entry-point group of third-party packages."""
    _plugins: dict[str, Plugin[F]] = field(default_factory=dict)
    _loaded: bool = False

    def __call__(
        self,
        name: str,
        *,
        paper: str = "",
        minimum: Callable[..., int] | None = None,
        badge: str = "",
        traits: frozenset[str] | set[str] = frozenset(),
        label: str = "",
    ) -> Callable[[F], F]:
        """Register the decorated function under a name."""

        def register(function: F) -> F:
            known = self._plugins.get(name)
            if known is not None and not _same(known.function, function):
                raise PluginError(
                    f"Two {self.kind}s are named '{name}': {_where(known.function)} and "
                    f"{_where(function)}. Rename one of them."
                )
            self._plugins[name] = Plugin(
                name, self.kind, function, paper, minimum, badge, frozenset(traits), label
            )
            return function

        return register

    def __getitem__(self, name: str) -> Plugin[F]:
        """Return the plug-in of that name or ``module:object`` path.

        Raises:
            PluginError: There is none; the message suggests the nearest.
        """
        self._load()
        if name in self._plugins:
            return self._plugins[name]
        if ":" in name:
            return self._from_path(name)
        raise PluginError(
            f"Unknown {self.kind} '{name}'.{suggestion(name, list(self._plugins))} "
            f"Available: {', '.join(self)}; or give a module:object path."
        )

    def __iter__(self) -> Iterator[str]:
        """Yield the names, sorted."""
        self._load()
        return iter(sorted(self._plugins))

    def __len__(self) -> int:
        """Return how many plug-ins there are."""
        self._load()
        return len(self._plugins)

    def _load(self) -> None:
        if self._loaded:
            return
        if self.builtins.partition(".")[0] in ROLES:
            activate()
        importlib.import_module(self.builtins)
        for entry in entry_points(group=self.group):
            if entry.name not in self._plugins:
                self(entry.name)(_callable(entry.load(), entry.value))
        self._loaded = True

    def _from_path(self, path: str) -> Plugin[F]:
        module_name, _, attribute = path.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, TypeError, ValueError) as error:  # no module, or no name of one
            raise PluginError(
                f"{self.kind.capitalize()} '{path}' was not found: {error}. Install the package, "
                "or put its folder on PYTHONPATH."
            ) from None
        except AttributeError:
            raise PluginError(
                f"Module '{module_name}' has no '{attribute}', wanted by {self.kind} '{path}'."
            ) from None
        registered = (known for known in self._plugins.values() if known.function is found)
        if (known := next(registered, None)) is not None:  # what it was registered with holds
            return replace(known, name=path)
        return Plugin(path, self.kind, _callable(found, path))


def suggestion(name: str, known: list[str]) -> str:
    """Return `` Did you mean 'x'?`` for a near miss, or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def _callable(value: object, path: str) -> Any:
    if not callable(value):
        raise PluginError(f"'{path}' is a {type(value).__name__}, not a function.")
    return value


def _hints(function: Callable[..., Any], names: list[str]) -> dict[str, Any]:
    """Resolve the annotations of some parameters; data parameters stay unread.

    Data may be annotated with types imported for checkers only.
    """
    annotations = getattr(function, "__annotations__", {})
    holder = type(
        "Settings", (), {"__annotations__": {n: annotations[n] for n in names if n in annotations}}
    )
    return get_type_hints(holder, vars(sys.modules[function.__module__]), include_extras=True)


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Tell whether a module was merely imported again."""
    return _where(one) == _where(other)


def _where(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{getattr(function, '__qualname__', function)}"
