"""Plug-ins: functions found by name, whose keyword-only parameters are their settings.

A registry holds one kind. The signature of a plug-in is its schema: an unknown or
mistyped setting is an error that names it. Built-ins are found by importing their
package, those of others by entry point (``fedsafe.rules`` and so on) or by a
``module:object`` path. Knows nothing of what any plug-in does.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from fedsafe.app import ROLES, activate
from fedsafe.errors import ConfigError, PluginError
from fedsafe.plugin_modules import imported
from fedsafe.plugins.defense_card import DefenseCard
from fedsafe.plugins.secret_settings import with_secrets
from fedsafe.plugins.signatures import misfit, settings_of
from fedsafe.suggestions import suggestion
from fedsafe.validation_errors import problems_of

__all__ = ["Plugin", "Registry", "suggestion"]

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
    card: DefenseCard | None = None
    """Of what defends: its claim, needs and cost."""

    @property
    def summary(self) -> str:
        """First sentence of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    @property
    def description(self) -> str:
        """Whole docstring."""
        return inspect.getdoc(self.function) or ""

    @property
    def about(self) -> dict[str, str]:
        """Paper and badge, and what the defense card says, if there is one; empty texts else."""
        card = self.card or DefenseCard(claim="", cost="")
        return {
            "paper": self.paper,
            "badge": self.badge,
            "claim": card.claim,
            "needs": ", ".join(card.needs),
            "cost": card.cost,
            "place": card.place if self.card else "",
        }

    @cached_property
    def schema(self) -> type[BaseModel]:
        """Pydantic model of the keyword-only parameters."""
        return settings_of(self.function, self.name)

    def problems(self, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return every wrong setting as (name, sentence); empty when all are right."""
        try:
            self.schema(**settings)
        except ValidationError as error:
            return problems_of(error, settings, self._unknown)
        except TypeError as error:  # a name that no function's setting can have
            return [("", f"a setting has a name that cannot be used ({error}). Correct it.")]
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

    def cannot(self, settings: Mapping[str, Any] | None = None) -> str:
        """Return why a defense cannot run with right settings, from its card; "" where it can."""
        if self.card is None or self.card.cannot is None:
            return ""
        return self.card.cannot(**self.resolve(settings))

    def configure(self, settings: Mapping[str, Any] | None = None) -> F:
        """Return the function with its settings bound, after checking them.

        A setting ``env:NAME`` is the value of that environment variable.

        Raises:
            ConfigError: A setting is wrong, or there is no such variable.
        """
        bound = with_secrets(self.resolve(settings))
        return partial(self.function, **bound)  # type: ignore[return-value]

    def _unknown(self, location: Sequence[int | str]) -> str:
        known = list(self.schema.model_fields)
        hint = suggestion(str(location[-1]), known)
        listed = ", ".join(known) or "none"
        return f"unknown setting of {self.kind} '{self.name}'.{hint} Settings: {listed}."


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
        card: DefenseCard | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function under a name."""

        def register(function: F) -> F:
            known = self._plugins.get(name)
            if known is not None and _where(known.function) != _where(function):
                raise PluginError(
                    f"Two {self.kind}s are named '{name}': {_where(known.function)} and "
                    f"{_where(function)}. Rename one of them."
                )
            self._plugins[name] = Plugin(
                name, self.kind, function, paper, minimum, badge, frozenset(traits), label, card
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

    def chosen(self, choice: str | Mapping[str, Any]) -> tuple[Plugin[F], dict[str, Any]]:
        """Return the plug-in of a name or of ``{name: NAME, setting: value}``, and the settings.

        Raises:
            ConfigError: The choice has no name.
            PluginError: There is no such plug-in.
        """
        settings = {"name": choice} if isinstance(choice, str) else dict(choice)
        name = settings.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(
                f"Every {self.kind} needs a name, such as {{name: {next(iter(self), 'NAME')}}}."
            )
        return self[name], settings

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
                function = entry.load()
                self._check(function, entry.value)
                self(entry.name)(function)
        self._loaded = True

    def _from_path(self, path: str) -> Plugin[F]:
        function = imported(path, self.kind)
        self._check(function, path)
        registered = (known for known in self._plugins.values() if known.function is function)
        if (known := next(registered, None)) is not None:  # what it was registered with holds
            return replace(known, name=path)
        return Plugin(path, self.kind, function)

    def _check(self, function: F, path: str) -> None:
        """See that somebody's function is called as those of this kind are.

        Raises:
            PluginError: It is not.
        """
        if isinstance(function, type) and self.kind == "rule" and _flower_strategy(function):
            return
        if reason := misfit(function, (plugin.function for plugin in self._plugins.values())):
            raise PluginError(f"'{path}' is no {self.kind}: {reason}.")


def _flower_strategy(function: type) -> bool:
    """Tell whether a class is a Flower Strategy, without importing Flower."""
    return any(base.__module__.split(".")[0] == "flwr" for base in function.__mro__)


def _where(function: Callable[..., Any]) -> str:
    """Return module and name, the same when a module is merely imported again."""
    return f"{function.__module__}:{getattr(function, '__qualname__', function)}"
