"""Self-refined data: the model criticises and rewrites its own answers, and is trained on those.

"Break the Breakout" (Kim et al., 2024) refines a reply when it is served. Here the refined
replies are safety data: what the model says to requests of the unsafe kind once it has been
shown its own answer, and what it says to ordinary ones.
"""

from collections import Counter
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Defended, DefenseCard, DefenseTask, ModelContext, defenses
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.refinement import CRITIQUE, FILLED, REWRITE, Refinement
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.defenses.wordings import ASK_ORDINARY, Writer

Fine = Annotated[
    str, Field(description="A critique with this text leaves the reply; empty: none does.")
]


@defenses(
    "self-refined",
    paper="Kim et al., Break the Breakout, TrustNLP 2025 (arXiv:2402.15180)",
    badge="variant: the refined replies are trained on, where the paper serves them; the model's "
    "own critique, or nothing, decides what is rewritten, where the paper's experiments let a cost "
    "model choose",
    card=DefenseCard(
        claim="Critique and rewriting by the same model, with the exchange formatted as data, "
        "make jailbroken replies safe, and such replies can be trained on.",
        needs=("gradients", "generation", "judge"),
        cost="a request, a reply, and a critique and a rewriting a pass written for each pair, "
        "then forward and backward passes of steps x batch_size samples",
    ),
)
def self_refined(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    ask_ordinary: Annotated[str, Field(description="Yields an ordinary request.")] = ASK_ORDINARY,
    critique: Annotated[str, Field(description=f"Yields a critique. {FILLED}")] = CRITIQUE,
    rewrite: Annotated[str, Field(description=f"Yields a better reply. {FILLED}")] = REWRITE,
    fine: Fine = "",
    passes: Annotated[int, Field(ge=1, le=10, description="Critiques of each reply.")] = 1,
    writer: Writer = "model",
    filter: Filter = (),
    pairs: Annotated[int, Field(ge=1, description="Pairs of each half.")] = 200,
    steps: Annotated[int, Field(ge=1)] = 200,
    batch_size: Annotated[int, Field(ge=1)] = 16,
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4,
) -> Defended:
    """Fine-tune on the model's own answers as it criticised and rewrote them.

    ``writer: start`` lets the model from before the federation criticise and rewrite. The answers
    are the attacked model's in any case, and only the refined ones are kept.

    Raises:
        RunError: Too few refined answers refuse what is unsafe, or help with what is ordinary.
    """
    dropped, counted = Counter[str](), Counter[str]()
    filters = filters_of(filter, task)
    written = SelfWrittenPairs(context, task, pairs, 1.0, filters, dropped)
    trusted = writer == "start"
    refine = Refinement(context, task, critique, rewrite, fine, passes, trusted, counted)
    unsafe = written.half([ask_unsafe], ["{request}"], "refuse", refine)
    ordinary = written.half([ask_ordinary], ["{request}"], "comply", refine)
    size = min(len(unsafe), len(ordinary))
    samples = [*unsafe[:size], *ordinary[:size]]
    context.rng.shuffle(samples)
    card = {**written.card(), "how": "defense self-refined", "refined_by": writer, **counted}
    task.keep("examples", samples, {"refusals": size, "helpful": size, **card})
    did = context.fit(samples, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
    context.report("fine-tuned on refined replies", pairs=len(samples), last_loss=did.loss)
    return Defended(context.adapter())
