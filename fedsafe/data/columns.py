"""Which field of a row is the instruction, which the response; rows to examples.

Knows nothing of files or formats.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from fedsafe.contracts import Example
from fedsafe.data.reading import Row
from fedsafe.errors import DataError
from fedsafe.plugins import suggestion

AUTO: Final = "auto"
KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "instruction": ("instruction", "prompt", "question", "query"),
    "response": ("response", "output", "completion", "answer"),
    "input": ("input", "context"),
    "topic": ("topic", "category"),
}
"""Names that are recognised for each field, the first that is there."""
CONVERSATIONS: Final = ("messages", "conversations", "conversation")
ASKS: Final = frozenset({"user", "human"})
REPLIES: Final = frozenset({"assistant", "gpt", "model"})


@dataclass(frozen=True)
class Mapped:
    """The user's names of the fields; ``auto`` recognises the usual ones, None is no field."""

    instruction: str = AUTO
    response: str = AUTO
    input: str | None = AUTO
    topic: str | None = AUTO


def examples(rows: Iterable[Row], wanted: Mapped, *, skip_empty: bool = False) -> Iterator[Example]:
    """Yield the rows as examples; the first row decides which field is which.

    Args:
        rows: Where each stands, and its fields.
        wanted: The names given by the user.
        skip_empty: Leave rows out whose instruction or response is empty.

    Raises:
        DataError: A field is missing, or is no text, or is empty.
    """
    names: dict[str, str] | None = None
    for where, row in rows:
        talk = _conversation(row) if wanted.instruction == wanted.response == AUTO else ""
        if names is None and not talk:
            names = _names(where, row, wanted)
        example = _turns(where, row, talk, wanted) if talk else _example(where, row, names or {})
        blank = not example.instruction.strip() or not example.response.strip()
        if blank and not skip_empty:
            part = "instruction" if not example.instruction.strip() else "response"
            raise DataError(
                f"{where}: the {part} is empty. Fill it in, or set skip_empty: true to leave such "
                "rows out."
            )
        if not blank:
            yield example


def text_of(where: str, row: Mapping[str, Any], name: str, *, optional: bool = False) -> str:
    """Return a field's text.

    Raises:
        DataError: The field is missing, or is no text.
    """
    if name not in row:
        if optional:
            return ""
        raise DataError(
            f"{where}: expected a field '{name}', got {_listed(row)}.{suggestion(name, list(row))}"
        )
    value = row[name]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{where}: expected text in field '{name}', got {type(value).__name__} "
            f"{str(value)[:40]!r}. Put it in quotes, or name another field."
        )
    return value


def _example(where: str, row: Mapping[str, Any], names: Mapping[str, str]) -> Example:
    def optional(part: str) -> str:
        return text_of(where, row, names[part], optional=True) if part in names else ""

    return Example(
        instruction=text_of(where, row, names["instruction"]),
        response=text_of(where, row, names["response"]),
        input=optional("input"),
        topic=optional("topic"),
    )


def _names(where: str, row: Mapping[str, Any], wanted: Mapped) -> dict[str, str]:
    """Return the name of each field that there is, as given or as recognised."""
    found: dict[str, str] = {}
    given = {part: getattr(wanted, part) for part in KNOWN}
    for part, name in given.items():
        if name is not None and name != AUTO:
            text_of(where, row, name)
            found[part] = name
    for part, choices in KNOWN.items():
        free = [name for name in choices if name in row and name not in found.values()]
        if given[part] == AUTO and free:
            found[part] = free[0]
    for part in ("instruction", "response"):
        if part not in found:
            raise DataError(_unrecognised(where, row, part))
    return found


def _unrecognised(where: str, row: Mapping[str, Any], part: str) -> str:
    if list(row) == ["text"]:
        return (
            f"{where}: the only field is 'text', which does not say where the response begins. "
            "Split it into two fields, 'instruction' and 'response'."
        )
    return (
        f"{where}: expected a field for the {part} ({', '.join(KNOWN[part])}), got {_listed(row)}. "
        f"Name the field in the setting '{part}'."
    )


def _conversation(row: Mapping[str, Any]) -> str:
    return next((name for name in CONVERSATIONS if isinstance(row.get(name), list)), "")


def _turns(where: str, row: Mapping[str, Any], name: str, wanted: Mapped) -> Example:
    """Return the first thing a user says and the assistant's reply to it."""
    turns: Sequence[Any] = row[name]
    said = [_turn(f"{where}, field '{name}', turn {n}", turn) for n, turn in enumerate(turns, 1)]
    for (who, asked), (other, reply) in pairwise(said):
        if who in ASKS and other in REPLIES:
            topics = KNOWN["topic"] if wanted.topic == AUTO else (wanted.topic,)
            topic = next((t for t in topics if t is not None and t in row), "")
            return Example(asked, reply, topic=text_of(where, row, topic, optional=True))
    raise DataError(
        f"{where}, field '{name}': expected a user's turn followed by an assistant's, got "
        f"{', '.join(who for who, _ in said) or 'nothing'}."
    )


def _turn(where: str, turn: object) -> tuple[str, str]:
    if isinstance(turn, Mapping):
        for role, content in (("role", "content"), ("from", "value")):
            if role in turn:
                return text_of(where, turn, role), text_of(where, turn, content)
    raise DataError(f"{where}: expected an object with role and content, got {str(turn)[:40]!r}.")


def _listed(row: Mapping[str, Any]) -> str:
    return f"the fields {', '.join(map(str, row))}" if row else "no field"
