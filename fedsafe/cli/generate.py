"""``fedsafe generate``: let a model write attack pairs, refusals or helpful answers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fedsafe.cli.text import Interrupted, shown
from fedsafe.errors import ConfigError
from fedsafe.plugin_modules import search_current

if TYPE_CHECKING:
    from fedsafe.experiment.schema import PluginChoice
    from fedsafe.pipeline.data_factory.opening import Inputs

KindName = Annotated[
    Literal["attack", "refusals", "helpful"],
    typer.Argument(help="Restricted requests complied with or refused, or ordinary help."),
]
ModelName = Annotated[
    str, typer.Option(metavar="MODEL", help="The writer: micro, a directory, a hub name.")
]
Count = Annotated[int, typer.Option("-n", "--count", min=1, help="Pairs.")]
Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE", help="JSONL; the card lies beside it.")
]
AdapterHome = Annotated[
    Path | None, typer.Option(metavar="DIR", help="PEFT adapter that the model writes with.")
]
RedTeam = Annotated[
    bool, typer.Option("--red-team", help="Attack pairs are meant; needed by kind attack.")
]
Ask = Annotated[str | None, typer.Option(metavar="TEXT", help="Instruction that yields a request.")]
Frame = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Instruction around {request} that yields its reply."),
]
Words = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Unsafe topic: beginnings of words its requests have."),
]
JudgeName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Chooses the pairs; or {name: NAME, setting: value}."),
]
ExperimentName = Annotated[
    str | None,
    typer.Option(metavar="EXPERIMENT", help="No pair repeats an evaluation prompt of it."),
]
Compared = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="Other data, such as a defense's; overlap is counted."),
]
Alike = Annotated[float | None, typer.Option(min=0.1, max=1, help="Similarity of near-duplicates.")]
Temperature = Annotated[float, typer.Option(min=0.01, max=10, help="Of the requests.")]
Longest = Annotated[int | None, typer.Option(min=1, help="Longest request and reply.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all draws.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the card as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    example = "fedsafe generate refusals --model micro -n 100 -o refusals.jsonl"
    app.command(rich_help_panel="Do", epilog=f"Example: {example}")(generate)


def generate(  # noqa: PLR0917 - each is an option of the command line
    kind: KindName,
    model: ModelName,
    count: Count,
    output: Output,
    adapter: AdapterHome = None,
    red_team: RedTeam = False,
    ask: Ask = None,
    frame: Frame = None,
    words: Words = None,
    judge: JudgeName = None,
    experiment: ExperimentName = None,
    compare: Compared = None,
    alike: Alike = None,
    temperature: Temperature = 1.0,
    max_new_tokens: Longest = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Write data with a model: parsed, without duplicates, filtered by a judge, with a card.

    The same command gives the same bytes, and goes on where it was interrupted.
    """
    from fedsafe.pipeline.data_factory.opening import Inputs

    if kind == "attack" and not red_team:
        raise ConfigError(
            "attack pairs are for declared red teams only. Add --red-team to say that this is "
            "meant."
        )
    search_current()
    given: dict[str, Any] = {"ask": ask, "frame": frame, "alike": alike, "seed": seed}
    given |= {"temperature": temperature, "max_new_tokens": max_new_tokens}
    given |= {"judge": None if judge is None else _judge(judge)}
    given |= {"words": None if words is None else tuple(filter(None, words.split(",")))}
    inputs = Inputs(kind, model, adapter, experiment, tuple(compare or ()), given)
    card = _write(inputs, count, output.expanduser(), quiet=as_json)
    _show(card, output, as_json=as_json)


def _write(inputs: "Inputs", count: int, output: Path, *, quiet: bool) -> dict[str, Any]:
    from fedsafe.pipeline.data_factory.opening import open_factory

    def tell(text: str) -> None:
        if not quiet:
            typer.echo(text)

    try:
        return open_factory(inputs).write(count, output, tell)
    except KeyboardInterrupt:
        raise Interrupted("what is done is kept. Go on with the same command.") from None


def _show(card: dict[str, Any], output: Path, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**card, "file": str(output)}))
        return
    left_out = "; ".join(f"{number} {why}" for why, number in card["dropped"].items())
    typer.echo(f"{card['rows']} pairs in {shown(output)}, of {card['drawn']} texts drawn.")
    typer.echo(f"left out: {left_out or 'nothing'}")


def _judge(text: str) -> "PluginChoice":
    """Read a judge: its name, or a YAML mapping with name and settings.

    Raises:
        ConfigError: It is neither, or there is no such judge.
    """
    from fedsafe.contracts import judges
    from fedsafe.experiment.schema import PluginChoice
    from fedsafe.experiment.yaml_text import scalar_or_collection

    value = scalar_or_collection(text)
    if not isinstance(value, str) and not (isinstance(value, dict) and "name" in value):
        raise ConfigError(f"--judge {text}: write a name, or {{name: NAME, setting: value}}.")
    choice = PluginChoice.model_validate(value)
    judges[choice.name].resolve(choice.settings)
    return choice
