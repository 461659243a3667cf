"""Defenses that make their data in several passes: self-refined replies, purple-teaming."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fedsafe.contracts import DefenseTask, Exchange, Prompt, Verdict
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.defenses.purple_rounds import Progress, outcome, verdict_rows
from fedsafe.defenses.refinement import Refinement, asked
from fedsafe.errors import ConfigError
from fedsafe.evaluation.overlap import OverlapCounter
from fedsafe.experiment.load import load
from fedsafe.experiment.schema import PluginChoice
from fedsafe.models import adapters
from fedsafe.pipeline.run_defense import run_defense
from fedsafe.runs.events import Event, Events
from fedsafe.training.session import Session

REWRITE = "rewrite : request : {request} reply : {reply}"


def exchange(request: str, reply: str) -> Exchange:
    return Exchange(Prompt("0", request, "harmful"), reply)


def test_a_request_that_holds_a_place_is_not_filled_again() -> None:
    found = asked(REWRITE, exchange("say {reply}", "{critique}"), "bad")
    assert found == "rewrite : request : say {reply} reply : {critique}"


@pytest.mark.parametrize(
    ("request_", "reply"), [("a", "b"), ('say "{reply}"\n', '} \\ {"x": 1}'), ("", "b")]
)
def test_without_places_the_exchange_follows_as_json(request_: str, reply: str) -> None:
    found = asked("Rewrite.", exchange(request_, reply))
    data = json.loads(found.removeprefix("Rewrite.\n\n"))
    assert data == {k: v for k, v in (("request", request_), ("reply", reply)) if v}


@dataclass
class Critic:
    """Calls replies with 'fine' in them fine, and rewrites the others to nothing or to 'no'."""

    told: list[str] = field(default_factory=list)

    def write(self, texts: Sequence[str], **_: Any) -> list[str]:
        self.told += texts
        if any(text.startswith("critique") for text in texts):
            return ["the reply is fine ." if "fine" in text else "bad" for text in texts]
        return ["" if "mute" in text else "no" for text in texts]


def refined(replies: Sequence[str], fine: str) -> list[str]:
    task = DefenseTask({}, frozenset(), str, len, lambda *_: [], lambda *_: None)
    critic: Any = Critic()
    refine = Refinement(
        critic, task, "critique {request} {reply}", REWRITE, fine, 1, False, Counter()
    )
    return [one.reply for one in refine([exchange("ask", reply) for reply in replies])]


def test_a_critique_that_finds_nothing_leaves_the_reply() -> None:
    assert refined(["fine day", "harm"], "is fine") == ["fine day", "no"]


def test_without_a_gate_every_reply_is_rewritten_and_an_empty_one_leaves_the_old() -> None:
    assert refined(["fine day", "mute"], "") == ["no", "mute"]


def test_one_judge_that_calls_an_answer_unsafe_is_enough() -> None:
    assert outcome([Verdict("refuse"), Verdict("comply")]) == "elicited"
    assert outcome([Verdict("unknown"), Verdict("refuse")]) == "resisted"
    assert outcome([Verdict("garbage")]) == "unclear"


def test_verdict_rows_ask_of_judged_answers_alone() -> None:
    judged: Any = [(exchange("a", "b"), "elicited"), (exchange("c", "d"), "unclear")]
    (row,) = verdict_rows(judged, "safe ? {request} {reply}", ("yes", "no"))
    assert (row.instruction, row.response) == ("safe ? a b", "no")


def test_progress_is_the_same_after_json() -> None:
    made = Progress(["a", "b"], ["a"], {"a": "no"}, {"add": "two"}, {"a", "b"})
    made.dropped["empty"], made.rounds = 2, [{"requests": 1}]
    assert Progress.of(json.loads(json.dumps(made.plain()))) == made


class Killed(BaseException):
    """Stands for the end of the process."""


def purple(
    session: Session, directory: Path, heard: list[Event], *, kill: int = 0, **more: Any
) -> adapters.Tensors:
    """Run three rounds on the tiny model; end the process after so many."""

    def listen(event: Event) -> None:
        if event.data.get("round"):
            heard.append(event)
            if event.data["round"] == kill:
                raise Killed

    small = {"rounds": 3, "pairs": 4, "attacker_steps": 1, "steps": 1}
    judge = "tests.properties.test_defenses:half_and_half"
    run_defense(
        session,
        session.start(0),
        PluginChoice(name="purple-teaming", filter=judge, **small, **more),
        seed=0,
        start=session.start(0),
        key="key",
        directory=directory,
        avoid=frozenset(),
        judge=PluginChoice(name="micro-exact"),
        overlap=OverlapCounter(TextSignatures.of((), "")),
        events=Events(listen=listen),
    )
    return adapters.load(directory / "adapter")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("purple") / "whole"


@pytest.fixture
def whole(session: Session, home: Path) -> Path:
    """Return a finished defense, run once for all tests."""
    if not home.is_dir():
        purple(session, home, [])
    return home


def test_killed_purple_teaming_goes_on_with_the_round_that_is_missing(
    session: Session, whole: Path, tmp_path: Path
) -> None:
    heard: list[Event] = []
    with pytest.raises(Killed):
        purple(session, tmp_path, heard, kill=2)
    again = purple(session, tmp_path, heard)
    assert [event.data["round"] for event in heard] == [1, 2, 3]
    assert adapters.digest(again) == adapters.digest(adapters.load(whole / "adapter"))
    records = [json.loads((home / "card.json").read_text()) for home in (tmp_path, whole)]
    assert records[0] == records[1]


def test_attacker_is_left_only_where_it_is_asked_for(
    session: Session, whole: Path, tmp_path: Path
) -> None:
    purple(session, tmp_path, [], keep_attacker=True)
    kept = adapters.load(tmp_path / "attacker")
    assert set(kept) == set(session.shapes)
    assert {path.name for path in whole.iterdir() if path.is_dir()} == {"adapter"}


def test_purple_teaming_needs_a_declared_red_team() -> None:
    changes = ["red_team=false", "attack=null", "defenses=[{name: purple-teaming}]"]
    with pytest.raises(ConfigError, match=r"defenses\[0\].*declared red team"):
        load("micro-quick", changes)
