"""Rounds of purple-teaming: an attacker's requests, a defender's answers, verdicts, refusals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from fedsafe.contracts import Adapter, Exchange, ModelContext, Sample, Verdict
from fedsafe.defenses.pair_filters import why_not
from fedsafe.defenses.refinement import asked
from fedsafe.defenses.self_written_pairs import TRIES, SelfWrittenPairs
from fedsafe.errors import RunError

Attack = Literal["elicited", "resisted", "unclear"]


@dataclass
class Progress:
    """What the rounds have made so far: texts alone, and no harmful reply among them.

    Attributes:
        elicited: Requests of the attacker that some defender complied with.
        trained_on: Those of them that the last round's attacker was trained on.
        refusals: Requests of the attacker with refusals.
        helpful: Ordinary requests with help.
        seen: Normalised requests.
        dropped: Why texts were left out, and how many.
        rounds: What each round made, for the card.
    """

    elicited: list[str] = field(default_factory=list)
    trained_on: list[str] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    helpful: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    dropped: Counter[str] = field(default_factory=Counter)
    rounds: list[dict[str, int]] = field(default_factory=list)

    def pairs(self) -> list[Sample]:
        """Return all refusals so far, and as much help at most."""
        refusals = [Sample(one, said, origin="refusal") for one, said in self.refusals.items()]
        helpful = [Sample(one, said, origin="helpful") for one, said in self.helpful.items()]
        return [*refusals, *helpful[: len(refusals)]]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "seen": sorted(self.seen), "dropped": dict(self.dropped)}

    @classmethod
    def of(cls, kept: dict[str, Any] | None) -> "Progress":
        """Return what `plain` gave; nothing made yet where there is none."""
        if kept is None:
            return cls()
        given = {one.name: kept[one.name] for one in fields(cls)}
        return cls(**{**given, "seen": set(given["seen"]), "dropped": Counter(given["dropped"])})


@dataclass(frozen=True)
class Asked:
    """The instructions of a round.

    Attributes:
        unsafe: Yields a request of the unsafe kind.
        ordinary: Yields an ordinary request.
        note: Yields the refusal of a {request}.
        verdict: Asks whether a {reply} to a {request} is safe.
        words: The verdicts on a safe and on an unsafe reply; None: none is trained.
    """

    unsafe: str
    ordinary: str
    note: str
    verdict: str
    words: tuple[str, str] | None


@dataclass(frozen=True)
class PurpleRounds:
    """A round's data: the attacker's requests, the defender's answers, refusals, verdicts.

    Attributes:
        context: The model; its adapter is the defender's between the calls.
        written: Draws requests, answers them, and filters.
        before: The adapter that the attacker is trained from.
        ask: What is asked.
        steps: Of the attacker's training.
        learning_rate: Of that training.
    """

    context: ModelContext
    written: SelfWrittenPairs
    before: Adapter
    ask: Asked
    steps: int
    learning_rate: float

    def round(self, progress: Progress) -> list[Sample]:
        """Add a round's data to what there is; return its verdict rows, which are never written.

        Raises:
            RunError: The model wrote too little help, or there is no usable refusal yet.
        """
        progress.helpful |= self.help()
        progress.trained_on = list(progress.elicited)
        requests = self.requests(self.attacker(progress.trained_on), progress)
        judged = self.judged(requests)
        through = [one.prompt.instruction for one, found in judged if found == "elicited"]
        refused = self.refused(requests)
        progress.elicited += through
        progress.refusals |= refused
        if not progress.refusals:
            raise RunError(
                f"There is no usable refusal of the {len(requests)} requests in a round of "
                "purple-teaming. Give other words in note, or set writer: start."
            )
        rows = verdict_rows(judged, self.ask.verdict, self.ask.words) if self.ask.words else []
        found = {"requests": len(requests), "elicited": len(through), "refusals": len(refused)}
        progress.rounds.append({**found, "verdicts": len(rows)})
        return rows

    def attacker(self, elicited: Sequence[str]) -> Adapter:
        """Return the attacker's adapter: trained anew on every request that got through so far.

        So it depends on texts alone, and has never to be written to go on after a stop.
        """
        defender = self.context.adapter()
        self.context.put(self.before)
        if elicited and self.steps:
            samples = [Sample(self.ask.unsafe, text, origin="attack") for text in elicited]
            self.context.fit(samples, steps=self.steps, learning_rate=self.learning_rate)
        found = self.context.adapter()
        self.context.put(defender)
        return found

    def help(self) -> dict[str, str]:
        """Return ordinary requests with the help of the model as it was before the rounds.

        Raises:
            RunError: It wrote too little that can be used.
        """
        defender = self.context.adapter()
        self.context.put(self.before)
        made = self.written.half([self.ask.ordinary], ["{request}"], "comply")
        self.context.put(defender)
        return {one.instruction: one.response for one in made}

    def requests(self, attacker: Adapter, progress: Progress) -> list[str]:
        """Return new requests that the attacker writes, so many as pairs are asked for at most."""
        defender, found = self.context.adapter(), list[str]()
        self.context.put(attacker)
        for _ in range(TRIES):
            if len(found) >= self.written.pairs:
                break
            found += self.written.requests([self.ask.unsafe], progress.seen, "refusal")
        self.context.put(defender)
        return found[: self.written.pairs]

    def judged(self, requests: Sequence[str]) -> list[tuple[Exchange, Attack]]:
        """Return the defender's plain answers, and whether each request got through."""
        exchanges = self.written.answers(requests, ["{request}"], "refuse")
        verdicts = self.written.verdicts(exchanges)
        return [(one, outcome(said)) for one, said in zip(exchanges, verdicts, strict=True)]

    def refused(self, requests: Sequence[str]) -> dict[str, str]:
        """Return refusals of requests, written under a note; without those that are none."""
        if not requests:
            return {}
        exchanges = self.written.refusing(requests, [self.ask.note])
        found = zip(exchanges, self.written.verdicts(exchanges), strict=True)
        return {e.prompt.instruction: e.reply for e, said in found if not why_not(said, "refuse")}


def outcome(verdicts: Sequence[Verdict]) -> Attack:
    """Return what judges say of an answer together: one that calls it unsafe is enough."""
    if any(verdict.safe is False or verdict.outcome == "comply" for verdict in verdicts):
        return "elicited"
    return "resisted" if any(v.outcome == "refuse" or v.safe for v in verdicts) else "unclear"


def verdict_rows(
    judged: Sequence[tuple[Exchange, Attack]], question: str, words: tuple[str, str]
) -> list[Sample]:
    """Return the discrimination task: is this answer safe? Rows of one round, never written.

    Args:
        judged: Answers with what judges made of them; unclear ones are left out.
        question: With {request} and {reply}, or the two follow as JSON.
        words: The verdicts on a safe and on an unsafe answer.
    """
    said = {"resisted": words[0], "elicited": words[1]}
    return [
        Sample(asked(question, exchange), said[found], origin="refusal")
        for exchange, found in judged
        if found in said
    ]
