"""``fedsafe data list``, ``prompts``, ``manifest``, ``verify``: what is there, files by hash."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsafe.cli.text import safe, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedsafe.contracts import Prompt
    from fedsafe.data.manifest import Verified
    from fedsafe.launch.data_inventory import Item

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
COLORS = {"ok": "green", "changed": "red", "missing": "yellow"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list", epilog="Example: fedsafe data list my.yaml")(list_data)
    app.command(epilog="Example: fedsafe data prompts harmful_behaviors.csv")(prompts)
    app.command(epilog="Example: fedsafe data manifest *.csv -o manifest.json")(manifest)
    app.command(epilog="Example: fedsafe data verify manifest.json")(verify)


def list_data(
    experiment: Annotated[
        str | None,
        typer.Argument(help="List what this experiment names: a file, a preset, a run directory."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Change a setting of it first; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List data, policies and models at hand, or those that an experiment names; no texts.

    At hand is what comes with FedSafe and what lies in its cache and the hub's. Each has its
    size, sha256, and licence where that is known. `fedsafe plugins list source` and `list suite`
    name what makes data by code.
    """
    from dataclasses import asdict

    from fedsafe.app import activate
    from fedsafe.experiment import load
    from fedsafe.launch.data_inventory import at_hand, named_by

    activate()
    found = list(at_hand() if experiment is None else named_by(load(experiment, changes or ())))
    if as_json:
        typer.echo(json.dumps([{**asdict(one), "missing": one.missing} for one in found]))
    else:
        _print_items(found)


def _print_items(found: "Sequence[Item]") -> None:
    from fedsafe.cli.tables import console, plain_table
    from fedsafe.report.measures import size

    table = plain_table()
    table.add_column("name", overflow="fold", ratio=2)
    table.add_column("what for", overflow="fold", ratio=3)
    for heading in ("size", "sha256", "licence"):
        table.add_column(heading)
    for one in found:
        large = size(one.bytes) if one.bytes is not None else ""
        told = "[red]missing[/red]" if one.missing else large
        name = shown(Path(one.name)) if one.name == one.path else one.name
        table.add_row(safe(name), safe(one.purpose), told, one.sha256[:12], safe(one.licence))
    console().print(table)


def prompts(
    file: Annotated[Path, typer.Argument(help="A file of prompts.")],
    suite: Annotated[str, typer.Option(help="Suite that reads it, such as injected.")] = "file",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="name=value", help="Setting of the suite; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed, for drawn prompts.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="Prompts to print.")] = 3,
    reveal: Annotated[bool, typer.Option("--reveal", help="Print what the prompts say.")] = False,
    as_json: Json = False,
) -> None:
    """Print what an evaluation would ask from a file: form, columns, purposes, near-duplicates."""
    from fedsafe.app import activate
    from fedsafe.cli.text import settings
    from fedsafe.evaluation.clusters import clusters_of

    activate()
    known, found = _read(file.expanduser(), suite, settings(changes), seed)
    record = {
        **known,
        "prompts": len(found),
        "purposes": dict(Counter(prompt.purpose for prompt in found)),
        "topics": dict(Counter(prompt.topic for prompt in found if prompt.topic)),
        "clusters": len(set(clusters_of(found).values())),
        "shown": [_row(prompt, reveal=reveal) for prompt in found[:limit]],
    }
    if as_json:
        typer.echo(json.dumps(record))
    else:
        _print(file, record)


def _read(
    file: Path, suite: str, given: dict[str, Any], seed: int
) -> tuple[dict[str, Any], list["Prompt"]]:
    """Return what is known of a file, and its prompts."""
    from fedsafe.contracts import suites
    from fedsafe.evaluation.suite_files import read_suite
    from fedsafe.evaluation.suite_rows import Reading
    from fedsafe.runs.files import file_digest

    chosen = suites[suite]
    resolved = chosen.resolve({"path": file, **given})
    known: dict[str, Any] = {}
    if suite == "file":
        path = resolved.pop("path")
        read = read_suite(path, Reading(**resolved), seed)
        known = {"form": read.form, "columns": dict(read.columns), "rows": read.rows}
        found = read.prompts
    else:
        found = list(chosen.configure({"path": file, **given})(seed))
    return {"suite": suite, **known, "sha256": file_digest(file)}, found


def _row(prompt: "Prompt", *, reveal: bool) -> dict[str, Any]:
    """Return a prompt as it is shown: its texts by their length unless they are revealed."""
    texts = {
        name: text if reveal else f"{len(text)} characters"
        for name in ("instruction", "input", "prefill", "witness")
        if (text := getattr(prompt, name))
    }
    return {"id": prompt.id, "purpose": prompt.purpose, "topic": prompt.topic, **texts}


def _print(file: Path, record: dict[str, Any]) -> None:
    from fedsafe.cli.tables import console, pairs

    columns = ", ".join(f"{part}: {name}" for part, name in record.get("columns", {}).items())
    rows = f" of {record['rows']} rows" if "rows" in record else ""
    facts = {
        "file": shown(file),
        "form": record.get("form", f"suite {record['suite']}"),
        "columns": columns,
        "prompts": f"{record['prompts']}{rows}: {_counts(record['purposes'])}",
        "topics": _counts(record["topics"]),
        "independent": f"{record['clusters']} clusters of near-duplicates or groups",
        "sha256": record["sha256"],
    }
    pairs((name, text) for name, text in facts.items() if text)
    for row in record["shown"]:
        rest = {name: text for name, text in row.items() if name != "id" and text}
        said = "; ".join(f"{name}: {text}" for name, text in rest.items())
        console().print(f"[bold]{safe(row['id'])}[/bold]  {safe(said)}", soft_wrap=True)


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items())


def manifest(
    files: Annotated[list[Path], typer.Argument(help="Files to hash.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help=".json, .yaml, or lines as of sha256sum."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Write a manifest of files: their sha256, for `fedsafe data verify`."""
    from fedsafe.data.manifest import write_manifest

    entries = write_manifest([file.expanduser() for file in files], output.expanduser())
    if as_json:
        listed = [{"path": entry.path, "sha256": entry.sha256} for entry in entries]
        typer.echo(json.dumps({"manifest": str(output), "files": listed}))
        return
    typer.echo(f"{len(entries)} files in {shown(output)}")


def verify(
    file: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="JSON, YAML, CSV, or sha256sum lines.")
    ],
    root: Annotated[
        Path | None, typer.Option(help="Where the files lie; else beside the manifest.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check files against a manifest of hashes; exit code 1 if one is missing or changed."""
    from fedsafe.data import manifest as manifests

    found = manifests.verify(file.expanduser(), root)
    good = all(one.state == "ok" for one in found)
    if as_json:
        listed = [
            {"path": one.path, "state": one.state, "expected": one.expected, "found": one.found}
            for one in found
        ]
        typer.echo(json.dumps({"ok": good, "files": listed}))
    else:
        _print_verified(found)
    if not good:
        raise typer.Exit(1)


def _print_verified(found: list["Verified"]) -> None:
    from fedsafe.cli.tables import console

    for one in found:
        color = COLORS[one.state]
        hashes = f": expected {one.expected[:12]}…, got {one.found[:12]}…"
        rest = hashes if one.state == "changed" else ""
        state = f"[{color}]{one.state:8}[/{color}]"
        console().print(f"{state} {safe(one.path)}{rest}", soft_wrap=True)
    console().print(f"{_counts(Counter(one.state for one in found))}")
