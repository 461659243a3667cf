"""The files of an evaluation: replies once, verdicts and scores once for each judge.

``exchanges.jsonl`` has the replies; ``verdicts/KEY.jsonl`` and ``scores/KEY.json`` what one
judge made of them; ``scores.json`` repeats the scores of the last one.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedsafe.contracts import Exchange, Prompt, Verdict, judges
from fedsafe.errors import RunError
from fedsafe.experiment.schema import PluginChoice
from fedsafe.redaction import masked
from fedsafe.runs.files import (
    digest,
    file_digest,
    read_lines,
    write_json,
    write_lines,
    write_text,
)
from fedsafe.runs.scores import PLAIN, Scores

EXCHANGES, CHECKSUM = "exchanges.jsonl", "exchanges.sha256"


def exchanges(directory: Path, prompts: Sequence[Prompt]) -> list[Exchange] | None:
    """Return the replies of an earlier evaluation; None where they are not whole.

    Replies that were changed since they were written are not whole: they are generated anew.
    """
    path, checksum = directory / EXCHANGES, directory / CHECKSUM
    if not path.is_file():
        return None
    if checksum.is_file() and checksum.read_bytes() != _checksum(path):
        return None
    by_id = {prompt.id: prompt for prompt in prompts}
    try:
        return [_exchange(row, by_id) for row in read_lines(directory / EXCHANGES)]
    except (KeyError, TypeError, ValueError):
        return None


def replies(directory: Path) -> list[dict[str, Any]]:
    """Return the rows of an evaluation as they were kept; none where it has no directory.

    Raises:
        RunError: They are not there, or were changed since they were written.
    """
    path, checksum = directory / EXCHANGES, directory / CHECKSUM
    if not directory.is_dir():
        return []
    if not path.is_file() or (checksum.is_file() and checksum.read_bytes() != _checksum(path)):
        raise RunError(
            f"The replies in {path} are missing or were changed. Evaluate the run again: `fedsafe "
            f"evaluate {directory.parents[1]}`."
        )
    return records(path)


def records(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of an evaluation.

    Raises:
        RunError: It is not there, or a line is no JSON object.
    """
    reason = "it is not there"
    try:
        found = read_lines(path)
        if path.is_file() and all(isinstance(row, dict) for row in found):
            return found
        reason = "a line is no object" if found else reason
    except ValueError as error:
        reason = str(error)
    raise RunError(f"{path} cannot be read: {reason}. Evaluate or judge the run again.")


def keep_exchanges(directory: Path, found: Sequence[Exchange]) -> None:
    """Write replies, with what is needed to read them, and no verdict."""
    write_lines(
        directory / EXCHANGES,
        [
            {
                "id": exchange.prompt.id,
                "purpose": exchange.prompt.purpose,
                "topic": exchange.prompt.topic,
                "skill": exchange.prompt.skill,
                "condition": exchange.condition,
                "prefill": exchange.prefill,
                "instruction": exchange.prompt.instruction,
                "reply": exchange.reply,
                **({} if exchange.loss is None else {"loss": exchange.loss}),
            }
            for exchange in found
        ],
    )
    write_text(directory / CHECKSUM, _checksum(directory / EXCHANGES).decode())


def _checksum(path: Path) -> bytes:
    """Return the line that ``sha256sum`` prints of a file."""
    return f"{file_digest(path)}  {path.name}\n".encode()


def judge_key(choice: PluginChoice) -> str:
    """Return a file name for what a judge says: its name, and a digest of its settings.

    Settings that change no verdict, such as a budget, are no part of it.
    """
    plugin = judges[choice.name]
    extra = {name: of.json_schema_extra for name, of in plugin.schema.model_fields.items()}
    settings = {
        name: value
        for name, value in plugin.resolve(choice.settings).items()
        if extra.get(name) != {"changes_verdicts": False}
    }
    name = choice.name.replace(":", "-").replace("/", "-")
    return f"{name}-{digest(choice.name, settings)[:8]}"


def keep_verdicts(
    directory: Path,
    choice: PluginChoice,
    found: Sequence[Exchange],
    verdicts: Sequence[Verdict],
) -> tuple[str, str]:
    """Write one judge's verdicts; return its key, and the file relative to the directory."""
    key = judge_key(choice)
    rows = [
        {
            "id": exchange.prompt.id,
            "condition": exchange.condition,
            "outcome": verdict.outcome,
            "correct": verdict.correct,
            "raw": verdict.raw,
            "score": verdict.score,
            **({} if verdict.safe is None else {"safe": verdict.safe}),
        }
        for exchange, verdict in zip(found, verdicts, strict=True)
    ]
    path = f"verdicts/{key}.jsonl"
    write_lines(directory / path, rows)
    return key, path


def keep_scores(directory: Path, choice: PluginChoice, target: str, found: Scores) -> None:
    """Write one judge's scores, and again as the last ones; secret settings are left out."""
    judged_by = {"name": choice.name, **masked(choice.settings)}
    record = {"target": target, "judge": judged_by, "scores": found.model_dump(mode="json")}
    write_json(directory / "scores" / f"{found.judge}.json", record)
    write_json(directory / "scores.json", record)


def skipped(directory: Path) -> dict[str, str]:
    """Return the conditions that an evaluation could not ask, with the reasons."""
    try:
        record = json.loads((directory / "scores.json").read_text(encoding="utf-8"))
        return Scores.model_validate(record["scores"]).skipped
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _exchange(row: dict[str, Any], by_id: dict[str, Prompt]) -> Exchange:
    """Return the exchange of a row; rows of earlier versions say ``prefilled`` alone."""
    prompt = by_id[row["id"]]
    forced = row.get("prefilled") is True
    condition = row.get("condition") or ("prefilled" if forced else PLAIN)
    prefill = row.get("prefill", prompt.prefill if forced else "")
    return Exchange(prompt, row["reply"], condition, prefill, row.get("loss"))
