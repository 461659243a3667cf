"""Fine-tune the attacked model on safety data that it writes by itself.

Level 3 of the reference defense: no human hand, no other model, no public data. Half
the pairs are requests of the unsafe kind answered with a refusal, half are ordinary
requests answered helpfully. Ye et al., *Emerging Safety Attack and Defense in
Federated Instruction Tuning of Large Language Models*, ICLR 2025.
"""

from collections import Counter
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Adapter, Example, Exchange, Outcome, Patient, Prompt, defenses
from fedsafe.data.dedup import normalise, overlap
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
)
def fine_tune(
    patient: Patient,
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
) -> Adapter:
    """Fine-tune on self-written refusals and self-written help, half and half.

    Raises:
        RunError: The model wrote too few usable pairs of a half.
    """
    dropped: Counter[str] = Counter()
    unsafe = _half(patient, ask_unsafe, note, "refuse", pairs, temperature, dropped)
    ordinary = _half(patient, ask_ordinary, "{request}", "comply", pairs, temperature, dropped)
    size = min(len(unsafe), len(ordinary))
    examples = [*unsafe[:size], *ordinary[:size]]
    patient.rng.shuffle(examples)
    near = overlap([example.instruction for example in examples], sorted(patient.avoid))
    patient.keep(
        "examples",
        examples,
        {
            "made_by": "the model under repair",
            "how": "defense fine-tune (level 3)",
            "refusals": size,
            "helpful": size,
            "asked": pairs,
            "near_evaluation_prompts": near.near,
            "dropped": dict(sorted(dropped.items())),
        },
    )
    losses = patient.train(
        examples, steps=steps, batch_size=batch_size, learning_rate=learning_rate
    )
    patient.report("fine-tuned on self-written data", pairs=2 * size, **losses)
    return patient.read()


def _half(
    patient: Patient,
    ask: str,
    frame: str,
    wanted: Outcome,
    pairs: int,
    temperature: float,
    dropped: Counter[str],
) -> list[Example]:
    """Draw requests and their answers until there are enough of the wanted outcome."""
    found: list[Example] = []
    seen: set[str] = set()
    origin = "refusal" if wanted == "refuse" else "helpful"
    for _ in range(0, TRIES * pairs, BATCH):
        if len(found) >= pairs:
            break
        drawn = patient.write([ask] * BATCH, temperature=temperature, rng=patient.rng)
        fresh = [request for request in drawn if _usable(request, seen, patient, origin, dropped)]
        replies = patient.write([frame.replace("{request}", request) for request in fresh])
        purpose = "harmful" if wanted == "refuse" else "utility"
        exchanges = [
            Exchange(Prompt(str(i), request, purpose), reply)  # type: ignore[arg-type]
            for i, (request, reply) in enumerate(zip(fresh, replies, strict=True))
        ]
        for exchange, verdict in zip(exchanges, patient.judge(exchanges), strict=True):
            if verdict.outcome != wanted:  # whether help is right, nobody on the server knows
                dropped[f"{origin}: judged {verdict.outcome}"] += 1
                continue
            found.append(Example(exchange.prompt.instruction, exchange.reply, origin=origin))
    if len(found) < max(1, pairs // FEWEST):
        raise RunError(
            f"The model wrote {len(found)} usable {origin} pairs in {TRIES * pairs} tries; at "
            f"least {max(1, pairs // FEWEST)} of {pairs} are needed ({_listed(dropped)}). It may "
            "be too damaged to repair itself; give other words in ask_unsafe, note or ask_ordinary."
        )
    return found[:pairs]


def _usable(
    request: str, seen: set[str], patient: Patient, origin: str, dropped: Counter[str]
) -> bool:
    """Tell whether a drawn request is new, said something, and is no evaluation prompt."""
    text = normalise(request)
    reason = ""
    if not text:
        reason = "empty"
    elif text in seen:
        reason = "repeated"
    elif text in patient.avoid:
        reason = "an evaluation prompt"
    seen.add(text)
    if reason:
        dropped[f"{origin}: {reason}"] += 1
    return not reason


def _listed(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
