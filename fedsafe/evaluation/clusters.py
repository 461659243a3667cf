"""Clusters of prompts that are not independent: groups of their suite, else near-duplicates.

Near-duplicates: TF-IDF of words and pairs of words, a cosine of at least 0.5, connected. Nearly
half of AdvBench's 520 prompts have one, so that an interval that takes them as independent is too
narrow.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fedsafe.contracts import Prompt

if TYPE_CHECKING:
    import scipy.sparse

ALIKE: Final = 0.5
"""Cosine similarity from which two prompts are near-duplicates."""
CHUNK: Final = 1000
"""Prompts that are compared with all others at a time, for bounded memory."""


def clusters_of(prompts: Sequence[Prompt]) -> dict[str, str]:
    """Return the cluster of each prompt, by its id: that of the first prompt in it."""
    found = {prompt.id: f"group {prompt.group}" for prompt in prompts if prompt.group}
    alone = [prompt for prompt in prompts if not prompt.group]
    numbers = near_duplicates([f"{prompt.instruction} {prompt.input}" for prompt in alone])
    first: dict[int, str] = {}
    for prompt, number in zip(alone, numbers, strict=True):
        found[prompt.id] = first.setdefault(number, prompt.id)
    return found


def near_duplicates(texts: Sequence[str], *, alike: float = ALIKE) -> list[int]:
    """Return the number of each text's cluster: texts that near-duplicates connect.

    Args:
        texts: In any order.
        alike: Cosine similarity of TF-IDF vectors from which two are near-duplicates.
    """
    if len(texts) < 2:
        return [0] * len(texts)
    from scipy.sparse.csgraph import connected_components
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2))
    try:
        vectors = vectorizer.fit_transform(texts)
    except ValueError:  # no text has a word
        return [list(dict.fromkeys(texts)).index(text) for text in texts]
    _, numbers = connected_components(_links(vectors, alike), directed=False)
    return [int(number) for number in numbers]


def _links(vectors: "scipy.sparse.csr_matrix", alike: float) -> "scipy.sparse.csr_matrix":
    """Return which rows are alike, as a sparse matrix of ones."""
    from scipy.sparse import vstack

    parts = []
    for start in range(0, vectors.shape[0], CHUNK):
        part = vectors[start : start + CHUNK] @ vectors.T
        part.data[part.data < alike - 1e-9] = 0.0
        part.eliminate_zeros()
        parts.append(part)
    return vstack(parts)
