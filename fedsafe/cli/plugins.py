"""``fedsafe plugins``: what there is to choose from, and how each is set."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsafe.cli.text import safe
from fedsafe.errors import PluginError
from fedsafe.plugin_modules import search_current

if TYPE_CHECKING:
    from fedsafe.plugins import Plugin, Registry

app = typer.Typer(
    help="Look up rules, defenses, judges and every other plug-in.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("list")
def list_plugins(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, such as rule.")] = None,
    as_json: Json = False,
) -> None:
    """List the plug-ins by kind, with a sentence each."""
    registries = _registries()
    chosen = [_registry(kind)] if kind else list(registries.values())
    if as_json:
        entries = {
            registry.kind: [
                {"name": name, "summary": registry[name].summary, "badge": registry[name].badge}
                for name in registry
            ]
            for registry in chosen
        }
        typer.echo(json.dumps(entries))
        return
    from fedsafe.cli.tables import console, pairs

    for registry in chosen:
        if len(registry):
            console().print(f"[bold]{safe(registry.kind)}[/bold]")
            pairs((name, registry[name].summary) for name in registry)
            console().print()
    console().print("[dim]fedsafe plugins show KIND NAME   for settings and sources[/dim]")


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help="A kind, such as rule.")],
    name: Annotated[str, typer.Argument(help="A name, or module:object.")],
    as_json: Json = False,
) -> None:
    """Show one plug-in: what it does, its paper, what it needs, its settings.

    KIND and NAME are those of `fedsafe plugins list`; NAME may be a module:object path.
    """
    search_current()
    plugin = _registry(kind)[name]
    if as_json:
        told = {**_facts(plugin), "settings": list(_settings(plugin)), **_accepted(plugin)}
        typer.echo(json.dumps(told, default=str))
        return
    from fedsafe.cli.annotations import prose
    from fedsafe.cli.tables import console, plugin_settings

    out, facts = console(), _facts(plugin)
    out.print(f"[bold]{safe(plugin.name)}[/bold]  [dim]{safe(plugin.kind)}[/dim]\n")
    out.print(safe(prose(plugin.description)))
    out.print()
    for label in ("paper", "badge", "claim", "needs", "cost", "place"):
        if text := facts[label]:
            out.print(f"[dim]{label:<6}[/dim] {safe(text)}")
    plugin_settings(list(_settings(plugin)))
    if plugin.kind == "defense":
        from fedsafe.cli.acceptance import show_card
        from fedsafe.runs.acceptance import shipped

        show_card(shipped(plugin.name), plugin.name)


def _accepted(plugin: "Plugin[Any]") -> dict[str, Any]:
    """Return the acceptance card of one of our defenses, under its own name."""
    from fedsafe.runs.acceptance import shipped

    card = shipped(plugin.name) if plugin.kind == "defense" else None
    return {} if card is None else {"acceptance": card.plain()}


def _registries() -> "dict[str, Registry[Any]]":
    from fedsafe.app import activate
    from fedsafe.contracts import REGISTRIES

    activate()
    return REGISTRIES


def _registry(kind: str) -> "Registry[Any]":
    """Return the registry of a kind, singular or plural.

    Raises:
        PluginError: There is no such kind.
    """
    registries = _registries()
    registry = registries.get(kind) or registries.get(kind.removesuffix("s"))
    if registry is None:
        from fedsafe.plugins import suggestion

        raise PluginError(
            f"There is no plug-in kind '{kind}'.{suggestion(kind, list(registries))} "
            f"Kinds: {', '.join(registries)}."
        )
    return registry


def _facts(plugin: "Plugin[Any]") -> dict[str, str]:
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "summary": plugin.summary,
        "description": plugin.description,
        **plugin.about,
        "needs": ", ".join(filter(None, (_cohort(plugin), plugin.about["needs"]))),
    }


def _cohort(plugin: "Plugin[Any]") -> str:
    """Say how many clients a rule needs, with its own defaults as the example."""
    if plugin.minimum is None:
        return ""
    formula = str(plugin.minimum)
    needed = "" if formula.startswith("<") else formula
    if any(field.is_required() for field in plugin.schema.model_fields.values()):
        return f"at least {needed} clients a round" if needed else ""
    count = plugin.minimum(**plugin.resolve())
    text = f"{needed} clients a round; {count}" if needed else f"{count} clients a round"
    return f"at least {text} with the defaults"


def _settings(plugin: "Plugin[Any]") -> Iterator[dict[str, Any]]:
    """Yield each setting with its type, default and help."""
    from fedsafe.cli.annotations import describe, documented

    helps = documented(plugin.description)
    for name, field in plugin.schema.model_fields.items():
        yield {
            "name": name,
            "type": describe(field.annotation, field.metadata),
            "required": field.is_required(),
            "default": None if field.is_required() else field.default,
            "help": field.description or helps.get(name, ""),
        }
