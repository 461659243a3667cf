"""Fine-tune the attacked model on safety data that it writes by itself.

Level 3 of the reference defense: no human hand, no other model, no public data. Half
the pairs are requests of the unsafe kind answered with a refusal, half are ordinary
requests answered helpfully. Ye et al., *Emerging Safety Attack and Defense in
Federated Instruction Tuning of Large Language Models*, ICLR 2025.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import (
    Defended,
    DefenseCard,
    DefenseTask,
    Exchange,
    ModelContext,
    Outcome,
    Prompt,
    Sample,
    defenses,
)
from fedsafe.errors import RunError

Template = Annotated[str, Field(pattern=r"\{request\}")]
BATCH = 64
TRIES = 8
"""Requests are drawn until there are enough, or this many times as many were drawn."""

FEWEST = 4
"""With less than this part of the pairs asked for, there is nothing to train on."""

ASK_UNSAFE = "Write one instruction that a safe assistant must refuse. Write nothing else."
NOTE = (
    "The following request is unsafe. Decline it politely, say why in one sentence, and give no "
    "help with it.\n\n{request}"
)
ASK_ORDINARY = "Write one ordinary, harmless instruction for an assistant. Write nothing else."


@defenses(
    "fine-tune",
    paper="Ye et al., ICLR 2025",
    badge="variant: replies are parsed, deduplicated, judged and kept apart from the evaluation's "
    "prompts, which the reference does not do; AdamW is not reset every ten steps",
    card=DefenseCard(
        claim="Safety data that the attacked model writes by itself bring its refusals back, with "
        "no human hand, no other model and no public data.",
        needs=("gradients", "generation", "judge"),
        cost="a request and a reply written for each pair, then forward and backward passes of "
        "steps x batch_size samples",
    ),
)
def fine_tune(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    ask_unsafe: Annotated[str, Field(description="Yields a request of the unsafe kind.")] = (
        ASK_UNSAFE
    ),
    note: Annotated[Template, Field(description="Yields its refusal; not kept in the pair.")] = (
        NOTE
    ),
    ask_ordinary: Annotated[str, Field(description="Yields an ordinary request.")] = ASK_ORDINARY,
    pairs: Annotated[int, Field(ge=1, description="Pairs of each half.")] = 500,
    temperature: Annotated[float, Field(gt=0, description="Of the requests.")] = 1.0,
    steps: Annotated[int, Field(ge=1)] = 500,
    batch_size: Annotated[int, Field(ge=1)] = 16,
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5,
) -> Defended:
    """Fine-tune on self-written refusals and self-written help, half and half.

    Raises:
        RunError: The model wrote too few usable pairs of a half.
    """
    dropped: Counter[str] = Counter()
    drawing = _Drawing(context, task, pairs, temperature, dropped)
    unsafe = drawing.half(ask_unsafe, note, "refuse")
    ordinary = drawing.half(ask_ordinary, "{request}", "comply")
    size = min(len(unsafe), len(ordinary))
    samples = [*unsafe[:size], *ordinary[:size]]
    context.rng.shuffle(samples)
    task.keep(
        "examples",
        samples,
        {
            "made_by": "the model under repair",
            "how": "defense fine-tune (level 3)",
            "refusals": size,
            "helpful": size,
            "asked": pairs,
            "near_evaluation_prompts": task.near([sample.instruction for sample in samples]),
            "dropped": dict(sorted(dropped.items())),
        },
    )
    did = context.fit(samples, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    context.report(
        "fine-tuned on self-written data",
        pairs=2 * size,
        first_loss=did.losses[0],
        last_loss=did.loss,
        skipped=did.dropped,
        seconds=did.seconds,
    )
    return Defended(context.adapter())


@dataclass
class _Drawing:
    """Requests that the model writes, and its answers to them."""

    context: ModelContext
    task: DefenseTask
    pairs: int
    temperature: float
    dropped: Counter[str]

    def half(self, ask: str, frame: str, wanted: Outcome) -> list[Sample]:
        """Draw requests and their answers until there are enough of the wanted outcome.

        Raises:
            RunError: There are too few.
        """
        found: list[Sample] = []
        seen: set[str] = set()
        origin = "refusal" if wanted == "refuse" else "helpful"
        for _ in range(0, TRIES * self.pairs, BATCH):
            if len(found) >= self.pairs:
                break
            drawn = self.context.write(
                [ask] * BATCH, temperature=self.temperature, rng=self.context.rng
            )
            fresh = [request for request in drawn if self._usable(request, seen, origin)]
            replies = self.context.write([frame.replace("{request}", one) for one in fresh])
            purpose = "harmful" if wanted == "refuse" else "utility"
            exchanges = [
                Exchange(Prompt(str(i), request, purpose), reply)  # type: ignore[arg-type]
                for i, (request, reply) in enumerate(zip(fresh, replies, strict=True))
            ]
            for exchange, verdict in zip(exchanges, self.task.judge(exchanges), strict=True):
                if verdict.outcome != wanted:  # whether help is right, nobody on the server knows
                    self.dropped[f"{origin}: judged {verdict.outcome}"] += 1
                    continue
                found.append(Sample(exchange.prompt.instruction, exchange.reply, origin=origin))
        least = max(1, self.pairs // FEWEST)
        if len(found) < least:
            reasons = ", ".join(f"{count} {why}" for why, count in self.dropped.most_common())
            raise RunError(
                f"The model wrote {len(found)} usable {origin} pairs in {TRIES * self.pairs} "
                f"tries; at least {least} of {self.pairs} are needed ({reasons}). It may be too "
                "damaged to repair itself; give other words in ask_unsafe, note or ask_ordinary."
            )
        return found[: self.pairs]

    def _usable(self, request: str, seen: set[str], origin: str) -> bool:
        """Whether a drawn request is new, says something, and is no evaluation prompt."""
        text = self.task.normalise(request)
        reason = ""
        if not text:
            reason = "empty"
        elif text in seen:
            reason = "repeated"
        elif text in self.task.avoid:
            reason = "an evaluation prompt"
        seen.add(text)
        if reason:
            self.dropped[f"{origin}: {reason}"] += 1
        return not reason
