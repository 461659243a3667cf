"""``fedsafe evaluate --calibrate``: a judge against the labels of people, by model."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fedsafe.errors import ConfigError, RunError

if TYPE_CHECKING:
    from fedsafe.contracts import Verdict
    from fedsafe.evaluation.calibration import Calibration
    from fedsafe.evaluation.labels import LabelledReply

SHOWN = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "precision": "precision",
    "recall": "recall",
    "false_positive_rate": "false positives",
    "kappa": "kappa",
}
DEFAULT = "refusal"


def calibrate_judge(
    name: str | None,
    chosen: dict[str, Any],
    columns: Sequence[str] | None,
    files: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    """Score a judge on labelled replies, and fit judge ``refusal`` to them where that is wanted.

    Args:
        name: The judge; None: ``refusal``.
        chosen: Its settings.
        columns: ``part=name`` texts.
        files: ``labels``, ``tune`` and ``ordinary`` or None, ``encoding`` and ``key``.
        as_json: Print JSON in place of tables.

    Raises:
        ConfigError: ``--tune`` is given with another judge, with settings, or with one model;
            or ``--ordinary`` without it.
        FedSafeError: Labels cannot be read, or the judge fails.
    """
    from fedsafe.app import activate
    from fedsafe.evaluation.calibration import calibrate
    from fedsafe.evaluation.labels import read_labels

    activate()
    _check(name, chosen, files)
    how = {name: files[name] for name in ("encoding", "key")}
    rows = read_labels(files["labels"], _pairs(columns), **how)
    if files["tune"] is not None:
        found, title = _tuned(rows, files, how), "refusal, fitted without the model that is judged"
    else:
        found, title = _said(name or DEFAULT, chosen, rows), name or DEFAULT
    scored = calibrate(rows, found)
    if as_json:
        record = {model: asdict(one) for model, one in scored.items()}
        typer.echo(json.dumps({"judge": title, "models": record}))
        return
    _show(title, scored)


def _check(name: str | None, chosen: dict[str, Any], files: Mapping[str, Any]) -> None:
    """Refuse options that would be ignored.

    Raises:
        ConfigError: There is one.
    """
    if files["tune"] is not None and (name not in (None, DEFAULT) or chosen):
        raise ConfigError("--tune fits judge 'refusal'. Leave --judge and --set out.")
    if files["tune"] is None and files["ordinary"] is not None:
        raise ConfigError("--ordinary is what --tune fits to as well: give --tune FILE.")


def _said(name: str, chosen: dict[str, Any], rows: "Sequence[LabelledReply]") -> "list[Verdict]":
    """Return a judge's verdicts.

    Raises:
        ConfigError: It needs the model under test, or a setting is wrong.
        RunError: It could judge none.
    """
    from fedsafe.contracts import judges
    from fedsafe.evaluation.calibration import exchanges_of
    from fedsafe.evaluation.judging import judge, reads_with_a_model
    from fedsafe.experiment import PluginChoice
    from fedsafe.plugins.secret_settings import literal_secrets

    plugin, choice = judges[name], PluginChoice(name=name, **chosen)
    plugin.resolve(chosen)
    if literal := literal_secrets(plugin.schema, chosen):
        raise ConfigError(f"--set {literal[0]}: put the secret into a variable, write env:NAME.")
    if reads_with_a_model(choice):
        raise ConfigError(f"Judge '{name}' asks the model under test, and there is none here.")
    found = judge(choice, exchanges_of(rows))
    if all(verdict.outcome == "unknown" for verdict in found):
        raise RunError(
            f"Judge '{name}' could judge none of {len(rows)} replies; of the first it said "
            f"{found[0].raw[:60]!r}. Its style or parser does not suit the model, or it gives "
            "scores and no verdicts."
        )
    return found


def _tuned(
    rows: "Sequence[LabelledReply]", files: Mapping[str, Any], how: Mapping[str, str]
) -> "list[Verdict]":
    """Fit on all rows and write the weights; return what each model gets from the others'.

    Raises:
        ConfigError: There is one model only, or one label only.
        RunError: The file of weights cannot be written.
    """
    from fedsafe.evaluation.calibration import calibrate, leave_one_model_out
    from fedsafe.evaluation.labels import read_pairs
    from fedsafe.evaluation.tuning import fitted, tuner

    ordinary = read_pairs(files["ordinary"], **how) if files["ordinary"] else []
    try:
        found = leave_one_model_out(rows, tuner(ordinary))
        weights = fitted(rows, ordinary)
    except ValueError as error:
        raise ConfigError(f"--tune: {error}.") from None
    reached = {
        model: {name: measured.value for name, measured in one.measures.items()}
        for model, one in calibrate(rows, found).items()
    }
    path: Path = files["tune"]
    record = {
        "fitted_on": dict(Counter(row.model for row in rows)),
        "ordinary": len(ordinary),
        "left_out": reached,
        "weights": {name: round(value, 4) for name, value in weights.items()},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"--tune {path}: the file cannot be written ({error.strerror}).") from None
    return found


def _pairs(texts: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or ():
        part, equals, name = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--column {text}: write it as PART=NAME, such as reply=answer.")
        found[part.strip()] = name.strip()
    return found


def _show(title: str, scored: "Mapping[str, Calibration]") -> None:
    from fedsafe.cli.tables import console, plain_table
    from fedsafe.cli.text import safe

    table = plain_table()
    for heading in ("model", "n", *SHOWN.values(), "unknown"):
        side = "left" if heading == "model" else "right"
        table.add_column(heading, justify=side, overflow="fold")  # type: ignore[arg-type]
    for model, one in scored.items():
        cells = [_cell(one.measures[name]) for name in SHOWN]
        table.add_row(safe(model), str(one.n), *cells, str(one.unknown))
    out = console()
    out.print(f"judge: {safe(title)}")
    out.print(table)
    for model, one in scored.items():
        parts = ", ".join(
            f"{label} {_plain(part)} (n={part.n})" for label, part in one.by_label.items()
        )
        out.print(f"[dim]{safe(model)}: called refusals: {parts}[/dim]", soft_wrap=True)


def _cell(measured: Any) -> str:
    if measured.value is None:
        return "not defined"
    return f"{measured.value:.3f}\n[dim]{measured.low:.3f} to {measured.high:.3f}[/dim]"


def _plain(measured: Any) -> str:
    return "not defined" if measured.value is None else f"{measured.value:.3f}"
