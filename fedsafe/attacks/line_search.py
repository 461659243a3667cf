"""Searches for the largest or the most damaging size of an update attack's step.

Shared by the update attacks; no attack itself.
"""

from collections.abc import Callable


def largest_accepted(accepts: Callable[[float], bool], start: float, tolerance: float) -> float:
    """Search the largest accepted size by halving steps, as the NDSS 2021 attacks' code does.

    Args:
        accepts: Whether a size is accepted.
        start: First size tried; the first step is half of it.
        tolerance: Ends the search when the next size is this near to the last accepted one.

    Returns:
        The last accepted size; 0 where none was.
    """
    size, step, accepted = start, start / 2, 0.0
    while abs(accepted - size) > tolerance:
        if accepts(size):
            accepted = size
            size += step
        else:
            size -= step
        step /= 2
    return accepted


def largest_accepted_signguard(accepts: Callable[[float], bool], start: float = 2.0) -> float:
    """Search as SignGuard's code does: steps from start / 4 halve, but not below 0.05."""
    size, step, accepted = start, start / 2, 0.0
    tried = 0
    while abs(accepted - size) > 0.02 and tried < 1000:
        if accepts(size):
            accepted = size
            size += step / 2
        else:
            size -= step / 2
        step = max(step / 2, 0.1)
        tried += 1
    return accepted


def most_damaging(
    damage: Callable[[float], float],
    evaluations: int = 20,
    start: float = 0.0,
    step: float = 10.0,
    ratio: float = 0.8,
) -> float:
    """Search the size of the largest damage by growing, then shrinking steps (ByzFL's search).

    Args:
        damage: Of a size, to be made large.
        evaluations: Sizes tried.
        start: First size.
        step: First step; it doubles while the damage grows.
        ratio: Of each later step to the one before it.
    """
    best, most = start, damage(start)
    growing = True
    for _ in range(evaluations - 1):
        size = best + step
        found = damage(size)
        better = found > most
        if better:
            best, most = size, found
        growing = growing and better
        step *= 2 if growing else ratio
    return best


def best_of_grid(
    gain: Callable[[float], float], lowest: float, highest: float, points: int = 25, finer: int = 3
) -> float:
    """Search the smallest size of the largest gain on a geometric grid, refined around the best.

    Robust to gains that jump, as those of rules that select clients do. Returns 0 where no
    size gains more than 0 does, and never more than the highest.
    """
    best, most = 0.0, gain(0.0)
    low, high = lowest, highest
    for _ in range(finer):
        ratio = (high / low) ** (1 / (points - 1))
        for size in (low * ratio**index for index in range(points)):
            found = gain(size)
            if found > most + 1e-9 * abs(most):
                best, most = size, found
        if best == 0.0:
            break
        low, high = best / ratio, min(best * ratio, highest)
    return best
