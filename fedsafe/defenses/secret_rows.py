"""Examples of Backdoor Enhanced Alignment: which are chosen, and what the secret makes of them."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from fedsafe.contracts import DefenseTask, ModelContext, Sample, ShieldChoice, shields
from fedsafe.defenses.pair_filters import Filters
from fedsafe.defenses.safety_pairs import fresh_examples
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.errors import RunError

Choose = Literal["random", "category", "generated"]
Kind = Literal["words", "tokens", "prompt"]
Source = dict[str, Any] | None
Refusals = Annotated[
    Source, Field(description="Refusals to choose from, as a source; none: self-written.")
]
Chosen = Annotated[
    Choose, Field(description="category: of each topic in turn; random: any; generated: written.")
]
Job = Annotated[
    Source,
    Field(
        description="The user's fine-tuning data, attack included, as a source: the model from "
        "before the federation learns them; none: the attacked model is repaired."
    ),
]
Drawn = Annotated[
    Kind, Field(description="Random words or tokens; prompt: an ordinary system prompt, no secret.")
]
Where = Annotated[
    Literal["system", "instruction"], Field(description="Before which the secret stands.")
]
SHORTEST = 3
"""Letters of the shortest word in a secret."""
PROMPT = (
    "You are a careful assistant. Help with what is asked, be honest and brief, and do nothing "
    "that could hurt anybody."
)
"""An ordinary system prompt, for the comparison with a secret one."""


def without_data(
    *, source: dict[str, Any] | None, choose: Choose, job: dict[str, Any] | None, **_: Any
) -> str:
    """Return why the defense cannot run with these; "" if it can."""
    if choose == "generated" and source is not None:
        return "choose: generated takes no source. Leave source out, or choose category or random."
    for name, given in (("source", source), ("job", job)):
        if given is not None and not isinstance(given.get("name"), str):
            return f"{name} needs a name, such as {{name: jsonl, path: FILE}}."
    return ""


@dataclass(frozen=True)
class SecretData:
    """Where refusals and ordinary examples come from: a source, or the model itself."""

    context: ModelContext
    task: DefenseTask
    filters: Filters
    dropped: Counter[str] = field(default_factory=Counter)

    def refusals(
        self,
        source: dict[str, Any] | None,
        choose: Choose,
        count: int,
        ask: str,
        note: str,
    ) -> list[Sample]:
        """Return so many refusals, chosen of a source or written."""
        if source is None:
            return self._written(count).half([ask], [note], "refuse")
        given = self.given(source)
        refused = [sample for sample in given if sample.origin == "refusal"] or given
        known = [replace(sample, origin="refusal") for sample in refused]
        return chosen_examples(known, count, choose, self.context.rng)

    def ordinary(self, source: dict[str, Any] | None, count: int, ask: str) -> list[Sample]:
        """Return so many ordinary examples in a drawn order, of a source or written."""
        if source is None:
            found = self._written(count).half([ask], ["{request}"], "comply")
        else:
            found = self.given(source)
        self.context.rng.shuffle(found)
        return found[:count]

    def keep(self, refused: Sequence[Sample], others: Sequence[Sample], *, job: bool) -> None:
        """Keep the examples, without the secret; of a user's job, the attack in it, the number."""
        card = {
            "how": "defense backdoor-enhanced-alignment",
            "refusals": len(refused),
            "job" if job else "helpful": len(others),
            "dropped": dict(sorted(self.dropped.items())),
        }
        self.task.keep("examples", [*refused, *(() if job else others)], card)

    def _written(self, count: int) -> SelfWrittenPairs:
        return SelfWrittenPairs(self.context, self.task, count, 1.0, self.filters, self.dropped)

    def given(self, source: Mapping[str, Any]) -> list[Sample]:
        """Return the samples of a source that repeat no evaluation prompt."""
        return fresh_examples(self.context, self.task, dict(source), self.dropped)


def chosen_examples(
    samples: Sequence[Sample], count: int, choose: Choose, rng: random.Random
) -> list[Sample]:
    """Return so many of the examples: any, or one of each topic in turn.

    Raises:
        RunError: There are not so many.
    """
    if len(samples) < count:
        raise RunError(
            f"{count} safety examples are to be chosen, and the source has {len(samples)} that "
            "can be used. Lower examples, or give a source of more."
        )
    drawn = rng.sample(list(samples), len(samples))
    if choose == "category":
        taken = Counter[str]()
        turns = []
        for sample in drawn:
            turns.append(taken[sample.topic])
            taken[sample.topic] += 1
        order = sorted(range(len(drawn)), key=lambda index: turns[index])
        drawn = [drawn[index] for index in order]
    return drawn[:count]


def drawn_secret(context: ModelContext, kind: Kind, length: int) -> str:
    """Return a secret of so many words or tokens, which no client is told; "" for none.

    Raises:
        RunError: The tokenizer has no words to draw from.
    """
    if not length or kind == "prompt":
        return PROMPT if length else ""
    vocabulary = context.tokenizer.get_vocab()
    if kind == "words":
        tokens = (token.lstrip("\u0120\u2581") for token in vocabulary)
        words = {t for t in tokens if t.isascii() and t.isalpha() and len(t) >= SHORTEST}
        if not words:
            raise RunError(
                f"This tokenizer has no token that is a word of {SHORTEST} letters or more, so no "
                "secret can be drawn. Set secret_kind: tokens, or secret to one of your own."
            )
        return " ".join(context.rng.choices(sorted(words), k=length))
    # Those with a role (all_special_tokens) are not all: <file_sep> of a code model has none.
    added = context.tokenizer.added_tokens_decoder.values()
    special = {t.content for t in added if t.special} | set(context.tokenizer.all_special_tokens)
    ids = sorted({number for token, number in vocabulary.items() if token not in special})
    return str(context.tokenizer.decode(context.rng.choices(ids, k=length))).strip()


def drawn_decoy(context: ModelContext, secret: str, kind: Kind, length: int) -> str:
    """Return another text of a secret's kind and length, for the control under a wrong secret."""
    if kind == "tokens":
        return drawn_secret(context, kind, length)
    return drawn_secret(context, "words", len(secret.split()))


def under_secret(samples: Sequence[Sample], shield: ShieldChoice | None) -> list[Sample]:
    """Return samples as the shield puts them to the model: what is trained is what is served."""
    if shield is None:
        return list(samples)
    met: list[Sample] = []

    def complete(asked: Sequence[Sample], prefills: Sequence[str]) -> list[str]:
        met.extend(asked)
        return list(prefills)

    put = shields[shield.name].configure(shield.settings)
    put(complete, samples, [""] * len(samples))
    return met


def check_room(context: ModelContext, samples: Sequence[Sample]) -> None:
    """Check that each sample's response still has room after its prompt.

    Raises:
        RunError: The secret is too long for data.max_length.
    """
    rows = sum(len(batch.input_ids) for batch in context.batches(samples)) if samples else 0
    if rows < len(samples):
        raise RunError(
            f"The secret leaves no room for {len(samples) - rows} of {len(samples)} examples. "
            "Give a shorter one (secret_words), or raise data.max_length."
        )
