"""Rounds of updates to hold rules to, and rules with settings that fit them."""

from typing import Any

import torch

from fedsafe.contracts import Aggregate, State, Updates, rules

F = 2
"""Attackers assumed wherever a rule asks."""
N = 4 * F + 3
"""Enough for every rule."""


def settings_of(name: str, **given: Any) -> dict[str, Any]:
    known = rules[name].schema.model_fields
    return {key: value for key, value in {"byzantine": F, **given}.items() if key in known}


def round_of(rows: torch.Tensor, seed: int = 7, **changes: Any) -> Updates:
    """A round with a fixed model and root, which some rules ask for."""
    generator = torch.Generator().manual_seed(seed)
    n, d = rows.shape
    given = {
        "weights": torch.full((n,), 1 / n),
        "clients": tuple(f"client-{i}" for i in range(n)),
        "model": torch.randn(d, generator=generator),
        "root": torch.randn(d, generator=generator) + 0.5,
        "probe": {f"client-{i}": i / n for i in range(n)},
        **changes,
    }
    return Updates(rows, **given)


def apply(name: str, updates: Updates, state: State | None = None, **given: Any) -> Aggregate:
    rule = rules[name].configure(settings_of(name, **given))
    return rule(updates, state or {})


def honest(n: int = N, d: int = 40, seed: int = 0, shift: float = 0.5) -> torch.Tensor:
    """Updates around a common direction, no two alike."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + shift


def smallest(name: str) -> int:
    rule = rules[name]
    return rule.minimum(**rule.resolve(settings_of(name))) if rule.minimum else 1
