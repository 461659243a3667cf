"""Export of a run's frames as JSONL, CSV or parquet files; texts are withheld unless revealed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fedsafe.integrations.output_files import replaced
from fedsafe.library import read_run

if TYPE_CHECKING:
    import pandas as pd

TEXTS: Final = ("instruction", "reply", "prefill", "raw")
"""Columns of exchanges that hold text of prompts, of the model or of a judge."""
FRAMES: Final = ("stages", "rounds", "clients", "exchanges")


def export_tables(directory: Path, form: str, output: Path, *, reveal: bool = False) -> list[Path]:
    """Write the frames of `fedsafe.read_run`, a file each.

    Args:
        directory: A run directory, finished or not.
        form: ``jsonl``, ``csv`` or ``parquet``.
        output: Directory to write to; files of the same names are replaced.
        reveal: Write prompts and replies; else their lengths alone.

    Returns:
        The files.

    Raises:
        RunError: It is no run directory, or one of its files is broken.
    """
    run = read_run(directory)
    frames: dict[str, Any] = {name: getattr(run, name) for name in FRAMES}
    if not reveal:
        frames["exchanges"] = withheld(frames["exchanges"])
    for name, frame in frames.items():
        with replaced(output / f"{name}.{form}") as aside:
            WRITERS[form](frame, aside)
    return [output / f"{name}.{form}" for name in frames]


def withheld(exchanges: "pd.DataFrame") -> "pd.DataFrame":
    """Return a frame of exchanges with the number of characters in place of each text."""
    found = exchanges.copy()
    for name in TEXTS:
        if name in found:
            found[f"{name}_characters"] = found[name].fillna("").astype(str).str.len()
    return found.drop(columns=[name for name in TEXTS if name in found])


def _jsonl(frame: "pd.DataFrame", path: Path) -> None:
    frame.to_json(path, orient="records", lines=True, force_ascii=False, double_precision=15)


def _csv(frame: "pd.DataFrame", path: Path) -> None:
    _flat(frame).to_csv(path, index=False)


def _parquet(frame: "pd.DataFrame", path: Path) -> None:
    _flat(frame).to_parquet(path, index=False)


def _flat(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a frame whose lists and mappings are JSON texts: one type a column."""
    found = frame.copy()
    for name in found.columns:
        if found[name].map(lambda value: isinstance(value, list | Mapping)).any():
            found[name] = found[name].map(_json_text)
    return found


def _json_text(value: object) -> str | None:
    return None if value is None or value != value else json.dumps(value, ensure_ascii=False)  # noqa: PLR0124 - NaN


WRITERS: Final[Mapping[str, Callable[["pd.DataFrame", Path], None]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": _parquet,
}
