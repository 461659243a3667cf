"""``fedsafe data``: look at training data and prompts, before anything is trained or asked."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsafe.cli import data_files
from fedsafe.cli.text import safe

if TYPE_CHECKING:
    from fedsafe.contracts import Sample
    from fedsafe.data.tokenisation import Tokenised

app = typer.Typer(
    help="Look at training data and prompts, check files by hash.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _commands() -> None:
    """Look at training data and prompts, check files by hash."""


data_files.register(app)


@app.command(epilog="Example: fedsafe data show my.jsonl --model ./my-model --limit 2")
def show(
    file: Annotated[str, typer.Argument(help="A data file, or SOURCE:key=value,...")],
    template: Annotated[str, typer.Option(help="Template that makes text of a sample.")] = "chat",
    model: Annotated[
        str, typer.Option(help="Model whose tokenizer is used: micro, a directory, a hub name.")
    ] = "micro",
    limit: Annotated[int, typer.Option(min=1, help="Samples to print.")] = 3,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens of a sample; data.max_length.")] = (
        512
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Print samples as the model sees them, with the text that loss is taken on in ⟦ ⟧.

    All samples are read and tokenised, so that what does not fit is counted; no weights
    are loaded.
    """
    from fedsafe.contracts import sources, templates
    from fedsafe.data.tokenisation import tokenise
    from fedsafe.deployment.client.options import read_data
    from fedsafe.experiment.schema import Model
    from fedsafe.models.files import load_tokenizer, locate

    choice = read_data(file)
    samples = sources[choice.name].configure(choice.settings)(0)
    tokenizer = load_tokenizer(locate(Model(path=model)))
    render = templates[template].configure({})
    tokenised = tokenise(samples, tokenizer, lambda one: render(tokenizer, one), max_length)
    left_out = dict(getattr(samples, "left_out", {}))
    rows = _rows(tokenised, tokenizer, limit)
    if as_json:
        counts = {"dropped": tokenised.dropped, "truncated": tokenised.truncated}
        record = {"samples": len(samples), **counts, "left_out": left_out, "shown": rows}
        typer.echo(json.dumps(record))
        return
    _print(rows)
    _summary(samples, tokenised, left_out)


def _rows(tokenised: "Tokenised", tokenizer: Any, limit: int) -> list[list[dict[str, Any]]]:
    """Return the first samples in stretches, a mapping each."""
    from dataclasses import asdict

    from fedsafe.data.mask import stretches

    return [
        [asdict(stretch) for stretch in stretches(tokenised, index, tokenizer)]
        for index in range(min(limit, len(tokenised.sequences)))
    ]


def _print(rows: list[list[dict[str, Any]]]) -> None:
    from fedsafe.cli.tables import console

    for number, row in enumerate(rows, 1):
        with_loss = sum(stretch["tokens"] for stretch in row if stretch["weight"])
        count = sum(stretch["tokens"] for stretch in row)
        console().print(f"[bold]sample {number}[/bold]: {count} tokens, {with_loss} with loss")
        console().print("".join(map(_marked, row)), soft_wrap=True, highlight=False)
        console().print()


def _marked(stretch: dict[str, Any]) -> str:
    """Return a stretch with its mark; dim without loss."""
    text = safe(stretch["text"])
    if not stretch["weight"]:
        return f"[dim]{text}[/dim]" if text else ""
    weight = "" if stretch["weight"] == 1 else f"x{stretch['weight']:g} "
    target = f"→{safe(stretch['target'])} " if stretch["target"] else ""
    return f"[green]⟦{weight}{target}{text}⟧[/green]"


def _summary(samples: "Sequence[Sample]", tokenised: "Tokenised", left_out: dict[str, int]) -> None:
    from fedsafe.cli.tables import console

    notes = [f"{len(samples)} samples"]
    if tokenised.dropped:
        notes.append(f"{tokenised.dropped} dropped: the prompt leaves no room for a response")
    if tokenised.truncated:
        notes.append(f"{tokenised.truncated} cut to the length")
    notes += [f"left out: {times} {what}" for what, times in left_out.items()]
    console().print("; ".join(map(safe, notes)) + ".")
