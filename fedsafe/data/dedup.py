"""Near-duplicate detection within a set of texts, and overlap between two.

Texts are alike when their word shingles are: a word changed here and there, case,
spacing and marks do not hide a copy. Knows nothing of what the texts are for.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

SHINGLE: Final = 2
"""Words in a row that are compared as one."""
ALIKE: Final = 0.6
"""Jaccard similarity of shingles from which texts count as near-duplicates."""

Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Overlap:
    """How much of one set of texts is in another.

    Attributes:
        n: Texts looked for.
        exact: Those that are in the other set, word for word.
        near: Those that are not, but have a near-duplicate there.
        pairs: Index of each of both kinds, with that of its nearest text in the other set.
    """

    n: int
    exact: int
    near: int
    pairs: tuple[tuple[int, int], ...]

    @property
    def share(self) -> float:
        """Share of the texts that are in the other set, exactly or nearly."""
        return (self.exact + self.near) / self.n if self.n else 0.0


def normalise(text: str) -> str:
    """Return a text's words alone: no case, no marks, single spaces."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain))


def overlap(texts: Sequence[str], others: Iterable[str], *, alike: float = ALIKE) -> Overlap:
    """Return which texts are in another set, exactly or nearly."""
    known = [normalise(other) for other in others]
    first = {text: index for index, text in reversed(list(enumerate(known)))}
    index = NearIndex(known)
    exact = 0
    pairs: list[tuple[int, int]] = []
    for place, text in enumerate(map(normalise, texts)):
        if text in first:
            exact += 1
            pairs.append((place, first[text]))
        elif (nearest := index.nearest(text, alike)) is not None:
            pairs.append((place, nearest))
    return Overlap(len(texts), exact, len(pairs) - exact, tuple(pairs))


class NearIndex:
    """Texts by their shingles, for near-duplicates of a text among them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._shingles: list[Shingles] = []
        self._places: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Add a normalised text."""
        place = len(self._shingles)
        self._shingles.append(shingles(text))
        for shingle in self._shingles[place]:
            self._places[shingle].append(place)

    def nearest(self, text: str, alike: float) -> int | None:
        """Return the first of the texts most alike, if alike enough."""
        wanted = shingles(text)
        shared: defaultdict[int, int] = defaultdict(int)
        for place in self._candidates(wanted):
            shared[place] += 1
        best: tuple[float, int] | None = None
        for place, common in shared.items():
            similarity = common / (len(wanted) + len(self._shingles[place]) - common)
            if similarity >= alike and (best is None or (-similarity, place) < best):
                best = (-similarity, place)
        return None if best is None else best[1]

    def _candidates(self, wanted: Shingles) -> Iterator[int]:
        for shingle in wanted:
            yield from self._places.get(shingle, ())


def shingles(text: str) -> Shingles:
    """Return every run of words, or the whole text if it is shorter than one."""
    words = text.split()
    runs = range(max(len(words) - SHINGLE + 1, 1))
    return (
        frozenset(tuple(words[start : start + SHINGLE]) for start in runs) if words else frozenset()
    )
