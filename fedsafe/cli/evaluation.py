"""``fedsafe evaluate`` and ``fedsafe judge``: other judges for a run, and judges against people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsafe.cli.command import inline, work
from fedsafe.cli.shields import shields_of
from fedsafe.cli.text import settings
from fedsafe.errors import ConfigError
from fedsafe.plugin_modules import search_current

if TYPE_CHECKING:
    from fedsafe.experiment import PluginChoice

Json = Annotated[bool, typer.Option("--json", help="Print JSON lines, the summary last.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="k=v", help="Set one of the judge's settings; repeatable."),
]
Files = Annotated[
    list[Path] | None,
    typer.Option("--labels", metavar="FILE", help="Replies labelled by people; repeatable."),
]

ShieldOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--shield",
        metavar="NAME[:k=v,...]",
        help="Also ask through this shield, as one that is served would be; repeatable.",
    ),
]
Tune = Annotated[
    Path | None,
    typer.Option("--tune", metavar="FILE", help="Also fit judge refusal to them; write there."),
]
Encoding = Annotated[
    str, typer.Option("--encoding", metavar="NAME", help="Of these files, such as cp1252.")
]
Key = Annotated[
    str, typer.Option("--key", metavar="NAME", help="Of the list, where JSON is an object.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="PART=NAME", help="Column of prompt, reply, label, model."),
]


def evaluate(  # noqa: PLR0917 - each is an option of the command line
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run directory.")] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="NAME", help="Judge with another judge.")
    ] = None,
    changes: Settings = None,
    shield: ShieldOptions = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Score a judge against the labels of people.")
    ] = False,
    labels: Files = None,
    columns: Columns = None,
    tune: Tune = None,
    ordinary: Annotated[
        Path | None,
        typer.Option("--ordinary", metavar="FILE", help="Ordinary questions and answers, to fit."),
    ] = None,
    encoding: Encoding = "",
    key: Key = "",
    as_json: Json = False,
) -> None:
    """Evaluate a run's models again; replies that are there are not generated anew.

    With --shield every stage is asked with and without its shields, in condition `shielded`.
    With --calibrate and --labels no run is looked at: a judge is scored against people.
    """
    if calibrate or labels or tune:
        from fedsafe.cli.calibration import calibrate_judge

        if run is not None or shield:
            what = "shield" if shield else "run"
            raise ConfigError(f"--calibrate scores a judge on files of labels: give no {what}.")
        if not labels:
            raise ConfigError("--calibrate takes files of labelled replies: --labels FILE.")
        chosen = settings(changes)
        files = {"labels": labels, "tune": tune, "ordinary": ordinary}
        search_current()
        how = {"encoding": encoding, "key": key}
        calibrate_judge(judge, chosen, columns, dict[str, Any](**files, **how), as_json=as_json)
        return
    if run is None:
        raise ConfigError("Give a run directory, or --calibrate with --labels.")
    from fedsafe.cli.directories import existing

    existing(run)
    search_current(run)
    chosen_judge = _judge(judge, settings(changes)) if judge or changes else None
    shields = shields_of(shield or ())
    work(
        run,
        lambda listen: inline().evaluate(run, listen, judge=chosen_judge, shields=shields),
        as_json=as_json,
        again="the same command",
    )


def judge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    judges: Annotated[
        list[str],
        typer.Option("--with", metavar="NAME", help="A judge; the first counts; repeatable."),
    ],
    changes: Settings = None,
    as_json: Json = False,
) -> None:
    """Judge the replies of a run again; the run's model is not loaded.

    What earlier judges said stays. Of several judges, the agreement is in the summary; settings
    are the first judge's.
    """
    from fedsafe.cli.directories import existing

    existing(run)
    search_current(run)
    first, *others = judges
    chosen = _judge(first, settings(changes))
    second = [_judge(name, {}) for name in others]
    work(
        run,
        lambda listen: inline().evaluate(run, listen, judge=chosen, second=second, load=False),
        as_json=as_json,
        again="the same command",
    )


def _judge(name: str | None, chosen: dict[str, Any]) -> "PluginChoice":
    if name is None:
        raise ConfigError("--set belongs to a judge: name it with --judge.")
    from fedsafe.app import activate
    from fedsafe.contracts import judges
    from fedsafe.experiment import PluginChoice

    activate()
    judges[name].resolve(chosen)
    return PluginChoice(name=name, **chosen)
