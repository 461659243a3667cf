"""The server's secret seed decides every random draw of every rule and filter."""

from dataclasses import replace

import pytest
import torch

from fedsafe.contracts import filters, rules
from fedsafe.seeds import derive
from strategies import build
from strategies.kernels.random_columns import generator
from tests.properties.rounds import N, honest, round_of, settings_of

# d above 10,000, the fixed sample of reference-dnc; few coordinates where a rule has a say.
D = 11_000
DRAWING = [name for name in rules if "random" in rules[name].traits]
OTHERS = [name for name in rules if name not in DRAWING]


def drawing(rows, seed, number=1):
    return replace(round_of(rows), seed=seed, round=number)


def combined(name, part=(), *, rounds=1, seed=None):
    known = rules[name].schema.model_fields
    given = {"coordinates": 7} if "coordinates" in known else {}
    pipeline = build({"name": name, **settings_of(name, **given)}, part)
    # signs that lie close together, so that a random part of them decides
    rows, state = honest(N, D, shift=0.02), {}
    for number in range(1, rounds + 1):
        made = pipeline(drawing(rows, seed, number), state)
        state = made.state
    return torch.cat([made.update, made.influence])


def seen(make):
    """How many different results ten seeds give."""
    made = [make(seed) for seed in range(10)]
    return len({tuple(one.tolist()) for one in made})


@pytest.mark.parametrize("name", DRAWING)
def test_seed_of_the_round_changes_the_draws(name):
    assert seen(lambda seed: combined(name, seed=seed)) > 1


@pytest.mark.parametrize("name", DRAWING)
def test_seed_of_the_round_repeats_the_draws(name):
    assert torch.equal(combined(name, seed=5, rounds=2), combined(name, seed=5, rounds=2))


@pytest.mark.parametrize("name", OTHERS)
def test_rule_that_does_not_draw_ignores_the_seed(name):
    assert torch.equal(combined(name, seed=1), combined(name, seed=2))


@pytest.mark.parametrize("name", list(rules))
def test_without_a_seed_of_the_round_the_settings_decide(name):
    assert torch.equal(combined(name), combined(name))


@pytest.mark.parametrize("name", DRAWING)
def test_a_seed_may_have_as_many_bits_as_the_server_likes(name):
    assert seen(lambda seed: combined(name, seed=seed * 2**200)) > 1


@pytest.mark.parametrize("name", list(filters))
def test_filter_draws_by_the_seed_if_it_draws_at_all(name):
    wanted = range(2, 11) if "random" in filters[name].traits else range(1, 2)
    assert seen(lambda seed: combined("median", [name], seed=seed)) in wanted


def test_two_plug_ins_never_draw_alike():
    updates = drawing(honest(), 3)
    one = torch.rand(4, generator=generator(updates, "dnc", 0))
    other = torch.rand(4, generator=generator(updates, "flame", 0))
    assert not torch.equal(one, other)


def test_rounds_do_not_draw_alike():
    draws = [
        torch.rand(4, generator=generator(drawing(honest(), 3, number), "dnc", 0))
        for number in (1, 2)
    ]
    assert not torch.equal(*draws)


def test_foolsgold_keeps_the_sketch_of_its_first_round():
    """Sketches of other signs cannot be added, whatever seed a later round has."""
    pipeline = build({"name": "foolsgold", "coordinates": 7})
    first = pipeline(drawing(honest(N, 40), 1))
    one = pipeline(drawing(honest(N, 40, 2), 1, 2), first.state)
    other = pipeline(drawing(honest(N, 40, 2), 9, 2), first.state)
    assert torch.equal(one.update, other.update)
    assert int(first.state["rule/sketch-seed"]) == derive(1, "foolsgold")
