"""Progress display: live bars on a terminal, log lines otherwise, or JSON lines."""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from fedsafe.cli import tables
from fedsafe.cli.log_lines import LogLines
from fedsafe.cli.text import safe
from fedsafe.report.measures import duration
from fedsafe.runs.events import Event, Listener
from fedsafe.runs.progress import ACTIVITIES

ROUNDS = "[bold]round[/bold]"


@contextmanager
def display(*, as_json: bool) -> Iterator[Listener]:
    """Yield an event listener: live bars, log lines, or JSON lines."""
    if as_json:
        yield _write_json
        return
    console = tables.console()
    journal = LogLines()
    if not console.is_terminal:
        yield lambda event: _print(console, journal, event)
        return
    with _bars(console) as bars:
        yield LiveDisplay(console, journal, bars)


def _print(console: Console, journal: LogLines, event: Event) -> None:
    for line in journal.lines(event):
        console.print(line, soft_wrap=True)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(style="cyan"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28, complete_style="cyan"),
        TextColumn("{task.fields[count]}"),
        TextColumn("[dim]{task.fields[detail]}[/dim]"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        refresh_per_second=5,
    )


class LiveDisplay:
    """Live display: log lines above progress bars for the round and its activity."""

    def __init__(self, console: Console, journal: LogLines, bars: Progress) -> None:
        self._console = console
        self._journal = journal
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._move("loading", 0, None)

    def __call__(self, event: Event) -> None:
        """Show one event; its bars say what a progress event would."""
        if event.kind == "progress":
            return
        _print(self._console, self._journal, event)
        if event.kind in ACTIVITIES:
            self._activity(event)
        elif event.kind == "stage-start":
            self._clear()
            self._move(f"[bold]{safe(event.data.get('stage', ''))}[/bold]", 0, None)
        elif event.kind == "round-start":
            self._clear(but=ROUNDS)
            self._round(event.data.get("round", 1) - 1, event.data.get("rounds"))
        elif event.kind == "round-end":
            self._clear(but=ROUNDS)
            done, rounds = event.data.get("record", {}).get("round", 0), event.data.get("rounds")
            self._round(done, rounds)
        elif event.kind in {"stage-end", "run-end"}:
            self._clear()

    def _round(self, done: int, rounds: int | None) -> None:
        left, rate = self._journal.left(), self._journal.tokens_per_second
        told = [f"{duration(left)} left"] if left else []
        told += [f"{rate:.0f} tokens a second"] if rate else []
        self._move(ROUNDS, done, rounds, ", ".join(told))

    def _activity(self, event: Event) -> None:
        label, done, total = ACTIVITIES[event.kind]
        loss = event.data.get("loss")
        detail = f"loss {loss:.3f}" if isinstance(loss, float) and math.isfinite(loss) else ""
        self._move(label, event.data.get(done, 0), event.data.get(total), detail)

    def _move(self, label: str, done: int, total: int | None, detail: str = "") -> None:
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=total, detail="", count="")
        self._bars.update(
            self._tasks[label],
            completed=done,
            total=total,
            detail=detail,
            count=f"{done}/{total}" if total else "",
        )

    def _clear(self, but: str = "") -> None:
        """Take the bars away, all but one."""
        for label in [label for label in self._tasks if label != but]:
            self._bars.remove_task(self._tasks.pop(label))


def _write_json(event: Event) -> None:
    line = {"time": round(event.time, 3), "kind": event.kind, "message": event.message}
    sys.stdout.write(json.dumps(_finite({**line, **event.data}), default=str) + "\n")
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    """Return a value that JSON can hold: no NaN, no infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_finite(item) for item in value]
    return value
