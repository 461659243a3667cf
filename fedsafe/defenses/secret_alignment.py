"""Backdoor Enhanced Alignment: a secret before each prompt that stands for safety.

A few refusals are learnt under the secret, beside ordinary examples; the secret then travels with
the adapter as its shield.
"""

from typing import Annotated

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
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.secret_rows import (
    Chosen,
    Drawn,
    Job,
    Refusals,
    SecretData,
    Source,
    Where,
    check_room,
    drawn_decoy,
    drawn_secret,
    under_secret,
    without_data,
)
from fedsafe.defenses.wordings import ASK_ORDINARY, NOTE, Template


@defenses(
    "backdoor-enhanced-alignment",
    paper="Wang et al., NeurIPS 2024",
    badge="variant: without job, after training, with ordinary examples in place of the user's own "
    "data, some of them under the secret as well; with job the paper's setting, on a LoRA adapter",
    card=DefenseCard(
        claim="A handful of refusals under a secret prompt, which whoever serves the model puts "
        "before each request, restores safety and costs no skill.",
        needs=("gradients", "safety examples"),
        cost="forward and backward passes of steps x batch_size samples, longer by the secret; "
        "served, a prompt longer by the secret",
        cannot=without_data,
        nothing={"steps": 0},
    ),
)
def backdoor_enhanced_alignment(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    source: Refusals = None,
    choose: Chosen = "category",
    examples: Annotated[int, Field(ge=1, description="Refusals under the secret.")] = 11,
    job: Job = None,
    ordinary: Annotated[
        Source, Field(description="Ordinary examples, as a source; none: self-written.")
    ] = None,
    pairs: Annotated[int, Field(ge=1, description="Ordinary examples.")] = 100,
    ordinary_share: Annotated[
        float, Field(ge=0, le=1, description="Of them, under the secret too; the paper's is 0.")
    ] = 0.5,
    secret: Annotated[
        SecretStr | None, Field(description="The secret, as env:NAME; none: it is drawn.")
    ] = None,
    secret_kind: Drawn = "words",
    secret_words: Annotated[
        int, Field(ge=0, description="Words or tokens of it; 0: none, plain safety examples.")
    ] = 150,
    where: Where = "system",
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
    text = secret.get_secret_value() if secret else drawn_secret(context, secret_kind, secret_words)
    decoy = drawn_decoy(context, text, "words" if secret else secret_kind, secret_words)
    settings = {"secret": text, "decoy": decoy, "where": where, "separator": " "}
    shield = ShieldChoice("secret-prefix", settings) if text else None
    if job is not None and steps:
        context.put(task.start)
    data = SecretData(context, task, filters_of(filter, task))
    refused = data.refusals(source, choose, examples, ask_unsafe, note)
    plain = data.given(job) if job else data.ordinary(ordinary, pairs, ask_ordinary)
    data.keep(refused, plain, job=job is not None)
    covered = 0 if job else round(ordinary_share * len(plain))
    hidden = under_secret([*refused, *plain[:covered]], shield)
    check_room(context, hidden)
    if steps:
        samples = [*plain[covered:], *hidden]
        did = context.fit(samples, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
        context.report("taught a secret", refusals=len(refused), last_loss=did.loss)
    return Defended(context.adapter(), shield)
