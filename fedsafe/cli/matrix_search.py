"""``fedsafe matrix search``: an attack's worst setting, with each rule and defense of a matrix."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fedsafe.cli.matrix_options import (
    Changes,
    CpusPerStage,
    File,
    Gpus,
    GpusPerStage,
    Json,
    Only,
    Output,
    Ray,
    Results,
    Workers,
    labels_of,
    pool_of,
)
from fedsafe.cli.text import Interrupted, safe, settings, shown

if TYPE_CHECKING:
    from fedsafe.runs.search_records import SearchRecord


def search(  # noqa: PLR0917 - each is an option of the command line
    file: File,
    output: Output = None,
    changes: Changes = None,
    only: Only = None,
    workers: Workers = 1,
    gpus: Gpus = "",
    ray: Ray = "",
    cpus_per_stage: CpusPerStage = 1.0,
    gpus_per_stage: GpusPerStage = 0.0,
    results: Results = "",
    as_json: Json = False,
) -> None:
    """Search an attack's settings for its worst case, with each rule and defense.

    FILE has a section `search:`: what is tried, within what loss of skill, how many runs. The
    worst setting is measured again with fresh seeds. The same command goes on where it stopped.
    """
    from fedsafe.app import activate
    from fedsafe.cli import matrix_display
    from fedsafe.matrix.definition import read
    from fedsafe.matrix.directory import default_directory, narrowed
    from fedsafe.matrix.publish import publish
    from fedsafe.matrix.searching import run_search

    activate()
    definition = narrowed(read(file), settings(changes), labels_of(only))
    directory, each = output or default_directory(definition), (cpus_per_stage, gpus_per_stage)
    pool = pool_of(workers, gpus, ray, *each, results)
    try:
        with matrix_display.progress(as_json=as_json) as tell:
            record = run_search(definition, directory, pool, tell)
    except KeyboardInterrupt:
        raise Interrupted("what is done is kept. Go on with the same command.") from None
    _show(record, directory, publish(directory), as_json=as_json)


def _show(record: "SearchRecord", directory: Path, page: Path, *, as_json: bool) -> None:
    if as_json:
        places = {"directory": str(directory), "report": str(page)}
        typer.echo(json.dumps({"kind": "search", **record.plain(), **places}))
        return
    show_search(record)
    typer.echo(f"runs     {shown(directory / 'cells')}\nreport   {shown(page)}")


def show_search(record: "SearchRecord") -> None:
    """Print what a search found."""
    from fedsafe.cli.tables import console, plain_table
    from fedsafe.report import search_section as texts

    out = console()
    rows = plain_table(title=f"{safe(record.name)}: {record.direction} {safe(record.measure)}")
    for heading in texts.headings(record)[:-1]:
        rows.add_column(safe(heading.rpartition(".")[2]), overflow="fold")
    settings = []
    for found in record.results:
        *cells, setting = map(safe, texts.row(record, found))
        rows.add_row(*cells)
        settings.append(f"[bold]{', '.join(map(safe, found.labels.values()))}[/bold]  {setting}")
    out.print(rows)
    for line in settings:
        out.print(line, soft_wrap=True)
    for note in texts.notes(record):
        out.print(f"[dim]{safe(note)}[/dim]", soft_wrap=True)
