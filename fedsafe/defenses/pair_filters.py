"""The judges that choose a defense's pairs, and why a pair is left out."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from fedsafe.contracts import DefenseTask, Outcome, Verdict

Filters = Sequence[Mapping[str, Any]]
"""Names of judges, each with its settings."""
Filter = Annotated[
    str | dict[str, Any] | tuple[str | dict[str, Any], ...],
    Field(description="Judges that choose the pairs; none: keyword, or self in its place."),
]


def filters_of(filter: Filter, task: DefenseTask) -> Filters:
    """Return the judges that a setting names; without any, the task's own."""
    chosen = filter if isinstance(filter, tuple) else (filter,)
    return [{"name": one} if isinstance(one, str) else one for one in chosen or (task.filter,)]


def why_not(verdicts: Sequence[Verdict], wanted: Outcome) -> str:
    """Return why a pair is left out: a judge contradicts it, or none knows; empty: it is kept."""
    for verdict in verdicts:
        if verdict.safe is False:
            return "judged unsafe"
        if verdict.outcome not in (wanted, "unknown"):
            return f"judged {verdict.outcome}"
    known = any(verdict.outcome == wanted or verdict.safe for verdict in verdicts)
    return "" if known else "judged unknown"
