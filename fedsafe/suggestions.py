"""Spelling suggestions for unknown names."""

import difflib
import re
from collections.abc import Iterable, Sequence

SYNONYMS = {
    "checkpoint": "path",
    "epochs": "steps",
    "gpu": "device",
    "gradient_accumulation_steps": "accumulation",
    "gradient_checkpointing": "checkpointing",
    "grad_clip": "clip",
    "iterations": "steps",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "lora_r": "rank",
    "max_grad_norm": "clip",
    "max_seq_length": "max_length",
    "model_name": "path",
    "model_name_or_path": "path",
    "nodes": "clients",
    "participants": "clients",
    "r": "rank",
    "random_state": "seed",
    "target_modules": "targets",
    "workers": "clients",
}
"""Names of other libraries, and ours for the same."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is meant, or None where none is near.

    Known: the same but for case and hyphens, a library's name for the same, initials,
    one that shares its words, a near spelling; in this order.

    >>> nearest("lr", ["steps", "learning_rate"])
    'learning_rate'
    """
    names = list(known)
    wanted = _plain(name)
    words = set(wanted.split("_"))
    for test in (
        lambda other: _plain(other) == wanted,
        lambda other: SYNONYMS.get(wanted) == other,
        lambda other: len(wanted) > 1 and _initials(other) == wanted,
        lambda other: near(wanted, other),
        lambda other: _shares(words, set(_plain(other).split("_"))),
    ):
        found = [other for other in names if test(other)]
        if found:
            return difflib.get_close_matches(name, found, n=1, cutoff=0.0)[0]
    return None


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return `` Did you mean 'x'?`` for a near miss, or nothing."""
    found = nearest(name, known)
    return f" Did you mean '{found}'?" if found else ""


def near(one: str, other: str) -> bool:
    """Tell whether two names are spelled alike."""
    return difflib.SequenceMatcher(None, _plain(one), _plain(other)).ratio() >= 0.6


def _shares(words: set[str], others: set[str]) -> bool:
    """Tell whether the words of one name are among those of the other: rounds, num_rounds."""
    long = {word for word in words & others if len(word) > 3}
    return bool(long) and (words <= others or others <= words)


def _initials(name: str) -> str:
    return "".join(word[0] for word in _plain(name).split("_") if word)


def _plain(name: str) -> str:
    """Return a name in small letters with underscores, from any style of writing."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[-. ]", "_", name).lower()
