"""Generate replies to evaluation prompts under each condition (plain, prefilled, ...).

Knows nothing of judges or files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isnan

from fedsafe.contracts import (
    Ask,
    DiagnosticTask,
    Exchange,
    Prompt,
    Sample,
    ShieldChoice,
    conditions,
)
from fedsafe.data.tokens import first_tokens
from fedsafe.errors import RunError
from fedsafe.evaluation.judging import judging_context
from fedsafe.evaluation.scoring import labels
from fedsafe.evaluation.served import with_decoy
from fedsafe.experiment.schema import PluginChoice
from fedsafe.shields.chat import apply_shields
from fedsafe.training.likelihood import of_responses
from fedsafe.training.session import Session

Progress = Callable[[int, int], None]
"""Called with prompts done and prompts in all."""


def asks_of(choices: Sequence[PluginChoice], prompts: Sequence[Prompt]) -> dict[str, list[Ask]]:
    """Return what is asked, by label of the condition.

    Raises:
        RunError: A condition returned something else than asks of these prompts.
    """
    found: dict[str, list[Ask]] = {}
    known = set(prompts)
    for label, choice in zip(labels(choices), choices, strict=True):
        asked = list(conditions[choice.name].configure(choice.settings)(prompts))
        for ask in asked:
            if not isinstance(ask, Ask) or ask.prompt not in known:
                raise RunError(
                    f"Condition '{choice.name}' returned {type(ask).__name__} "
                    f"{getattr(getattr(ask, 'prompt', None), 'id', '')!r}, which asks none of the "
                    "prompts it was given. It must return one fedsafe.contracts.Ask a question."
                )
        found[label] = asked
    return found


def put(
    session: Session,
    asked: Mapping[str, list[Ask]],
    shields: Sequence[ShieldChoice] = (),
    progress: Progress | None = None,
    task: DiagnosticTask | None = None,
) -> list[Exchange]:
    """Return the model's greedy replies, condition by condition.

    All conditions are generated together: a prompt that one of them asks with a forced beginning
    goes through the model once.

    Args:
        session: The model, its adapter as it stands.
        asked: What is asked, by label of the condition.
        shields: What the model is served through; their secret values are taken out of the
            replies.
        progress: Told how far it has come.
        task: What conditions that alter the model work with; needed if there is one.

    Raises:
        RunError: The template leaves a system prompt out.
    """
    asked = {label: _cut(session, asks) for label, asks in asked.items()}
    every = [ask for asks in asked.values() for ask in asks]
    given = sum(bool(ask.answer) for ask in every)
    wanted = [ask for ask in every if not ask.answer]
    told = _from(progress, given, len(every))
    replies = iter(_replies(session, wanted, shields, told, task))
    exchanges: list[Exchange] = []
    for label, asks in asked.items():
        exchanges += _scored(session, label, [ask for ask in asks if ask.answer])
        exchanges += [
            Exchange(ask.prompt, next(replies), label, ask.prefill)
            for ask in asks
            if not ask.answer
        ]
    return exchanges


def _cut(session: Session, asks: Sequence[Ask]) -> list[Ask]:
    """Return asks whose prefill is all that is forced of it."""
    return [
        ask
        if ask.prefill_tokens is None
        else replace(
            ask,
            prefill=first_tokens(session.loaded.tokenizer, ask.prefill, ask.prefill_tokens),
            prefill_tokens=None,
        )
        for ask in asks
    ]


def _scored(session: Session, label: str, asks: Sequence[Ask]) -> list[Exchange]:
    """Return the loss on given answers; nothing is generated."""
    samples = [replace(ask.sample, response=ask.answer) for ask in asks]
    losses = of_responses(session, samples, mean=True) if samples else []
    return [
        Exchange(ask.prompt, ask.answer, label, loss=-found)
        for ask, found in zip(asks, losses, strict=True)
        if not isnan(found)
    ]


def _replies(
    session: Session,
    asks: Sequence[Ask],
    shields: Sequence[ShieldChoice],
    told: Callable[[int], None] | None,
    task: DiagnosticTask | None,
) -> list[str]:
    """Return a reply to each ask, those that are shielded through the shields."""
    replies = [""] * len(asks)
    for during in dict.fromkeys(ask.during for ask in asks if not ask.shielded):
        bare = [i for i, ask in enumerate(asks) if not ask.shielded and ask.during == during]
        found = _unshielded(session, [asks[index] for index in bare], told, task)
        for index, reply in zip(bare, found, strict=True):
            replies[index] = reply

    def complete(samples: Sequence[Sample], prefills: Sequence[str]) -> list[str]:
        return _complete(session, samples, prefills)

    for decoy in (False, True):
        through = [i for i, ask in enumerate(asks) if ask.shielded and ask.decoy is decoy]
        if not through or not shields:
            continue
        used = [with_decoy(shield) for shield in shields] if decoy else shields
        found = apply_shields(used, complete, *_given([asks[i] for i in through]))
        for index, reply in zip(through, found, strict=True):
            replies[index] = reply
        if told is not None:
            told(len(asks))
    return replies


def _unshielded(
    session: Session,
    asks: Sequence[Ask],
    told: Callable[[int], None] | None,
    task: DiagnosticTask | None,
) -> list[str]:
    """Return the replies of the model as it is, or altered as all these asks want it.

    In an altered model each prompt goes through in one pass.
    """
    during = asks[0].during
    if during is None:
        return _complete(session, *_given(asks), progress=told)
    if task is None:
        raise RunError("A condition alters the model, and there are no requests to do so with.")
    with during(judging_context(session), task):
        return _complete(session, *_given(asks), share=False)


def _complete(
    session: Session,
    samples: Sequence[Sample],
    prefills: Sequence[str],
    progress: Callable[[int], None] | None = None,
    *,
    share: bool = True,
) -> list[str]:
    """Return greedy replies, after a look whether system prompts reach the model."""
    system = next((sample for sample in samples if sample.system), None)
    if system is not None and system.system.strip() not in session.template(system).prompt:
        raise RunError(
            "The template leaves the system prompt of a sample out, so the model would be asked "
            "something else. Use a template that takes one, or put the text into the instruction "
            "(for shield secret-prefix: where: instruction)."
        )
    forced = list(prefills) if any(prefills) else None
    return session.complete(samples, prefills=forced, progress=progress, share=share)


def _given(asks: Sequence[Ask]) -> tuple[list[Sample], list[str]]:
    return [ask.sample for ask in asks], [ask.prefill for ask in asks]


def _from(progress: Progress | None, offset: int, total: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(offset + done, total)
