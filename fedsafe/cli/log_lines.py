"""Format run events as log lines: stages, rounds, clients dropped and why.

The same lines serve a terminal and a log.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from fedsafe.cli.text import safe
from fedsafe.report.measures import (
    NEW_SKILL,
    NONE,
    OVER_REFUSAL,
    REFUSAL,
    Measure,
    duration,
    percent,
)
from fedsafe.runs.events import Event
from fedsafe.runs.records import Rate, Round, Scores
from fedsafe.runs.round_figures import (
    accepted,
    malicious_share,
    median_loss,
    tokens_per_second,
)

HEADER = (
    f"  {'round':>7}  {'replies':>7}  {'loss':>7}  {'refusal':>8}  {'new skill':>9}  "
    f"{'malicious':>9}  {'time':>7}  left"
)
TITLES = {"main": "Federation", "control": "Clean control"}
SHOWN_DROPS = 3


class LogLines:
    """Formats events as lines of rich markup."""

    def __init__(self) -> None:
        self._federation = ""
        self._rounds = 0
        self._seconds: list[float] = []
        self._done = 0
        self.tokens_per_second: float | None = None
        """Of the last round: tokens that clients trained on, over its wall time."""

    def lines(self, event: Event) -> Iterator[str]:
        """Yield the log lines of an event; for many events none."""
        tell: dict[str, Callable[[Event], Iterator[str]]] = {
            "run-start": self._start,
            "note": self._note,
            "early-stop": self._early_stop,
            "stage-end": self._stage,
            "round-start": self._round_start,
            "round-end": self._round_end,
            "progress": self._progress,
        }
        if event.kind in tell:
            yield from tell[event.kind](event)

    def left(self) -> float | None:
        """Estimate the remaining seconds of this federation from its past rounds."""
        if not self._seconds:
            return None
        return sum(self._seconds) / len(self._seconds) * max(self._rounds - self._done, 0)

    def _start(self, event: Event) -> Iterator[str]:
        name, directory = event.data.get("name", ""), event.data.get("directory", "")
        text = event.message or f"{name} in {directory}"
        yield f"[bold]{safe(text)}[/bold]"

    def _note(self, event: Event) -> Iterator[str]:
        if event.message:
            yield f"  [dim]{safe(event.message)}[/dim]"

    def _early_stop(self, event: Event) -> Iterator[str]:
        self._done = self._rounds  # no more are to come
        yield f"  [bold yellow]{safe(event.message)}[/bold yellow]"

    def _progress(self, event: Event) -> Iterator[str]:
        data = event.data
        place = f"{data.get('stage', '')}"
        if "round" in data:
            place += f" round {data['round']}/{data.get('rounds', '')}"
        if "activity" not in data:
            yield f"  [dim]{safe(place)}: at work for {duration(data.get('seconds', 0))}[/dim]"
            return
        text = f"{place}: {data['activity']} {data.get('done')} of {data.get('total')}"
        if "rate" in data:
            text += f", {_rate(data['rate'])}, {duration(data.get('left', 0))} left"
        yield f"  [dim]{safe(text)}[/dim]"

    def _stage(self, event: Event) -> Iterator[str]:
        name = safe(event.data.get("stage", ""))
        scores = _scores(event.data.get("scores"))
        text = _headlines(scores)
        took = duration(seconds) if (seconds := event.data.get("seconds")) else ""
        yield f"[bold]{name:<22}[/bold] {text}  [dim]{took}[/dim]"

    def _round_start(self, event: Event) -> Iterator[str]:
        federation = str(event.data.get("federation", "main"))
        if federation == self._federation:
            return
        self._federation, self._seconds = federation, []
        self._rounds = int(event.data.get("rounds", 0))
        yield f"[bold]{safe(TITLES.get(federation, federation))}[/bold], {self._rounds} rounds"
        yield f"[dim]{HEADER}[/dim]"

    def _round_end(self, event: Event) -> Iterator[str]:
        try:
            record = Round.model_validate(event.data.get("record"))
        except ValidationError:
            return
        self._seconds.append(record.seconds)
        self._done = record.round
        self.tokens_per_second = tokens_per_second(record)
        yield self._row(record)
        dropped = [client for client in record.clients if client.status in ("dropped", "failed")]
        for client in dropped[:SHOWN_DROPS]:
            yield f"  [yellow]client {client.client} dropped: {safe(client.reason)}[/yellow]"
        if len(dropped) > SHOWN_DROPS:
            yield f"  [yellow]and {len(dropped) - SHOWN_DROPS} more dropped[/yellow]"

    def _row(self, record: Round) -> str:
        found = median_loss(record)
        loss = NONE if found is None else f"{found:#.4g}"
        probe = record.probe or Scores()
        share = malicious_share(record.clients)
        color = "red" if share else "green" if share == 0 else "dim"
        number = f"{record.round}/{self._rounds}" if self._rounds else f"{record.round}"
        replies = f"{accepted(record)}/{len(record.cohort)}"
        left = self.left()
        return (
            f"  {number:>7}  {replies:>7}  {loss:>7}  {_value(probe.refusal):>8}  "
            f"{_value(probe.skills.new):>9}  [{color}]{percent(share):>9}[/{color}]  "
            f"{duration(record.seconds):>7}  [dim]{duration(left) if left else ''}[/dim]"
        ).rstrip()


def probe_line(record: Round) -> str:
    """Return the measures of a round's small evaluation as text; empty where there was none."""
    return _headlines(record.probe or Scores())


def _rate(a_second: float) -> str:
    """Return a rate in the unit in which it is at least one, down to minutes."""
    return f"{a_second:.1f} a second" if a_second >= 1 else f"{a_second * 60:.1f} a minute"


def _scores(found: object) -> Scores:
    try:
        return Scores.model_validate(found if isinstance(found, Mapping) else {})
    except ValidationError:
        return Scores()


def _headline(scores: Scores) -> list[tuple[Measure, Any]]:
    return [(m, m.read(scores)) for m in (REFUSAL, NEW_SKILL, OVER_REFUSAL)]


def _headlines(scores: Scores) -> str:
    return "  ".join(
        f"{measure.label.lower()} {percent(rate.value)}"
        for measure, rate in _headline(scores)
        if rate is not None
    )


def _value(rate: Rate | None) -> str:
    return percent(None if rate is None else rate.value)
