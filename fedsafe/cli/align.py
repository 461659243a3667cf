"""``fedsafe align``: fine-tune a model to a policy, and leave a PEFT adapter that holds it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsafe.cli.command import inline, show_experiment, work
from fedsafe.cli.text import shown
from fedsafe.errors import ConfigError

if TYPE_CHECKING:
    from fedsafe.experiment import Experiment

POLICY = "policy"
"""The setting of plug-ins that take a policy, and the source that draws aligned data from one."""


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    example = "fedsafe align --model models/smollm2 --policy my-policy.yaml -o aligned"
    app.command(rich_help_panel="Do", epilog=f"Example: {example}")(align)


def align(  # noqa: PLR0917 - each is an option of the command line
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Base model: a directory or a hub name.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where to; laid out as a run.")
    ],
    policy: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="A shipped policy's name, or a policy's YAML file."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Aligned data of your own: a file, or NAME:key=value."),
    ] = None,
    experiment: Annotated[
        str, typer.Option(metavar="EXPERIMENT", help="Preset or file: adapter, suites, judge.")
    ] = POLICY,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Such as alignment.steps=90; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and print the experiment, start nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines, the summary last.")
    ] = False,
) -> None:
    """Align a base model: evaluate it, fine-tune an adapter to a policy, evaluate that.

    The adapter lies in DIR/alignment/adapter; a federation begins from it with
    --set adapter.start=DIR/alignment/adapter. The same command goes on where it stopped.
    """
    from fedsafe.app import activate
    from fedsafe.experiment import load
    from fedsafe.launch import preflight

    activate()
    chosen = load(experiment, changes or ())
    values = chosen.model_dump(mode="json")
    values |= {"attack": None, "defenses": [], "model": {**values["model"], "path": model}}
    _set_policy(values, policy, source)
    if values["alignment"] is None:
        raise ConfigError(
            "Nothing says what to align to. Give --policy with a policy's YAML file, --source with "
            "aligned data, or an experiment with a section alignment."
        )
    resolved: Experiment = load(values, (), preflight.look)
    if dry_run:
        show_experiment(resolved, output, as_json=as_json)
        return
    summary = work(
        output,
        lambda listen: inline().align(resolved, output, listen),
        as_json=as_json,
        again="the same command",
    )
    if not as_json and summary.stages:
        typer.echo(f"adapter  {shown(output / summary.stages[-1].path)}")


def _set_policy(values: dict[str, Any], policy: str | None, source: str | None) -> None:
    """Put a policy into every plug-in that takes one, and the aligned data into the alignment."""
    alignment = values["alignment"] or {}
    if source is not None:
        from fedsafe.deployment.client.options import read_data

        alignment["source"] = read_data(source).model_dump(mode="json")
    if policy is not None:
        alignment.setdefault("source", {"name": POLICY})
        alignment_only = {"alignment": alignment, "evaluation": values["evaluation"]}
        _put(alignment_only, policy)
    values["alignment"] = alignment or None


def _put(value: Any, policy: str) -> None:
    if isinstance(value, list):
        for item in value:
            _put(item, policy)
    elif isinstance(value, dict):
        if _takes_policy(value.get("name")):
            value[POLICY] = policy
        for item in value.values():
            _put(item, policy)


def _takes_policy(name: object) -> bool:
    """Whether a plug-in of that name has a setting for a policy."""
    from fedsafe.contracts import REGISTRIES

    if not isinstance(name, str):
        return False
    known = (registry[name] for registry in REGISTRIES.values() if name in registry)
    return any(POLICY in plugin.schema.model_fields for plugin in known)
