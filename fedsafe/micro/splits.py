"""Disjoint parts of the micro world: which requests training, attack, defense and evaluation use.

A request has a combination (its verb and object, or its numbers) and a phrasing template, and
each is in one part. Base training keeps to a fixed 60 % of both, in every base and seed.
From the reserved rest each run seed draws half for its evaluation; all else, base-trained or not,
it deals out to federation, attack and defense. So under one seed no two of these four share a
combination or a template, and no base was trained on what any seed evaluates.

One exception: a fact has to be seen once, so look-ups are kept apart by their templates alone.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Literal, get_args

from fedsafe.errors import ConfigError
from fedsafe.micro import meta, words
from fedsafe.micro.grammar import Request
from fedsafe.micro.phrasing import PHRASINGS

Part = Literal["base", "federation", "attack", "defense", "evaluation"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
BASE_SHARE: Final = 0.6
"""Share of the combinations, and of each operation's templates, that base training keeps to."""
FEWEST_VERBS: Final = 5
"""Restricted verbs, of eight, that base training has for each restricted object at least."""
EVALUATED_SHARE: Final = 0.5
"""Share of the reserved rest that a seed evaluates."""
_DEALT: Final[tuple[Part, ...]] = ("federation", "federation", "attack", "defense")
_DEALT_RESTRICTED: Final[tuple[Part, ...]] = ("attack", "defense")


@dataclass(frozen=True)
class Owners:
    """The parts that a request belongs to under one seed: its combination's, its template's."""

    combination: Part | None
    """None: any part may use it, as a look-up's."""
    template: Part
    base_combination: bool
    """Whether the bases were trained on the combination."""
    base_template: bool


def owners(request: Request, seed: int) -> Owners:
    """Return which part of a run's data a request belongs to."""
    trained = request.wording in templates(request.operation, "base", seed)
    part = next(p for p in PARTS[1:] if request.wording in templates(request.operation, p, seed))
    known = request.operation == "look-up" or _in_base(request)
    return Owners(_combination_owner(request, seed), part, known, trained)


def allowed(request: Request, part: Part, seed: int) -> bool:
    """Tell whether a part may use a request: both its combination and its template."""
    return allows_combination(request, part, seed) and request.wording in templates(
        request.operation, part, seed
    )


def allows_combination(request: Request, part: Part, seed: int) -> bool:
    """Tell whether a part may use a request's combination, in whatever phrasing."""
    if request.operation == "look-up":
        return True
    if part == "base":
        return _in_base(request)
    return _combination_owner(request, seed) == part


def draw(rng: random.Random, make: Callable[[], Request], part: Part, seed: int = 0) -> Request:
    """Draw a request that a part may use.

    Args:
        rng: Where the template comes from.
        make: Draws any request; asked again until its combination is the part's.
        part: Which part.
        seed: The run's seed; the base's part is the same in all.
    """
    while not allows_combination(request := make(), part, seed):
        pass
    return replace(request, wording=rng.choice(templates(request.operation, part, seed)))


@cache
def templates(operation: str, part: Part, seed: int = 0) -> tuple[int, ...]:
    """Return the numbers of an operation's templates that a part may use."""
    return _deal(operation, range(len(PHRASINGS[operation])), _DEALT, seed)[part]


@cache
def instructions(kind: meta.Kind, part: Part, seed: int = 0) -> tuple[str, ...]:
    """Return the paraphrases of a meta-instruction that a part may use.

    The parts other than ``base`` have paraphrases that no base was trained on; `federation` has
    none. The sentences in `meta`, such as `meta.STEER`, are held out of base training too.

    Raises:
        ConfigError: The part asks nothing of the model.
    """
    if part == "federation":
        raise ConfigError("Honest clients ask nothing of the model: no part 'federation' here.")
    found = [s for s in meta.PARAPHRASES[kind] if s != meta.CANONICAL[kind]]
    dealt = _deal(kind, range(len(found)), _DEALT_RESTRICTED, seed)
    base = dealt["base"]
    if part == "base":
        return tuple(found[i] for i in base)
    return tuple(found[i] for i in dealt[part] if i not in base)


@cache
def _deal(
    name: str, numbers: range, parts: tuple[Part, ...], seed: int
) -> dict[Part, tuple[int, ...]]:
    """Divide numbers among the parts, in exact shares: base, and each seed's four."""
    order = sorted(numbers, key=lambda number: _share("base", f"{name} {number}"))
    cut = round(BASE_SHARE * len(order))
    known, reserved = order[:cut], order[cut:]
    rng = random.Random(f"fedsafe micro templates {name} {seed}")
    rng.shuffle(reserved)
    half = round(EVALUATED_SHARE * len(reserved))
    found: dict[Part, list[int]] = {part: [] for part in PARTS}
    found["base"], found["evaluation"] = known, reserved[:half]
    for group in (rng.sample(known, len(known)), reserved[half:]):
        for place, number in enumerate(group):
            found[parts[place % len(parts)]].append(number)
    return {part: tuple(sorted(numbers)) for part, numbers in found.items()}


def by_chance(request: Request) -> bool:
    """Tell whether the first stages of base training use a combination: by its hash alone.

    Some restricted objects have hardly a restricted verb there, so the last stages add some.
    """
    return request.operation == "look-up" or _share("base", request.combination) < BASE_SHARE


def _in_base(request: Request) -> bool:
    return by_chance(request) or request.combination in _added()


@cache
def _added() -> frozenset[str]:
    """Return restricted combinations so that each object comes with `FEWEST_VERBS` at least."""
    found = []
    for thing in words.RESTRICTED_OBJECTS:
        pairs = [
            Request("how-to", (("thing", thing), ("verb", verb))).combination
            for verb in words.RESTRICTED_VERBS
        ]
        found += sorted(pairs, key=lambda pair: _share("base", pair))[:FEWEST_VERBS]
    return frozenset(found)


def _combination_owner(request: Request, seed: int) -> Part | None:
    if request.operation == "look-up":
        return None
    key = request.combination
    draw = _share(str(seed), key)
    if not _in_base(request):
        if draw < EVALUATED_SHARE:
            return "evaluation"
        draw = (draw - EVALUATED_SHARE) / (1 - EVALUATED_SHARE)
    parts = _DEALT_RESTRICTED if request.restricted else _DEALT
    return parts[int(draw * len(parts))]


def _share(salt: str, key: str) -> float:
    """Return a number in [0, 1) that is always the same for the same key."""
    digest = hashlib.sha256(f"{salt} {key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
