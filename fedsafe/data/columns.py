"""Column mapping: rows to samples by instruction and response field.

Knows nothing of files or formats.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fedsafe.contracts import Sample, Turn
from fedsafe.data.cells import find, listed, text_of
from fedsafe.data.conversations import LeftOut, conversation, exchanges
from fedsafe.data.reading import Row
from fedsafe.errors import DataError

AUTO: Final = "auto"
KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "instruction": ("instruction", "prompt", "question", "query"),
    "response": ("response", "output", "completion", "answer"),
    "input": ("input", "context"),
    "topic": ("topic", "category"),
}
"""Names that are recognised for each field, the first that is there."""
BESIDE: Final[Mapping[str, tuple[str, ...]]] = {
    "system": ("system", "system_prompt"),
    "history": ("history",),
    "rejected": ("rejected",),
}
"""The same for fields that have no setting."""
CONVERSATIONS: Final = ("messages", "conversations", "conversation")
TOOLS: Final = ("tools", "functions")


@dataclass(frozen=True)
class Mapped:
    """The user's names of the fields; ``auto`` recognises the usual ones, None is no field."""

    instruction: str = AUTO
    response: str = AUTO
    input: str | None = AUTO
    topic: str | None = AUTO


def examples(
    rows: Iterable[Row],
    wanted: Mapped,
    *,
    skip_empty: bool = False,
    limit: int | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[Sample]:
    """Yield the rows as samples; each row's own fields decide which is which.

    Args:
        rows: Where each stands, and its fields.
        wanted: The names given by the user.
        skip_empty: Leave rows out whose instruction or response is empty.
        limit: At most so many samples; None: all.
        left_out: Is told what is left out, and how often.

    Raises:
        DataError: A field is missing, or is no text, or is empty; or no row has a field
            that the user named.
    """
    counted = LeftOut() if left_out is None else left_out
    named = {name for name in (wanted.input, wanted.topic) if name not in (None, AUTO)}
    first: Row | None = None
    seen: dict[str, str] = {}
    yielded = 0
    for where, row in rows:
        if limit is not None and yielded >= limit:
            break
        first = first or (where, row)
        named = {name for name in named if find(row, str(name)) is None}
        example = _sample(where, row, wanted, counted, seen)
        empty = _empty(example)
        if empty and not skip_empty:
            raise DataError(
                f"{where}: the {empty} is empty. Fill it in, or set skip_empty: true to leave such "
                "rows out."
            )
        if empty:
            counted[f"rows whose {empty} is empty"] += 1
            continue
        yielded += 1
        yield example
    if first is not None:
        for name in sorted(map(str, named)):
            text_of(*first, name)


def _sample(
    where: str,
    row: Mapping[str, Any],
    wanted: Mapped,
    left_out: LeftOut,
    seen: dict[str, str],
) -> Sample:
    if any(row.get(name) for name in TOOLS):
        left_out["declarations of tools"] += 1
    if wanted.instruction == wanted.response == AUTO:
        if talk := _list_in(row, CONVERSATIONS):
            return _conversation(where, row, talk, wanted, left_out)
        if _list_in(row, ("chosen",)) and _list_in(row, ("rejected",)):
            return _pair(where, row, wanted, left_out)
    names = _names(where, row, wanted, seen)

    def optional(part: str) -> str:
        return text_of(where, row, names[part], optional=True) if part in names else ""

    earlier = row.get(names.get("history", "")) or ()
    if not isinstance(earlier, list | tuple):
        left_out["fields 'history' that are no list"] += 1
        earlier = ()
    return Sample(
        instruction=text_of(where, row, names["instruction"]),
        response=text_of(where, row, names["response"]),
        input=optional("input"),
        topic=optional("topic"),
        system=optional("system"),
        history=exchanges(f"{where}, field 'history'", earlier),
        rejected=optional("rejected"),
    )


def _conversation(
    where: str, row: Mapping[str, Any], name: str, wanted: Mapped, left_out: LeftOut
) -> Sample:
    """Return a whole conversation; its last exchange is the instruction and the response."""
    system, turns = conversation(f"{where}, field '{name}'", row[name], left_out)
    beside = _recognised(row, "system")
    if beside is not None:
        own = text_of(where, row, beside)
        system = "\n\n".join(text for text in (own, system) if text)
    return _of_turns(system, turns, _topic(where, row, wanted))


def _of_turns(system: str, turns: Sequence[Turn], topic: str) -> Sample:
    """Return a conversation as a sample: its last exchange is instruction and response."""
    *history, last = turns
    return Sample(
        last.instruction,
        last.response,
        topic=topic,
        system=system,
        history=tuple(history),
    )


def _pair(where: str, row: Mapping[str, Any], wanted: Mapped, left_out: LeftOut) -> Sample:
    """Return a conversation with a chosen and a rejected ending."""
    names = [_list_in(row, (name,)) for name in ("chosen", "rejected")]
    asked = row.get(_list_in(row, ("prompt",)), [])
    topic = _topic(where, row, wanted)
    chosen, rejected = (
        _of_turns(*conversation(f"{where}, field '{n}'", [*asked, *row[n]], left_out), topic)
        for n in names
    )
    if replace(chosen, response=rejected.response) != rejected:
        raise DataError(
            f"{where}: expected 'chosen' and 'rejected' to differ in the last reply alone, got "
            "different conversations. Correct the row."
        )
    return replace(chosen, rejected=rejected.response)


def _topic(where: str, row: Mapping[str, Any], wanted: Mapped) -> str:
    name = _recognised(row, "topic") if wanted.topic == AUTO else wanted.topic
    return text_of(where, row, name, optional=True) if name is not None else ""


def _names(
    where: str, row: Mapping[str, Any], wanted: Mapped, seen: dict[str, str]
) -> dict[str, str]:
    """Return the name of each field that the row has, as given or as recognised.

    ``seen`` has the names of earlier rows, for what is said of a row that lacks one.
    """
    given = {part: getattr(wanted, part) for part in KNOWN}
    found = {part: name for part, name in given.items() if name not in (None, AUTO)}
    for part in (*KNOWN, *BESIDE):
        if given.get(part, AUTO) == AUTO:
            name = _recognised(row, part, set(found.values()))
            if name is not None:
                found[part] = name
    if "response" not in found and "rejected" in found and (chosen := find(row, "chosen")):
        found["response"] = chosen
    if "instruction" not in found and "input" in found and given["instruction"] == AUTO:
        found["instruction"] = found.pop("input")  # pairs of input and output
    for part in ("instruction", "response"):
        if part not in found:
            if part in seen:
                text_of(where, row, seen[part])
            raise DataError(_unrecognised(where, row, part))
    seen.update(found)
    return found


def _recognised(row: Mapping[str, Any], part: str, taken: Collection[str] = ()) -> str | None:
    """Return the row's field for a part: the first known name with a value, else the first."""
    choices = KNOWN.get(part) or BESIDE[part]
    there = [own for name in choices if (own := find(row, name)) is not None and own not in taken]
    filled = [name for name in there if row[name] is not None]
    return next(iter(filled or there), None)


def _list_in(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Return the first of some fields that holds a list; empty: none does."""
    found = (find(row, name) for name in names)
    return next((name for name in found if name is not None and isinstance(row[name], list)), "")


def _empty(example: Sample) -> str:
    """Return what of a sample is empty, if anything is."""
    for part in ("instruction", "response"):
        if not getattr(example, part).strip():
            return part
        if any(not getattr(turn, part).strip() for turn in example.history):
            return f"{part} of an earlier turn"
    return ""


def _unrecognised(where: str, row: Mapping[str, Any], part: str) -> str:
    if list(row) == ["text"]:
        return (
            f"{where}: the only field is 'text', which does not say where the response begins. "
            "Split it into two fields, 'instruction' and 'response'."
        )
    return (
        f"{where}: expected a field for the {part} ({', '.join(KNOWN[part])}), got {listed(row)}. "
        f"Name the field in the setting '{part}'."
    )
