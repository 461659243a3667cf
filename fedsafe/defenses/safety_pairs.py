"""Examples of a defense: given ones that repeat no evaluation prompt, self-written halves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fedsafe.contracts import DefenseTask, ModelContext, Sample, sources
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from fedsafe.errors import RunError


def unrepeated(
    task: DefenseTask, given: Sequence[Sample], where: str, dropped: Counter[str]
) -> list[Sample]:
    """Return given examples that repeat no evaluation prompt, and count the others.

    Args:
        task: Knows the evaluation's prompts.
        given: The examples.
        where: Where they come from, for the message.
        dropped: Counts what is left out.

    Raises:
        RunError: Every example repeats an evaluation prompt.
    """
    fresh = task.fresh([sample.instruction for sample in given])
    samples = [sample for sample, usable in zip(given, fresh, strict=True) if usable]
    if not samples:
        raise RunError(
            f"All {len(given)} examples of {where} repeat evaluation prompts or are of topics that "
            "evaluation.held_out names, and a defense must not see those. Give other examples."
        )
    dropped["repeats an evaluation prompt or is held out"] += len(given) - len(samples)
    return samples


def fresh_examples(
    context: ModelContext, task: DefenseTask, source: dict[str, Any], dropped: Counter[str]
) -> list[Sample]:
    """Return a source's examples that repeat no evaluation prompt, and count the others.

    Raises:
        ConfigError: There is no such source, or a setting of it is wrong.
        DataError: The source cannot be read.
        RunError: Every example repeats an evaluation prompt.
    """
    chosen, settings = sources.chosen(source)
    drawn = chosen.configure(settings)(context.rng.getrandbits(32))
    return unrepeated(task, drawn, f"source '{chosen.name}'", dropped)


def harmful_of(samples: Sequence[Sample]) -> list[Sample]:
    """Return unsafe instructions with the replies that comply with them.

    Of samples with a rejected reply, as preference data have, that reply; where none has one, the
    samples as they are.
    """
    pairs = [one for one in samples if one.rejected]
    return [replace(one, response=one.rejected, rejected="") for one in pairs] or list(samples)


def half_and_half(
    written: SelfWrittenPairs,
    ask_unsafe: Sequence[str],
    notes: Sequence[str],
    ask_ordinary: Sequence[str],
) -> list[Sample]:
    """Return self-written refusals, and then as many self-written helpful answers.

    Args:
        written: Writes them.
        ask_unsafe: Instructions that yield requests of the unsafe kind.
        notes: Instructions around {request} that yield its refusal.
        ask_ordinary: Instructions that yield ordinary requests.

    Raises:
        RunError: The model wrote too few of a half.
    """
    unsafe = written.half(ask_unsafe, notes, "refuse")
    ordinary = written.half(ask_ordinary, ["{request}"], "comply")
    size = min(len(unsafe), len(ordinary))
    return [*unsafe[:size], *ordinary[:size]]
