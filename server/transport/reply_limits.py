"""How large a reply may be, and checks that it is no larger when it is rebuilt.

Flower builds an array by repeating its pieces as often as the client's list says. Knows
Flower's objects, and nothing of networks.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flwr.app import Array, ArrayRecord, Message

from fedsafe.flower.internals import (
    get_object_body,
    get_object_children_ids_from_object_content,
    get_object_type_from_object_content,
    iterate_object_tree,
)

MARGIN = 2**20
"""Bytes that a reply may have beyond what its question promises, and words beside arrays."""
WORDS_AN_ARRAY = 2**10
"""Bytes of names, ids and shapes for each array."""
SMALLEST_PIECE = 2**16
"""Bytes; a client that cuts its arrays into smaller pieces is refused (Flower's own: 5 MB)."""


@dataclass(frozen=True)
class Bounds:
    """How large the answer to a question may be."""

    bytes: int
    parts: int
    """Flower's objects: records, arrays and their pieces."""
    words: int
    """Bytes of any object that is no piece of an array."""


class RefusedError(Exception):
    """A reply breaks a bound or cannot be rebuilt."""


def bounds(question: Message) -> Bounds:
    """Return the bounds of the answer: twice the arrays of the question, and a margin."""
    records = question.content.values() if question.has_content() else ()
    arrays = [a for r in records if isinstance(r, ArrayRecord) for a in r.values()]
    size = sum(len(array.data) for array in arrays)
    words = MARGIN + WORDS_AN_ARRAY * len(arrays)
    return Bounds(2 * size + words, 64 + 8 * len(arrays) + size // SMALLEST_PIECE, words)


def parts(tree: Any, limits: Bounds) -> Iterator[str]:
    """Yield the ids of a reply's objects, each once, children first.

    Raises:
        RefusedError: They are too many.
    """
    known: set[str] = set()
    for count, node in enumerate(iterate_object_tree(tree)):
        if count >= limits.parts:
            raise RefusedError(f"it has more than the {limits.parts} parts expected at most")
        if node.object_id not in known:
            known.add(node.object_id)
            yield node.object_id


def check_sizes(contents: dict[str, bytes], limits: Bounds) -> None:
    """See that nothing grows when a reply is rebuilt.

    Raises:
        RefusedError: Its words are too long, or its arrays repeat their pieces.
    """
    built = 0
    for content in contents.values():
        kind = get_object_type_from_object_content(content)
        if kind == "ArrayChunk":
            continue
        if len(content) > limits.words:
            raise RefusedError(f"a {kind} of {len(content)} bytes, not {limits.words} at most")
        if kind == "Array":
            built += _built(content, contents)
            if built > limits.bytes:
                raise RefusedError(f"its arrays repeat their pieces beyond {limits.bytes} bytes")


def _built(content: bytes, contents: dict[str, bytes]) -> int:
    """Return the bytes that an array would take when rebuilt."""
    children = get_object_children_ids_from_object_content(content)
    sizes = [len(contents[child]) for child in children]
    pieces = json.loads(get_object_body(content, Array))["arraychunk_ids"]
    return sum(sizes[piece] for piece in pieces)
