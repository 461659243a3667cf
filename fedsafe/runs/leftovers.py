"""Recognise a run directory that holds no run: empty, or left by a failed start."""

from pathlib import Path

from fedsafe.runs.layout import RunFile

LEFTOVERS = frozenset({RunFile.EVENTS, RunFile.REPORT, RunFile.PLUGIN_PATHS})
"""Files that may lie in a directory in which no run ever began, beside hidden ones."""


def holds_no_run(directory: Path) -> bool:
    """Tell whether a directory is free for a run: absent, empty, or left by an early end."""
    if not directory.is_dir():
        return not directory.exists()
    names = (path.name for path in directory.iterdir())
    return all(name.startswith(".") or name in LEFTOVERS for name in names)
