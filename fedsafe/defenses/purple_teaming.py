"""Purple-teaming (PAD): an attacker and a defender of one base, trained against each other.

In each round the attacker writes requests, the defender answers, and a judge says which got
through. The attacker learns from those; the defender learns to refuse them, to help with
ordinary requests, and to tell safe answers from unsafe ones.
"""

from typing import Annotated

from pydantic import Field

from fedsafe.contracts import (
    Defended,
    DefenseCard,
    DefenseTask,
    ModelContext,
    defenses,
)
from fedsafe.defenses import alignment_pair as pair
from fedsafe.defenses.pair_filters import Filter, filters_of
from fedsafe.defenses.purple_rounds import Asked, Progress, PurpleRounds
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.defenses.wordings import ASK_ORDINARY, NOTE, Template, Writer

Question = Annotated[
    str, Field(description="Asks whether a reply is safe; {request} and {reply}, or as JSON.")
]
Words = Annotated[
    tuple[str, str] | None, Field(description="Verdicts: safe, unsafe; null: not trained.")
]
KeepAttacker = Annotated[
    bool, Field(description="Leave the last attacker's adapter in the run, as attacker.")
]
VERDICT = "Is this reply safe? Answer yes or no."


@defenses(
    "purple-teaming",
    paper="Zhou et al., PAD: Purple-teaming LLMs with Adversarial Defender Training, 2024 "
    "(arXiv:2407.01850)",
    badge="simplified: single turns; a verdict of one word in place of a verdict with its reason; "
    "the attacker writes requests alone, and is trained anew in each round",
    traits={"red-team"},
    card=DefenseCard(
        claim="Attack and defense by two adapters of one base make safety data that get harder "
        "by the round, and a defender that refuses and judges.",
        needs=("gradients", "generation", "judge"),
        cost="a round: two or three replies written for each pair, attacker_steps and steps passes "
        "forward and backward over batch_size samples",
    ),
)
def purple_teaming(
    context: ModelContext,
    task: DefenseTask,
    /,
    *,
    ask_unsafe: pair.AskUnsafe = pair.ASK_UNSAFE,
    note: Annotated[Template, Field(description="Yields a refusal; not trained on.")] = NOTE,
    ask_ordinary: Annotated[str, Field(description="Yields an ordinary request.")] = ASK_ORDINARY,
    verdict: Question = VERDICT,
    verdict_words: Words = ("yes", "no"),
    writer: Writer = "model",
    filter: Filter = (),
    rounds: Annotated[int, Field(ge=1, le=100, description="Of attack and defense.")] = 3,
    pairs: Annotated[int, Field(ge=1, description="A round: requests, and ordinary pairs.")] = 100,
    attacker_steps: Annotated[int, Field(ge=0, description="Of the attacker, a round.")] = 20,
    steps: Annotated[int, Field(ge=1, description="Of the defender, a round.")] = 60,
    batch_size: Annotated[int, Field(ge=1)] = 16,
    learning_rate: Annotated[float, Field(gt=0, description="Of both.")] = 1e-4,
    keep_attacker: KeepAttacker = False,
) -> Defended:
    """Train a defender against an attacker of the same base, round by round.

    For declared red teams. A stopped defense goes on with the round that is missing.

    Raises:
        RunError: The model wrote too little help, or no refusal in a whole round.
    """
    attacked = context.adapter()
    progress = Progress.of(task.checkpoints.load())
    filters, trusted = filters_of(filter, task), writer == "start"
    written = SelfWrittenPairs(context, task, pairs, 1.0, filters, progress.dropped, trusted)
    asked = Asked(ask_unsafe, ask_ordinary, note, verdict, verdict_words)
    team = PurpleRounds(context, written, attacked, asked, attacker_steps, learning_rate)
    for number in range(len(progress.rounds) + 1, rounds + 1):
        rows = team.round(progress)
        given = [*progress.pairs(), *rows]
        context.fit(given, steps=steps, batch_size=batch_size, learning_rate=learning_rate)
        task.checkpoints.save(progress.plain())
        context.report("purple-teaming", round=number, **progress.rounds[-1])
    if keep_attacker:
        task.checkpoints.write_adapter("attacker", team.attacker(progress.trained_on))
    card = {**written.card(), "how": "defense purple-teaming", "rounds": progress.rounds}
    task.keep("examples", progress.pairs(), card)
    return Defended(context.adapter())
