"""Chat conversations as samples: system text, every exchange, and a count of what is left out.

Reads OpenAI's messages (content parts included), ShareGPT's turns and LLaMA-Factory's
history. Knows nothing of files.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fedsafe.contracts import Turn
from fedsafe.data.cells import text_of
from fedsafe.data.reading import shown
from fedsafe.errors import DataError

USERS: Final = frozenset({"user", "human", "prompter"})
ASSISTANTS: Final = frozenset({"assistant", "gpt", "model", "chatgpt", "bot"})
SYSTEMS: Final = frozenset({"system", "developer"})
CALLS: Final = ("tool_calls", "function_call")

LeftOut = Counter[str]
"""What is left out of the data, and how often."""


def conversation(
    where: str, turns: Sequence[Any], left_out: LeftOut
) -> tuple[str, tuple[Turn, ...]]:
    """Return a conversation's system text and its exchanges, oldest first.

    What one side says in several turns is joined by blank lines; a system turn in the
    middle goes in front of the user's next. What the assistant says before any user, and
    what nobody replies to, is left out and counted.

    Args:
        where: File, line and field, for errors.
        turns: Objects with role and content, or from and value.
        left_out: Is added to.

    Raises:
        DataError: A turn is no text, of an unknown role, or nobody replies.
    """
    said = [_turn(f"{where}, turn {number}", turn) for number, turn in enumerate(turns, 1)]
    system: list[str] = []
    asked: list[str] = []
    found: list[Turn] = []
    for who, text in said:
        if who == "system" and not found and not asked:
            system.append(text)
        elif who != "assistant":
            asked.append(text)
        elif asked:
            found.append(Turn("\n\n".join(asked), text))
            asked = []
        elif found:
            found[-1] = Turn(found[-1].instruction, f"{found[-1].response}\n\n{text}")
        else:
            left_out["assistant's turns before the first of a user"] += 1
    if not found:
        raise DataError(
            f"{where}: expected a user's turn followed by an assistant's, got "
            f"{', '.join(who for who, _ in said) or 'nothing'}."
        )
    if asked:
        left_out["last turns that no assistant replies to"] += len(asked)
    return "\n\n".join(system), tuple(found)


def exchanges(where: str, value: Sequence[Any]) -> tuple[Turn, ...]:
    """Return earlier exchanges given as pairs of instruction and response.

    Raises:
        DataError: One is no pair of texts.
    """
    found = []
    for number, pair in enumerate(value, 1):
        place = f"{where}, exchange {number}"
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise DataError(
                f"{place}: expected a pair of instruction and response, got {shown(pair)[:40]}."
            )
        fields = dict(zip(("instruction", "response"), pair, strict=True))
        found.append(
            Turn(text_of(place, fields, "instruction"), text_of(place, fields, "response"))
        )
    return tuple(found)


def _turn(where: str, turn: object) -> tuple[str, str]:
    """Return who speaks (user, assistant or system), and the text."""
    if isinstance(turn, Mapping):
        for role, content in (("role", "content"), ("from", "value")):
            if role in turn:
                who = _role(where, text_of(where, turn, role))
                _check_plain(where, turn)
                return who, _text(where, turn, content)
    got = turn if isinstance(turn, str) else shown(turn)
    raise DataError(f"{where}: expected an object with role and content, got {got[:40]!r}.")


def _role(where: str, name: str) -> str:
    role = name.strip().lower()
    for kind, names in (("user", USERS), ("assistant", ASSISTANTS), ("system", SYSTEMS)):
        if role in names:
            return kind
    raise DataError(
        f"{where}: the role '{name}' cannot be trained on; known are "
        f"{', '.join(sorted(USERS | ASSISTANTS | SYSTEMS))}. Leave the row out, or write what it "
        "says into a turn of theirs."
    )


def _check_plain(where: str, turn: Mapping[str, Any]) -> None:
    """Check that a turn calls no tool and has no loss weight of its own."""
    for name in CALLS:
        if turn.get(name):
            raise DataError(
                f"{where}: the field '{name}' calls a tool, which cannot be trained on. Leave the "
                "row out, or write the call as text into 'content'."
            )
    if turn.get("weight", 1) not in (1, None):
        raise DataError(
            f"{where}: the field 'weight' is {turn['weight']!r}, and loss is taken on every "
            "reply. Leave the turn out, or set it to 1."
        )


def _text(where: str, turn: Mapping[str, Any], name: str) -> str:
    """Return a turn's text, which may lie in several content parts."""
    value = turn.get(name)
    if value is None and isinstance(turn.get("refusal"), str):
        return text_of(where, turn, "refusal")
    if not isinstance(value, list):
        return text_of(where, turn, name)
    texts = []
    for number, part in enumerate(value, 1):
        place = f"{where}, field '{name}', part {number}"
        fields = {"text": part} if isinstance(part, str) else part
        if not isinstance(fields, Mapping):
            raise DataError(f"{place}: expected an object with text, got {shown(part)[:40]}.")
        kind = fields.get("type") or "text"
        if kind in ("text", "input_text", "output_text", "refusal"):
            texts.append(text_of(place, fields, "refusal" if kind == "refusal" else "text"))
        else:
            raise DataError(
                f"{place}: expected text, got a part of the type {str(kind)[:40]!r}. Leave the "
                "row out, or that part."
            )
    return "".join(texts)
