"""Reuse of replies that no shield changes: another shield costs no generation of the plain ones.

A condition that goes through no shield gives the same replies whatever the model is served
through. Each evaluation says what those depend on, and a later one of the same model takes them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from fedsafe.contracts import Ask, Exchange, Prompt
from fedsafe.evaluation import kept
from fedsafe.runs.files import write_text

FILE: Final = "unshielded.sha256"
"""Key of the unshielded replies, beside the replies of an evaluation."""
Asked = Mapping[str, list[Ask]]
"""What is asked, by label of the condition."""


def unshielded(asked: Asked) -> Asked:
    """Return the conditions that go through no shield.

    None where a condition does both: a model's replies may depend, in their last bits, on what
    else is in a batch, and a run must give the same bytes whichever evaluation came first.
    """
    through = {label: {ask.shielded for ask in asks} for label, asks in asked.items()}
    if any(len(both) > 1 for both in through.values()):
        return {}
    return {label: asks for label, asks in asked.items() if through[label] == {False}}


def replies(
    directory: Path,
    key: str,
    asked: Asked,
    prompts: Sequence[Prompt],
    ask: Callable[[Asked], list[Exchange]],
) -> list[Exchange]:
    """Return the replies of an evaluation and keep them; those that are known are not asked for.

    Args:
        directory: Of the evaluation; earlier ones lie beside it.
        key: sha256 of what the unshielded replies depend on.
        asked: What is asked, by label of the condition.
        prompts: All evaluation prompts.
        ask: Generates the replies to some conditions.
    """
    same = unshielded(asked)
    known = _known(directory.parent, key, prompts, same) if same else []
    left = {label: asks for label, asks in asked.items() if not known or label not in same}
    every = [*known, *(ask(left) if left else ())]
    found = [one for label in asked for one in every if one.condition == label]
    kept.keep_exchanges(directory, found)
    write_text(directory / FILE, key)
    return found


def _known(home: Path, key: str, prompts: Sequence[Prompt], same: Asked) -> list[Exchange]:
    """Return the unshielded replies of an earlier evaluation; none where there is none."""
    for path in sorted(home.glob(f"*/{FILE}")):
        if path.read_text(encoding="utf-8") != key:
            continue
        if (found := kept.exchanges(path.parent, prompts)) is not None:
            return [one for one in found if one.condition in same]
    return []
