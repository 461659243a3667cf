"""What token sequences have in common: a shared beginning, and prompts that begin others.

Knows nothing of models.
"""

from collections.abc import Sequence

Ids = tuple[int, ...]


def shared_prefix(prompts: Sequence[Ids]) -> int:
    """Return how many ids all prompts begin with alike, each keeping at least one of its own."""
    first, last = min(prompts), max(prompts)
    alike = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        alike += 1
    return min(alike, min(map(len, prompts)) - 1)


def roots(prompts: Sequence[Ids]) -> dict[Ids, Ids]:
    """Return, for each prompt, the shortest of them that it begins with: itself, or another.

    A prompt with a prefilled reply begins with the prompt that has none.
    """
    found: dict[Ids, Ids] = {}
    root: Ids | None = None
    for prompt in sorted(set(prompts)):  # whatever begins with a prompt follows it at once
        if root is None or prompt[: len(root)] != root:
            root = prompt
        found[prompt] = root
    return found
