"""Backdoor Enhanced Alignment: a secret before each prompt that stands for safety.

A few refusals are learnt under the secret, beside ordinary examples; the secret then travels with
the adapter as its shield.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from fedsafe.contracts import (
    Defended,
    DefenseCard,
    DefenseTask,
    ModelContext,
    ShieldChoice,
    defenses,
)
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.fine_tune import ASK_ORDINARY, NOTE, Template
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.secret_rows import Choose, SecretData, check_room, under_secret

Source = dict[str, Any] | None
SHORTEST = 3
"""Letters of the shortest word in a secret."""


@defenses(
    "backdoor-enhanced-alignment",
    paper="Wang et al., NeurIPS 2024",
    badge="variant: after training, with ordinary examples in place of the user's own data, some "
    "of them under the secret as well",
    card=DefenseCard(
        claim="A handful of refusals under a secret prompt, which whoever serves the model puts "
        "before each request, restores safety and costs no skill.",
        needs=("gradients", "safety examples"),
        cost="forward and backward passes of steps x batch_size samples, longer by the secret; "
        "served, a prompt longer by the secret",
        nothing={"steps": 0},
    ),
)
def backdoor_enhanced_alignment(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    source: Annotated[
        Source, Field(description="Refusals to choose from, as a source; none: self-written.")
    ] = None,
    choose: Annotated[
        Choose,
        Field(description="category: an example of each topic in turn, else any."),
    ] = "category",
    examples: Annotated[int, Field(ge=1, description="Refusals under the secret.")] = 11,
    ordinary: Annotated[
        Source, Field(description="Ordinary examples, as a source; none: self-written.")
    ] = None,
    pairs: Annotated[int, Field(ge=1, description="Ordinary examples.")] = 100,
    ordinary_share: Annotated[
        float, Field(ge=0, le=1, description="Of them, under the secret too; the paper's is 0.")
    ] = 0.5,
    secret: Annotated[
        SecretStr | None, Field(description="The secret, as env:NAME; none: random words.")
    ] = None,
    secret_words: Annotated[int, Field(ge=1, description="Random words of a secret.")] = 150,
    where: Annotated[
        Literal["system", "instruction"], Field(description="Before which the secret stands.")
    ] = "system",
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    note: Annotated[Template, Field(description="Yields its refusal; not trained on.")] = NOTE,
    ask_ordinary: Annotated[str, Field(description="Yields an ordinary request.")] = ASK_ORDINARY,
    filter: Filter = (),
    steps: Annotated[int, Field(ge=0, description="Optimizer steps.")] = 60,
    batch_size: Annotated[int, Field(ge=1)] = 10,
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
) -> Defended:
    """Fine-tune on refusals under a secret and on ordinary examples; serve with the secret.

    Raises:
        RunError: There are too few examples, or the secret leaves no room for them.
    """
    text = secret.get_secret_value() if secret else random_words(context, secret_words)
    decoy = random_words(context, len(text.split()))
    settings = {"secret": text, "decoy": decoy, "where": where, "separator": " "}
    shield = ShieldChoice("secret-prefix", settings)
    data = SecretData(context, task, filters_of(filter, task))
    refused = data.refusals(source, choose, examples, ask_unsafe, note)
    helpful = data.ordinary(ordinary, pairs, ask_ordinary)
    data.keep(refused, helpful)
    covered = round(ordinary_share * len(helpful))
    hidden = under_secret([*refused, *helpful[:covered]], shield)
    check_room(context, hidden)
    if steps:
        samples = [*helpful[covered:], *hidden]
        did = context.fit(samples, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
        context.report("taught a secret", refusals=len(refused), last_loss=did.loss)
    return Defended(context.adapter(), shield)


def random_words(context: ModelContext, count: int) -> str:
    """Return random words of the tokenizer's vocabulary, which no client is told."""
    if not count:
        return ""
    tokens = (token.lstrip("\u0120\u2581") for token in context.tokenizer.get_vocab())
    words = {t for t in tokens if t.isascii() and t.isalpha() and len(t) >= SHORTEST}
    return " ".join(context.rng.choices(sorted(words), k=count))
