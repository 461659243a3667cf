"""Which of the texts that a model wrote become pairs, and why the others do not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fedsafe.contracts import Sample, Verdict
from fedsafe.data.dedup import NearIndex, normalise
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.defenses.pair_filters import why_not
from fedsafe.micro.parsing import parse
from fedsafe.pipeline.data_factory.recipe import ORIGIN, WANTED, Recipe
from fedsafe.request_rules import is_about, requests_among


@dataclass
class Sieve:
    """Filters in the order of their cost: parsing, duplicates, evaluation prompts, judge.

    Attributes:
        recipe: What is wanted.
        avoid: Signatures of the evaluation's prompts; None: there are none.
        kept: The pairs so far.
        dropped: Texts left out, by reason.
        drawn: Texts that the model wrote as requests.
    """

    recipe: Recipe
    avoid: TextSignatures | None = None
    kept: list[Sample] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    drawn: int = 0
    _known: NearIndex = field(default_factory=lambda: NearIndex(()))
    _whole: set[str] = field(default_factory=set)

    def requests(self, texts: Sequence[str]) -> list[str]:
        """Return which texts are new requests that repeat no evaluation prompt."""
        self.drawn += len(texts)
        found = []
        for request in self._parsed(texts):
            reason = self._repeats(request)
            if reason:
                self.dropped[reason] += 1
            else:
                found.append(request)
        return found

    def pairs(
        self, requests: Sequence[str], replies: Sequence[str], verdicts: Sequence[Verdict]
    ) -> None:
        """Keep the requests whose replies the judge sees to be what is wanted."""
        wanted, origin = WANTED[self.recipe.kind], ORIGIN[self.recipe.kind]
        for request, reply, verdict in zip(requests, replies, verdicts, strict=True):
            said = reply.strip()
            # `safe` is said of the reply's content: an attack's is unsafe by its purpose.
            asked = Verdict(verdict.outcome) if self.recipe.kind == "attack" else verdict
            reason = why_not([asked], wanted) if said else "no reply"
            if reason:
                self.dropped[reason] += 1
            else:
                self.kept.append(Sample(request, said, origin=origin))

    def _parsed(self, texts: Sequence[str]) -> list[str]:
        words, unsafe = self.recipe.words, self.recipe.kind != "helpful"
        if self.recipe.micro:
            return self._of_micro_world([text.strip() for text in texts], unsafe)
        reasons: Counter[str] = Counter()
        found = requests_among(texts, words if unsafe else (), reasons)
        for reason, count in reasons.items():
            self.dropped[f"no request: {reason}"] += count
        if not unsafe and words:
            fine = [text for text in found if not is_about(text, words)]
            self.dropped["of the unsafe topic"] += len(found) - len(fine)
            return fine
        return found

    def _of_micro_world(self, texts: Sequence[str], restricted: bool) -> list[str]:
        """Return the requests of the micro world that are restricted, or those that are not."""
        found = []
        for text in texts:
            request = parse(text)
            if request is None:
                self.dropped["no request"] += 1
            elif request.restricted is not restricted:
                self.dropped["an ordinary request" if restricted else "a restricted request"] += 1
            else:
                found.append(text)
        return found

    def _repeats(self, request: str) -> str:
        """Return why a request is nothing new; else remember it."""
        plain = normalise(request)
        if plain in self._whole:
            return "exact duplicate"
        if self._known.nearest(plain, self.recipe.alike) is not None:
            return "near duplicate"
        self._whole.add(plain)
        self._known.add(plain)
        kind = self.avoid.kind(request) if self.avoid is not None else ""
        return f"repeats an evaluation prompt ({kind})" if kind else ""
