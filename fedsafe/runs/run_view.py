"""What a run is at, told from its events alone: stage, round, replies, throughput, time left."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from fedsafe.runs.events import Event
from fedsafe.runs.records import Round
from fedsafe.runs.round_figures import accepted, dropped, tokens_per_second

AT_WORK = frozenset({"stage", "round", "rounds", "activity", "done", "total", "rate", "left"})
"""What a ``progress`` event tells of the activity in hand."""


@dataclass
class RunView:
    """A listener that remembers where the run is."""

    stage: str = ""
    finished: list[str] = field(default_factory=list)
    """Stages that have ended, in order."""
    federation: str = ""
    """``main`` or ``control``; empty before the first round."""
    round: int = 0
    """Round under way, or the last one that ended."""
    rounds: int = 0
    stopped: str = ""
    """Why a safety alarm stopped this federation; empty: none did."""
    last: Round | None = None
    """The last round that ended, of this federation."""
    activity: dict[str, Any] = field(default_factory=dict)
    """What is in hand and how far: activity, done, total, rate, left; empty: not told."""
    heard: float = 0.0
    """Time of the last event, seconds since the epoch."""
    _seconds: list[float] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        self.heard = max(self.heard, event.time)
        data = event.data
        self.activity = {}
        if event.kind == "stage-start":
            self.stage = _text(data, "stage")
        elif event.kind == "stage-end":
            self.finished.append(_text(data, "stage"))
        elif event.kind == "round-start":
            self._begin_round(data)
        elif event.kind == "round-end":
            self._end_round(data)
        elif event.kind == "early-stop":
            self.stopped = event.message
        elif event.kind == "progress" and "activity" in data:
            self.activity = {name: data[name] for name in AT_WORK & data.keys()}

    @property
    def left(self) -> float | None:
        """Seconds that this federation will take, by the mean of its rounds; None: not known."""
        if not self._seconds or self.last is None:
            return None
        if self.stopped:
            return 0.0
        return sum(self._seconds) / len(self._seconds) * max(self.rounds - self.last.round, 0)

    def plain(self) -> dict[str, Any]:
        """Return what is known as JSON values."""
        last = self.last
        found: dict[str, Any] = {
            "stage": self.stage,
            "finished": self.finished,
            "federation": self.federation,
            "round": self.round,
            "rounds": self.rounds,
            "early_stop": self.stopped,
            "seconds_left": self.left,
            "activity": self.activity,
            "heard": self.heard,
            "last_round": None,
        }
        if last is not None:
            found["last_round"] = {
                "round": last.round,
                "cohort": last.cohort,
                "accepted": accepted(last),
                "dropped": dropped(last),
                "missing": sum(client.status == "missing" for client in last.clients),
                "probe": {}
                if last.probe is None
                else last.probe.model_dump(mode="json")["measures"],
                "tokens_per_second": tokens_per_second(last),
                "seconds": last.seconds,
            }
        return found

    def _begin_round(self, data: Mapping[str, Any]) -> None:
        federation = _text(data, "federation") or "main"
        if federation != self.federation:
            self.federation, self.last, self._seconds = federation, None, []
            self.stopped = ""
        self.round, self.rounds = _number(data, "round"), _number(data, "rounds")

    def _end_round(self, data: Mapping[str, Any]) -> None:
        try:
            self.last = Round.model_validate(data.get("record"))
        except ValidationError:
            return
        self.federation = _text(data, "federation") or "main"
        self.round, self.rounds = self.last.round, _number(data, "rounds") or self.rounds
        self._seconds.append(self.last.seconds)


def _measures(record: Round) -> dict[str, Any]:
    probe = record.probe
    return {} if probe is None else {k: v.plain() for k, v in probe.measures.items()}


def _text(data: Mapping[str, Any], name: str) -> str:
    return str(data.get(name) or "")


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if isinstance(value, int) else 0
