"""``fedsafe watch``: follow a run from another terminal, by the events in its directory."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsafe.cli.text import Interrupted, shown
from fedsafe.runs.layout import RunFile

if TYPE_CHECKING:
    from fedsafe.runs.events import Event, Listener
    from fedsafe.runs.records import Summary
    from fedsafe.runs.run_view import RunView

LOOK_SECONDS = 0.5
"""Between two looks at the files of a run that goes on."""
SILENCE_SECONDS = 90.0
"""A run says how it is every half minute. One that has not for so long, and whose lock nobody
holds here, has been killed; another machine's locks may be out of sight."""


def register(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(rich_help_panel="Look up", epilog="Example: fedsafe watch runs/my")(watch)


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    once: Annotated[
        bool, typer.Option("--once", help="Print where the run is now, and end.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print its events as JSON lines; one with --once.")
    ] = False,
) -> None:
    """Follow a run that another terminal, or a server, is at work on; end when it ends.

    It reads files alone, so a directory shared with another machine will do. The exit code is 0
    where the run is completed or goes on, and 1 where it failed or was stopped.
    """
    from fedsafe.cli.directories import existing

    existing(run)
    if once:
        _once(run, as_json=as_json)
        return
    try:
        state, reason = _follow(run, as_json=as_json)
    except KeyboardInterrupt:
        raise Interrupted("the run itself goes on.") from None
    _finish(run, state, reason, as_json=as_json)
    if state != "completed":
        raise typer.Exit(1)


def _once(run: Path, *, as_json: bool) -> None:
    from fedsafe.deployment.server.event_tail import EventTail
    from fedsafe.deployment.server.status import read_status
    from fedsafe.runs.run_view import RunView

    view = RunView()
    EventTail(run / RunFile.EVENTS, view, whole=True).drain()
    state, reason = _state(run, view.heard)
    waiting = read_status(run).waiting
    if as_json:
        found = {"state": state, "reason": reason, **view.plain(), "waiting": waiting}
        typer.echo(json.dumps({"directory": str(run), **found}))
        return
    from fedsafe.cli.tables import pairs

    told = state + (f": {reason}" if reason else "")
    awaited = [("waits for", ", ".join(map(str, waiting)))] if waiting else []
    pairs([("run", shown(run)), ("state", told), *_lines(view, state), *awaited])


def _lines(view: "RunView", state: str) -> Iterator[tuple[str, str]]:
    from fedsafe.cli.log_lines import probe_line
    from fedsafe.report.measures import duration

    if view.stage:
        yield "stage", view.stage
    if view.finished:
        yield "finished", ", ".join(dict.fromkeys(view.finished))
    if view.rounds:
        which = "control round" if view.federation == "control" else "round"
        yield which, f"{view.round} of {view.rounds}"
    if view.stopped:
        yield "early stop", view.stopped
    last = view.plain()["last_round"]
    if view.last is not None:
        counts = ", ".join(f"{last[name]} {name}" for name in ("accepted", "dropped", "missing"))
        yield "last round", f"{last['round']}: {len(view.last.cohort)} asked, {counts}"
        if probe := probe_line(view.last):
            yield "probe", probe
        rate = last["tokens_per_second"]
        pace = f"{duration(view.last.seconds)} a round"
        yield "throughput", pace if rate is None else f"{rate:.0f} tokens a second, {pace}"
    if state != "running":
        return
    if view.left:
        yield "time left", f"{duration(view.left)} of this federation"
    if view.activity:
        done, total = view.activity.get("done"), view.activity.get("total")
        yield "at work", f"{view.activity['activity']} {done} of {total}"
    yield "heard", f"{duration(max(0.0, time.time() - view.heard))} ago"


def _follow(run: Path, *, as_json: bool) -> tuple[str, str]:
    """Show the events of a run until it ends; return its state and the reason for it."""
    from fedsafe.cli.console import display
    from fedsafe.deployment.server.event_tail import EventTail

    heard = [0.0]

    with display(as_json=as_json) as listen:
        show = listen if as_json else _with_bars(listen)

        def hear(event: "Event") -> None:
            heard[0] = max(heard[0], event.time)
            show(event)

        tail = EventTail(run / RunFile.EVENTS, hear, whole=True)
        while True:
            tail.drain()
            state, reason = _state(run, heard[0])
            if state != "running":
                tail.drain()  # what was written between the two looks
                return state, reason
            time.sleep(LOOK_SECONDS)


def _with_bars(listen: "Listener") -> "Callable[[Event], None]":
    """Show progress events as the activity that they tell of, which moves a terminal's bars."""
    from fedsafe.runs.progress import ACTIVITIES

    kinds = {name: (kind, done, total) for kind, (name, done, total) in ACTIVITIES.items()}

    def show(event: "Event") -> None:
        listen(event)
        if event.kind == "progress" and event.data.get("activity") in kinds:
            kind, done, total = kinds[event.data["activity"]]
            data: dict[str, Any] = {done: event.data.get("done"), total: event.data.get("total")}
            listen(replace(event, kind=kind, data=data))

    return show


def _state(run: Path, heard: float) -> tuple[str, str]:
    """Return a run's state and its reason: running, completed, failed, interrupted or stopped."""
    from fedsafe.deployment.server.status import read_status
    from fedsafe.runs.run_list import is_running

    if is_running(run):
        return "running", ""
    status = read_status(run)
    if status.state == "stopped" and time.time() - heard < SILENCE_SECONDS:
        return "running", ""
    return status.state, status.reason


def _finish(run: Path, state: str, reason: str, *, as_json: bool) -> None:
    from fedsafe.cli.tables import before_after
    from fedsafe.runs.store import Store

    summary: Summary | None = Store(run).summary()
    if as_json:
        typer.echo(json.dumps({"kind": "watch-end", "state": state, "reason": reason}))
        return
    if summary is not None and summary.stages:
        before_after(summary, run)
    typer.echo(f"{shown(run)} is {state}" + (f": {reason}" if reason else "."))
