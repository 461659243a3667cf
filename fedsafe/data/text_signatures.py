"""Signatures of texts: find a text or a near-duplicate in a set that is known by hashes alone.

The server makes them of its evaluation prompts; whoever makes training data is handed these
and never the prompts. Words are hashed under a key of the run. That keeps prompts out of
messages and logs; it is no cipher: a guessed prompt can be confirmed.
"""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Final, Literal

from fedsafe.data.dedup import ALIKE, normalise, shingles
from fedsafe.errors import RunError

Kind = Literal["", "exact", "near"]
SKETCH: Final = 64
"""Most shingles that are kept of a text: those with the smallest hashes. The overlap with a
longer one is estimated from them."""
HELD: Final = 0.9
"""Share of a known text's shingles in another from which the other repeats it, however long."""
FEWEST: Final = 4
"""Shingles below which a known text is not looked for inside longer ones."""


@dataclass(frozen=True)
class TextSignatures:
    """Hashed texts, and what is alike to them.

    Attributes:
        key: Key of the hashes, hexadecimal.
        whole: 64-bit hashes of the normalised texts.
        sketches: Up to ``SKETCH`` smallest 32-bit hashes of the shingles of each text.
        sizes: Number of shingles of each text.
    """

    key: str
    whole: frozenset[int]
    sketches: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, texts: Iterable[str], key: str) -> "TextSignatures":
        """Return the signatures of texts under a key."""
        known = dict.fromkeys(map(normalise, texts))
        hashed = [sorted(_shingles(text, key)) for text in known]
        return cls(
            key,
            frozenset(_hash(text, key, 8) for text in known),
            tuple(tuple(hashes[:SKETCH]) for hashes in hashed),
            tuple(map(len, hashed)),
        )

    def kind(self, text: str) -> Kind:
        """Return whether a text is one of the known ones, nearly one of them, or neither.

        Near: word shingles of a Jaccard similarity of at least 0.6, or a known text all but
        whole inside a longer one.
        """
        plain = normalise(text)
        if not plain:
            return ""
        if _hash(plain, self.key, 8) in self.whole:
            return "exact"
        own = _shingles(plain, self.key)
        common = Counter(place for one in own for place in self._places.get(one, ()))
        return "near" if any(self._near(p, n, len(own)) for p, n in common.items()) else ""

    def _near(self, place: int, common: int, size: int) -> bool:
        known = self.sizes[place]
        held = common / len(self.sketches[place])
        shared = held * known
        alike = shared / (known + size - shared) >= ALIKE
        return alike or (held >= HELD and known >= FEWEST)

    @cached_property
    def _places(self) -> Mapping[int, Sequence[int]]:
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, sketch in enumerate(self.sketches):
            for one in sketch:
                places[one].append(place)
        return places

    def dumps(self) -> str:
        """Return the signatures as text, as they travel."""
        return json.dumps(
            {
                "key": self.key,
                "whole": _packed(sorted(self.whole), 8),
                "sketches": _packed([one for sketch in self.sketches for one in sketch], 4),
                "sizes": list(self.sizes),
            }
        )

    @classmethod
    def loads(cls, text: str) -> "TextSignatures":
        """Read signatures from a message.

        Raises:
            RunError: They are none.
        """
        try:
            found = json.loads(text)
            sizes = tuple(int(size) for size in found["sizes"])
            hashes = iter(_unpacked(found["sketches"], 4))
            sketches = tuple(
                tuple(next(hashes) for _ in range(min(size, SKETCH))) for size in sizes
            )
            return cls(str(found["key"]), frozenset(_unpacked(found["whole"], 8)), sketches, sizes)
        except (ValueError, KeyError, TypeError, RuntimeError):
            raise RunError(
                "The signatures of the evaluation prompts in the server's message cannot be read. "
                "Run the same FedSafe version on both sides."
            ) from None


def _shingles(text: str, key: str) -> set[int]:
    return {_hash(" ".join(shingle), key, 4) for shingle in shingles(text)}


def _hash(text: str, key: str, size: int) -> int:
    digest = blake2b(text.encode(errors="replace"), digest_size=size, key=key.encode()[:64])
    return int.from_bytes(digest.digest(), "big")


def _packed(numbers: Iterable[int], size: int) -> str:
    return base64.b64encode(b"".join(n.to_bytes(size, "big") for n in numbers)).decode()


def _unpacked(text: str, size: int) -> list[int]:
    data = base64.b64decode(text, validate=True)
    return [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]
