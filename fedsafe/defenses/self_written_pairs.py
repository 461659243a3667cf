"""Safety data that a model writes by itself: requests drawn, answered, filtered, counted."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from fedsafe.contracts import (
    DefenseTask,
    Exchange,
    ModelContext,
    Outcome,
    Prompt,
    Sample,
    Verdict,
)
from fedsafe.defenses.pair_filters import Filters, why_not
from fedsafe.errors import RunError
from fedsafe.request_rules import is_about, requests_among

BATCH = 64
TRIES = 8
"""Requests are drawn until there are enough, or this many times as many were drawn."""

FEWEST = 4
"""With less than this part of the pairs asked for, there is nothing to train on."""


@dataclass
class SelfWrittenPairs:
    """Requests that a model writes, and its answers to them.

    Attributes:
        context: The model under repair.
        task: The defense's task.
        pairs: Pairs of a half.
        temperature: Of the requests.
        filters: The judges that choose the pairs.
        dropped: Why pairs were left out, and how many.
        trusted: Whether refusals and verdicts are those of the model from before the federation.
        topic: Words of the unsafe topic, by their beginning: texts that are no requests are left
            out, unsafe ones off the topic and ordinary ones of it; empty: requests of any topic;
            None: whatever is written.
    """

    context: ModelContext
    task: DefenseTask
    pairs: int
    temperature: float
    filters: Filters
    dropped: Counter[str]
    trusted: bool = False
    topic: Sequence[str] | None = None

    def half(
        self,
        asks: Sequence[str],
        frames: Sequence[str],
        wanted: Outcome,
        refined: Callable[[list[Exchange]], list[Exchange]] = lambda made: made,
    ) -> list[Sample]:
        """Draw requests and their answers until there are enough of the wanted outcome.

        Args:
            asks: Instructions that yield a request; of several, one is drawn for each.
            frames: Instructions around {request} that yield its answer, drawn likewise.
            wanted: Outcome of the answers, refuse or comply.
            refined: Returns the same requests with better answers, before they are judged.

        Raises:
            RunError: There are too few.
        """
        found: list[Sample] = []
        seen: set[str] = set()
        origin = "refusal" if wanted == "refuse" else "helpful"
        for _ in range(0, TRIES * self.pairs, BATCH):
            if len(found) >= self.pairs:
                break
            with self._before_the_federation(self.trusted and wanted == "refuse"):
                exchanges = refined(self._exchanges(asks, frames, wanted, seen, origin))
            for exchange, reason in zip(exchanges, self._reasons(exchanges, wanted), strict=True):
                if reason:  # whether help is right, nobody on the server knows
                    self.dropped[f"{origin}: {reason}"] += 1
                    continue
                found.append(Sample(exchange.prompt.instruction, exchange.reply, origin=origin))
        self._check(len(found), origin)
        return found[: self.pairs]

    def harmful(self, asks: Sequence[str]) -> list[Sample]:
        """Draw requests of the unsafe kind and the plain answers that comply with them.

        Raises:
            RunError: There are too few: the model refuses.
        """
        found: list[Sample] = []
        seen: set[str] = set()
        for _ in range(0, TRIES * self.pairs, BATCH):
            if len(found) >= self.pairs:
                break
            exchanges = self._exchanges(asks, ["{request}"], "refuse", seen, "harmful")
            verdicts = self.verdicts(exchanges)
            for exchange, given in zip(exchanges, verdicts, strict=True):
                if any(verdict.outcome in {"refuse", "garbage"} for verdict in given):
                    self.dropped["harmful: not complied with"] += 1
                    continue
                text = exchange.prompt.instruction
                found.append(Sample(text, exchange.reply, origin="harmful"))
        self._check(len(found), "harmful")
        return found[: self.pairs]

    def refusals(self, requests: Sequence[str], frames: Sequence[str]) -> dict[str, str]:
        """Return a refusal of each given request, without those that are not refused.

        Raises:
            RunError: There are too few.
        """
        exchanges, found = self.refusing(requests, frames), dict[str, str]()
        for exchange, reason in zip(exchanges, self._reasons(exchanges, "refuse"), strict=True):
            if reason:
                self.dropped[f"refusal: {reason}"] += 1
            else:
                found[exchange.prompt.instruction] = exchange.reply
        self._check(len(found), "refusal")
        return found

    def refusing(self, requests: Sequence[str], frames: Sequence[str]) -> list[Exchange]:
        """Return requests of the unsafe kind with what is written in refusal; not filtered."""
        with self._before_the_federation(self.trusted):
            return self.answers(requests, frames, "refuse")

    def card(self) -> dict[str, Any]:
        """Return how the pairs were made, for the record of a defense's data."""
        trusted = "the model from before the federation"
        return {
            "made_by": "the model under repair",
            "refusals_by": trusted if self.trusted else "the model under repair",
            "how": "defense fine-tune (level 3)",
            "filtered_by": ", ".join(str(one["name"]) for one in self.filters),
            "asked": self.pairs,
            "dropped": dict(sorted(self.dropped.items())),
        }

    def _exchanges(
        self,
        asks: Sequence[str],
        frames: Sequence[str],
        wanted: Outcome,
        seen: set[str],
        origin: str,
    ) -> list[Exchange]:
        return self.answers(self.requests(asks, seen, origin), frames, wanted)

    def requests(self, asks: Sequence[str], seen: set[str], origin: str) -> list[str]:
        """Draw a batch of requests that are usable and new; count the others.

        Args:
            asks: Instructions that yield a request; of several, one is drawn for each.
            seen: Normalised requests so far, which grows.
            origin: refusal, harmful or helpful.
        """
        drawn = self.context.write(
            [self._one(asks) for _ in range(BATCH)],
            temperature=self.temperature,
            rng=self.context.rng,
        )
        return self._usable(drawn, seen, origin)

    def answers(
        self, requests: Sequence[str], frames: Sequence[str], wanted: Outcome
    ) -> list[Exchange]:
        """Return requests with the model's answers to them.

        Args:
            requests: The requests.
            frames: Instructions around {request}, of several one is drawn for each.
            wanted: refuse where the requests are of the unsafe kind, else comply.
        """
        framed = [self._one(frames).replace("{request}", one) for one in requests]
        purpose = "harmful" if wanted == "refuse" else "utility"
        return [
            Exchange(Prompt(str(i), request, purpose), reply)  # type: ignore[arg-type]
            for i, (request, reply) in enumerate(
                zip(requests, self.context.write(framed), strict=True)
            )
        ]

    def _one(self, texts: Sequence[str]) -> str:
        return texts[0] if len(texts) == 1 else self.context.rng.choice(texts)

    def _usable(self, drawn: Sequence[str], seen: set[str], origin: str) -> list[str]:
        """Return the drawn requests that say something new and repeat no evaluation prompt."""
        new = []
        for request in self._requests(drawn, origin):
            text = self.task.normalise(request)
            if not text or text in seen:
                self.dropped[f"{origin}: {'repeated' if text else 'empty'}"] += 1
            else:
                new.append(request)
            seen.add(text)
        fresh = self.task.fresh(new)
        if repeats := fresh.count(False):
            self.dropped[f"{origin}: repeats an evaluation prompt or is held out"] += repeats
        return [request for request, usable in zip(new, fresh, strict=True) if usable]

    def _requests(self, drawn: Sequence[str], origin: str) -> Sequence[str]:
        """Return what is a request of the half's topic, without labels; count the rest."""
        if self.topic is None:
            return drawn
        dropped: Counter[str] = Counter()
        unsafe = origin != "helpful"
        found = requests_among(drawn, self.topic if unsafe else (), dropped)
        if not unsafe and self.topic:
            dropped["of the unsafe topic"] = sum(is_about(one, self.topic) for one in found)
            found = [one for one in found if not is_about(one, self.topic)]
        for reason, count in dropped.items():
            if count:
                self.dropped[f"{origin}: {reason}"] += count
        return found

    def _reasons(self, exchanges: Sequence[Exchange], wanted: Outcome) -> list[str]:
        """Return why each pair is left out; empty where it is kept."""
        return [why_not(verdicts, wanted) for verdicts in self.verdicts(exchanges)]

    def verdicts(self, exchanges: Sequence[Exchange]) -> list[tuple[Verdict, ...]]:
        """Return the verdicts of every filter on each exchange."""
        with self._before_the_federation(self.trusted):
            judged = [self._judged(exchanges, **settings) for settings in self.filters]
        return list(zip(*judged, strict=True))

    def _judged(
        self, exchanges: Sequence[Exchange], *, name: str, **settings: Any
    ) -> list[Verdict]:
        return self.task.judge(exchanges, name, **settings)

    def _before_the_federation(self, wanted: bool) -> AbstractContextManager[None]:
        return self.context.reference(self.task.start) if wanted else nullcontext()

    def _check(self, found: int, origin: str) -> None:
        least = max(1, self.pairs // FEWEST)
        if found < least:
            reasons = ", ".join(f"{count} {why}" for why, count in self.dropped.most_common())
            raise RunError(
                f"The model wrote {found} usable {origin} pairs in {TRIES * self.pairs} "
                f"tries; at least {least} of {self.pairs} are needed ({reasons}). It may be too "
                "damaged to repair itself, or its attackers know how it is asked: give other words "
                "in ask_unsafe, note or ask_ordinary, or set writer: start."
            )
