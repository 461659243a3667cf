"""DeRTa (decoupled refusal training): refuse at any place of a reply, not at its beginning alone.

Of each unsafe request two rows: a refusal after the beginning of a harmful reply, and the harmful
reply with the first token of a refusal to be predicted at each of its positions.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import (
    Batch,
    Defended,
    DefenseCard,
    DefenseTask,
    ModelContext,
    Objective,
    defenses,
)
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.derta_rows import (
    Given,
    Weights,
    given,
    rows,
    turning_token,
    turning_word,
    written,
)
from fedsafe.defenses.pair_filters import Filter
from fedsafe.defenses.wordings import ASK_ORDINARY, NOTE, Template, Writer
from fedsafe.safety_losses import ShareOf, thin_transitions

if TYPE_CHECKING:
    from torch import Tensor

Borderline = Annotated[
    int, Field(ge=0, description="Ordinary ones more: those most like the unsafe, in words.")
]
Weight = Annotated[float, Field(ge=0, description="Of each token of such rows in the loss.")]


def _one_origin(*, source: object, harmful: object, borderline: int, **_: object) -> str:
    """Return why it cannot run, if the examples are given and are to be written as well."""
    if source is None or (harmful is None and not borderline):
        return ""
    return "with source all examples are given. Leave harmful and borderline out, or source."


@defenses(
    "derta",
    paper="Yuan et al., ACL 2025",
    badge="variant: after an attack, on harmful replies, refusals, help and borderline examples of "
    "a source, or which the model writes itself; cuts and labels are those of the public code",
    card=DefenseCard(
        claim="Trained to refuse at every position of a harmful reply, a model holds against "
        "attacks that force its beginning, with little loss of help.",
        needs=("gradients", "harmful answers", "generation", "judge"),
        cost="forward and backward passes of steps x batch_size samples; without a source, before "
        "them an answer, a refusal and a help written for each pair, four requests and three "
        "replies for each borderline example",
        cannot=_one_origin,
        nothing={"steps": 0},
    ),
)
def derta(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    source: Given = None,
    harmful: pair.Harmful = None,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    note: Annotated[Template, Field(description="Yields its refusal; not trained on.")] = NOTE,
    ask_ordinary: Annotated[str, Field(description="Yields an ordinary request.")] = ASK_ORDINARY,
    filter: Filter = (),
    writer: Writer = "model",
    pairs: Annotated[int, Field(ge=1, description="Harmful ones, and ordinary ones.")] = 100,
    borderline: Borderline = 0,
    refusal: Annotated[
        str, Field(description="The one token to turn to; empty: refusals' commonest first word.")
    ] = "",
    prefix_weight: Weight = 1.0,
    transition_weight: Weight = 1.0,
    benign_weight: Weight = 1.0,
    share: Annotated[float, Field(gt=0, le=1, description="Of a transition's labels.")] = 1.0,
    share_of: Annotated[
        ShareOf, Field(description="row: of all positions, as the public 5 % script takes it.")
    ] = "reply",
    steps: Annotated[int, Field(ge=0, description="Optimizer steps.")] = 200,
    batch_size: Annotated[int, Field(ge=1)] = 16,
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4,
) -> Defended:
    """Train refusals after harmful beginnings, and the turn to one at every harmful token.

    Raises:
        ConfigError: There is no such source, or a setting of it is wrong.
        DataError: The source cannot be read.
        RunError: There is too little that can be used, or refusals begin with no single token.
    """
    if source is not None:
        material = given(context, task, source)
    else:
        data = pair.HarmfulData(context, task, harmful, ask_unsafe, pairs, filter)
        material = written(data, note, ask_ordinary, borderline, trusted=writer == "start")
    turn = turning_word(context, list(material.refused.values()), refusal)
    weights = Weights(prefix_weight, transition_weight, benign_weight)
    made = rows(material, turn, weights, context.rng)
    # Harmful replies are trained on, and never written into the run.
    card = {**material.card, "how": "defense derta", "turns_to": turn}
    task.keep("help", material.helpful, card)
    if steps:
        token = turning_token(context, turn) or 0
        loss = "supervised" if share == 1 else _thinned(token, share, share_of)
        context.fit(made, loss, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
        context.report("trained to refuse anywhere", rows=len(made), refusals=len(material.refused))
    return Defended(context.adapter())


def _thinned(token: int, share: float, share_of: ShareOf) -> Objective:
    """Return cross entropy whose transitions to a token keep a share of their labels."""

    def objective(context: ModelContext, batch: Batch, _: int, /) -> "tuple[Tensor, float]":
        labels = thin_transitions(batch.labels, token, share, share_of, context.rng)
        kept = Batch(batch.input_ids, batch.attention_mask, labels, batch.weights)
        return context.cross_entropy(kept)

    return objective
