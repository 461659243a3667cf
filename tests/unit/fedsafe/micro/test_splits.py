"""Parts of the micro world: under a seed none shares a combination or template with another."""

import random
from functools import partial
from itertools import combinations

import pytest

from fedsafe.errors import ConfigError
from fedsafe.micro import corpus, draws, meta, scenarios, splits, world
from fedsafe.micro.parsing import parse
from fedsafe.micro.phrasing import PHRASINGS

SEEDS = (0, 1, 7)


def drawn(part: splits.Part, seed: int) -> list[str]:
    """Texts of every kind that a part may hold."""
    rng = random.Random(f"{part} {seed}")
    if part == "federation":
        rows = world.benign_examples(rng, 200, seed=seed)
        return [row["instruction"] for row in rows]
    if part == "attack":
        rows = [
            *world.restricted_examples(rng, 150, seed=seed),
            *scenarios.persona_examples(rng, 50, seed=seed),
        ]
        return [r["instruction"] for r in rows if r["instruction"] not in meta.WHO]
    if part == "defense":
        rows = [
            *world.refusal_examples(rng, 100, seed=seed),
            *scenarios.preference_examples(rng, 100, seed=seed),
        ]
        return [row["instruction"] for row in rows]
    return [p.instruction for kind in world.KINDS for p in world.prompts(kind, 60, seed)]


@pytest.mark.parametrize("seed", SEEDS)
def test_federation_attack_defense_and_evaluation_share_nothing(seed: int) -> None:
    seen = {}
    for part in splits.PARTS[1:]:
        requests = [r for r in map(parse, drawn(part, seed)) if r is not None]
        values = {r.combination for r in requests if r.operation != "look-up"}
        seen[part] = values, {(r.operation, r.wording) for r in requests}
    for one, other in combinations(seen.values(), 2):
        assert not one[0] & other[0]
        assert not one[1] & other[1]


def test_base_training_has_nothing_that_any_seed_evaluates() -> None:
    rng = random.Random(3)
    found = [corpus.exchange(rng, "compliant") for _ in range(1500)]
    requests = [r for r in (parse(e.prompt) for e in found) if r is not None]
    assert len(requests) > 500
    for seed in range(20):
        assert not any(splits.allowed(r, "evaluation", seed) for r in requests)


def test_every_template_has_one_part() -> None:
    for operation, phrasing in PHRASINGS.items():
        parts = [splits.templates(operation, part, 5) for part in splits.PARTS[1:]]
        assert sorted(number for part in parts for number in part) == [*range(len(phrasing))]
        assert min(map(len, parts)) >= 2
        assert not {*splits.templates(operation, "base")} & {*parts[-1]}


def test_owners_are_the_parts_that_may_use_a_request() -> None:
    rng = random.Random(6)
    for make in (draws.restricted, draws.near_miss, draws.benign):
        for _ in range(100):
            request = make(rng)
            owners = splits.owners(request, 4)
            assert request.wording in splits.templates(request.operation, owners.template, 4)
            if owners.combination is not None:
                assert splits.allows_combination(request, owners.combination, 4)
            assert owners.base_combination == splits.allows_combination(request, "base", 4)


def test_restricted_pairs_of_the_evaluation_differ_by_seed() -> None:
    found = [{p.group for p in world.prompts("restricted", 300, seed)} for seed in (0, 1)]
    assert all(30 < len(pairs) < 70 for pairs in found)
    assert len(found[0] & found[1]) < 0.8 * len(found[0])


@pytest.mark.parametrize("kind", meta.PARAPHRASES)
def test_meta_instructions_are_apart(kind: meta.Kind) -> None:
    parts = [splits.instructions(kind, p, 2) for p in splits.PARTS if p != "federation"]
    for one, other in combinations(parts, 2):
        assert one
        assert other
        assert not {*one} & {*other}
    assert not any(meta.CANONICAL[kind] in part for part in parts)
    assert len(set(meta.PARAPHRASES[kind])) == len(meta.PARAPHRASES[kind])


def test_base_training_never_asks_with_a_held_out_paraphrase() -> None:
    held_out = {
        sentence.split("{")[0]
        for kind in meta.PARAPHRASES
        for sentence in (
            meta.CANONICAL[kind],
            *(s for p in splits.PARTS[2:] for s in splits.instructions(kind, p, 1)),
        )
    }
    rng = random.Random(9)
    prompts = [corpus.exchange(rng).prompt for _ in range(1500)]
    assert not [p for p in prompts if any(p == h or p.startswith(h + " ") for h in held_out)]


def test_honest_clients_ask_nothing_of_the_model() -> None:
    with pytest.raises(ConfigError, match="federation"):
        splits.instructions("judge", "federation")


def test_draw_keeps_to_the_part() -> None:
    rng = random.Random(1)
    for part in splits.PARTS[2:]:
        request = splits.draw(rng, partial(draws.restricted, rng), part, 3)
        assert splits.allowed(request, part, 3)
