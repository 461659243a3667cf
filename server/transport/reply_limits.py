"""Check the object tree of a Flower reply against its bounds before anything is rebuilt.

Flower rebuilds whatever tree of objects a client sends: an array repeats its pieces as
often as its list says, a piece may itself be an array, and each level multiplies the
size of the one below. So the tree has to be exactly that of a reply (message, record
dictionary, records, arrays, chunks), with the types and counts that the question calls
for and each object where the announcement puts it. Its rebuilt size is counted first.
Knows Flower's objects, and nothing of networks.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ArrayRecord, Message

from fedsafe.flower.internals import get_object_head_values_from_object_content

MARGIN = 2**20
"""Bytes that a reply may have beyond what its question promises, and words beside arrays."""
WORDS_AN_ARRAY = 2**10
"""Bytes of names, ids and shapes for each array."""
SMALLEST_PIECE = 2**16
"""Bytes; a client that cuts its arrays into smaller pieces is refused (Flower's own: 5 MB)."""
DEPTH = 5
"""Levels of a reply: message, record dictionary, record, array, chunk."""
DIMENSIONS = 32  # of an array, as in NumPy
VALUES_BYTES = 2**18
"""Most bytes of a metric or configuration record; FedSafe's own have less than one kilobyte."""
HEAD_BYTES = 2**7
"""Bytes of an object's head, for itself and for each of its children."""
NAME_LENGTH = 2**8
"""Most characters of an array's data type."""
ARRAY_KEYS = frozenset({"dtype", "shape", "stype", "arraychunk_ids"})
"""What the body of an array says of it."""


@dataclass(frozen=True)
class Bounds:
    """How large the answer to a question may be, and which records it has."""

    bytes: int
    parts: int
    """Flower's objects: records, arrays and their pieces."""
    words: int
    """Bytes of any object that is no piece of an array."""
    arrays: int = 0
    """Arrays of its array record."""
    records: Mapping[str, int] = field(default_factory=dict)
    """Most records by type."""


class RefusedError(Exception):
    """A reply breaks a bound or cannot be rebuilt."""


def bounds(question: Message) -> Bounds:
    """Return the bounds of the answer: twice the arrays of the question, and a margin.

    A question with arrays is answered with as many arrays in one record, and one record of
    metrics; any other (who are you, farewell) with one record of settings.
    """
    records = question.content.values() if question.has_content() else ()
    arrays = [a for r in records if isinstance(r, ArrayRecord) for a in r.values()]
    size = sum(len(array.data) for array in arrays)
    words = MARGIN + WORDS_AN_ARRAY * len(arrays)
    return Bounds(
        bytes=2 * size + words,
        parts=64 + 8 * len(arrays) + size // SMALLEST_PIECE,
        words=words,
        arrays=len(arrays),
        records={"ArrayRecord": 1, "MetricRecord": 1} if arrays else {"ConfigRecord": 1},
    )


def parts(tree: Any, limits: Bounds) -> Iterator[str]:
    """Yield the ids of an announced reply's objects, each once, children first.

    Raises:
        RefusedError: They are too many, or nested deeper than a reply.
    """
    known: set[str] = set()
    for count, node in enumerate(_nodes(tree, 1)):
        if count >= limits.parts:
            raise RefusedError(f"it has more than the {limits.parts} parts expected at most")
        if node.object_id not in known:
            known.add(node.object_id)
            yield node.object_id


def _nodes(node: Any, level: int) -> Iterator[Any]:
    if level > DEPTH:
        raise RefusedError(f"its parts are nested deeper than the {DEPTH} levels of a reply")
    for child in node.children:
        yield from _nodes(child, level + 1)
    yield node


def check_tree(root: str, contents: Mapping[str, bytes], limits: Bounds) -> None:
    """Check that the objects of a reply are exactly the tree that such a reply is.

    Args:
        root: Id of the message.
        contents: Every object, by id, as it was sent.
        limits: Of the reply.

    Raises:
        RefusedError: An object has another type than its place calls for, children of its
            own where it may have none, or too many bytes; or there is one that the tree does
            not need, or too few.
    """
    _Tree(contents, limits).check(root)


class _Tree:
    """The objects of one reply, visited from the message down."""

    def __init__(self, contents: Mapping[str, bytes], limits: Bounds) -> None:
        self._contents, self._limits = contents, limits
        self._visited: set[str] = set()

    def check(self, root: str) -> None:
        """Check the message and everything below it."""
        below = self._open(root, "Message").children
        if len(below) > 1:
            raise RefusedError(f"its message has {len(below)} record dictionaries, not one")
        for child in below:
            self._record_dict(child)
        unused = len(self._contents.keys() - self._visited)
        if unused:
            raise RefusedError(f"{unused} of its parts belong to no record of it")

    def _record_dict(self, identity: str) -> None:
        found, wanted = self._open(identity, "RecordDict"), self._limits.records
        found.check_names(sum(wanted.values()))
        types = Counter(_head(self._contents[child])[0] for child in found.children)
        if types - Counter(wanted):  # what is missing costs nothing, and is for the screen to see
            raise RefusedError(f"its records are {_counted(types)}, not {_counted(wanted)}")
        for child in found.children:
            kind = _head(self._contents[child])[0]
            if kind == "ArrayRecord":
                self._array_record(child)
            else:
                self._leaf(child, kind, VALUES_BYTES)

    def _array_record(self, identity: str) -> None:
        found, built = self._open(identity, "ArrayRecord"), 0
        found.check_names(self._limits.arrays)
        for child in found.children:
            built += self._array(child)
            if built > self._limits.bytes:
                raise RefusedError(
                    f"its arrays repeat their pieces beyond {self._limits.bytes} bytes"
                )

    def _array(self, identity: str) -> int:
        """Return the bytes that an array has when it is rebuilt."""
        found = self._open(identity, "Array")
        said = json.loads(found.body)
        if not isinstance(said, dict) or said.keys() != ARRAY_KEYS:
            raise RefusedError("an array does not say its type, shape and pieces, or says more")
        if any(type(said[k]) is not str or len(said[k]) > NAME_LENGTH for k in ("dtype", "stype")):
            raise RefusedError("an array's data type is not a short text")
        if not _counts(said["shape"], DIMENSIONS):
            raise RefusedError("an array's shape is not a list of counts")
        order = said["arraychunk_ids"]
        if not _counts(order, len(found.body)) or set(order) != set(range(len(found.children))):
            raise RefusedError("an array's list of pieces does not fit its pieces")
        sizes = [self._leaf(child, "ArrayChunk", self._limits.bytes) for child in found.children]
        return sum(sizes[place] for place in order)

    def _leaf(self, identity: str, kind: str, most: int) -> int:
        """Return the bytes of an object that has no children."""
        found = self._open(identity, kind, most)
        if found.children:
            raise RefusedError(f"its {kind} has {len(found.children)} parts of its own, not none")
        return found.size

    def _open(self, identity: str, kind: str, most: int | None = None) -> "_Opened":
        """Return an object, if it is of this type and small enough."""
        content = self._contents[identity]
        self._visited.add(identity)
        is_kind, children, size = _head(content)
        if is_kind != kind:
            raise RefusedError(f"it has an object of type {_shown(is_kind)} in place of {kind}")
        most = self._limits.words if most is None else most
        if len(content) > most + HEAD_BYTES * (len(children) + 1):
            raise RefusedError(f"a {kind} of {len(content)} bytes, not {most} at most")
        if len(set(children)) != len(children):
            raise RefusedError(f"its {kind} names one part several times")
        if not 0 <= size < len(content) or content[len(content) - size - 1] != 0:
            raise RefusedError(f"its {kind} has another length than it says")
        missing = sum(child not in self._contents for child in children)
        if missing:
            raise RefusedError(f"{missing} of the parts of its {kind} are not there")
        return _Opened(kind, children, content, size)


@dataclass(frozen=True)
class _Opened:
    """An object of a reply with its head read."""

    kind: str
    children: list[str]
    content: bytes
    size: int
    """Bytes of its body."""

    @property
    def body(self) -> bytes:
        """Its bytes after the head."""
        return self.content[len(self.content) - self.size :]

    def check_names(self, most: int) -> None:
        """Check that there are at most so many names, each of one child, and no other child."""
        names = json.loads(self.body)
        if not isinstance(names, dict) or not all(isinstance(v, str) for v in names.values()):
            raise RefusedError(f"its {self.kind} is not a list of names")
        if len(names) > most:
            raise RefusedError(f"its {self.kind} has {len(names)} names, not {most}")
        if sorted(names.values()) != sorted(self.children):
            raise RefusedError(f"the names of its {self.kind} are not those of its parts")


def _head(content: bytes) -> tuple[str, list[str], int]:
    """Return an object's type, its children's ids and the length of its body."""
    try:
        kind, children, size = get_object_head_values_from_object_content(content)
    except ValueError:
        raise RefusedError("one of its parts has no head that can be read") from None
    return kind, children, size


def _counts(value: object, most: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(type(item) is int and item >= 0 for item in value)
    )


def _counted(types: Mapping[str, int]) -> str:
    listed = [f"{number} {_shown(kind)}" for kind, number in sorted(types.items())]
    return ", ".join(listed[:4]) or "none"


def _shown(kind: str) -> str:
    return "".join(character for character in kind if character.isprintable())[:40] or "''"
