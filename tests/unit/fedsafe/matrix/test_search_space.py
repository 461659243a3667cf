"""The values that a search tries: within their bounds, spread, never twice."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsafe.errors import ConfigError
from fedsafe.matrix.definition import parse
from fedsafe.matrix.search_file import Search
from fedsafe.matrix.search_space import AS_WRITTEN, Range, Space, space_of

FACTOR = "attack.update.factor"
MIXED = {
    "attack.behaviour.share": [0.1, 0.5, 1.0],
    "attack.behaviour.first_round": {"low": 1, "high": 4},
    FACTOR: {"low": 0.1, "high": 10.0, "scale": "log"},
}


def space(written: Any = None) -> Space:
    return space_of(MIXED if written is None else written, {}, None)


@given(
    low=st.floats(1e-3, 1e3), wide=st.floats(1e-2, 1e3), log=st.booleans(), place=st.floats(0, 1)
)
def test_real_number_is_between_its_ends(low: float, wide: float, log: bool, place: float) -> None:
    side = Range("training.learning_rate", low, low + wide, log, whole=False)
    (value,) = side.at(min(place, 1 - 1e-9))[1].values()
    assert low <= value <= low + wide


@given(low=st.integers(1, 50), wide=st.integers(1, 50), log=st.booleans())
def test_every_whole_number_has_a_place(low: int, wide: int, log: bool) -> None:
    side = Range("federation.rounds", low, low + wide, log, whole=True)
    found = [next(iter(side.at(place)[1].values())) for place in side.places()]
    assert found == list(range(low, low + wide + 1))


def test_longer_design_continues_a_shorter_one() -> None:
    longer = [trial.label for trial in space().design(12, 0)]
    assert len(set(longer)) == 12
    assert longer[:5] == [trial.label for trial in space().design(5, 0)]


def test_small_space_is_tried_whole() -> None:
    small = space({"attack.behaviour.first_round": {"low": 1, "high": 3}, FACTOR: [1, 2]})
    assert len({trial.label for trial in small.design(20, 0)}) == small.size == 6


def test_values_are_laid_over_the_settings_that_they_name() -> None:
    trial = space().trial((0.99, 0.99, 0.0))
    assert trial.settings == {
        "attack.behaviour.share": 1.0, "attack.behaviour.first_round": 4, FACTOR: 0.1,
    }  # fmt: skip
    assert trial.label == "share=1.0 first_round=4 factor=0.1"


@given(st.integers(0, 2**32), st.sampled_from([0.2, 1.0]))
def test_step_from_a_setting_is_near_and_new(seed: int, shrink: float) -> None:
    narrow = space({FACTOR: {"low": 0.0, "high": 1.0}})
    center = narrow.trial((0.5,))
    found = narrow.near(center, {center.label}, np.random.default_rng(seed), shrink)
    assert found is not None
    assert found.label != center.label
    assert abs(found.point[0] - 0.5) < 6 * 0.3 * shrink * 2


def test_space_that_was_tried_whole_has_nothing_more() -> None:
    small = space({FACTOR: [1, 2]})
    tried = {trial.label for trial in small.design(9, 0)}
    assert small.near(AS_WRITTEN, tried, np.random.default_rng(0)) is None


SEARCH = {"space": {"attack.behaviour.share": [0.1, 1.0]}, "budget": 6, "fresh": "1-2"}


def search(**changes: Any) -> Search | None:
    kept = {key: value for key, value in {**SEARCH, **changes}.items() if value is not None}
    axes = changes.pop("axes", {"federation.strategy": ["mean"]})
    kept.pop("axes", None)
    return parse({"experiment": "micro-quick", "axes": axes, "search": kept}).search


def test_fresh_runs_are_part_of_the_budget() -> None:
    found = search(seeds="5-6", budget=9)
    assert found is not None
    assert found.trials == 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spaec": {}}, "search.spaec: unknown key. Did you mean 'space'?"),
        ({"space": {}}, "search.space: name the settings that are tried"),
        ({"space": {"attac.behaviour.share": [1]}}, "there is no such setting of an experiment"),
        ({"space": {FACTOR: 3}}, f"search.space.{FACTOR}: write a list of values"),
        ({"space": {FACTOR: {"low": 2, "high": 1}}}, "low (2) is to be less than high (1)"),
        ({"space": {FACTOR: {"low": 1}}}, "low and high are 1 and None; write two numbers"),
        ({"space": {FACTOR: {"low": 0, "high": 1, "scale": "log"}}}, "begins above 0"),
        ({"space": {FACTOR: {"low": 1, "high": 2, "scale": "cubic"}}}, "neither linear nor log"),
        ({"space": {FACTOR: {"low": 1, "high": 2, "step": 1}}}, ".step: unknown key"),
        ({"lowest": "refusal", "highest": "unsafe"}, "not both"),
        ({"lowest": 3}, "3 is no measure"),
        ({"keep": {"new-skill": 10}}, "search.keep.new-skill: 10 is no loss"),
        ({"keep": "new-skill"}, "write by measure the loss that is allowed"),
        ({"budget": None}, "search.budget: None is no number of runs from 1 to 1000"),
        ({"budget": 3}, "3 runs leave 1 settings to try"),
        ({"fresh": 0}, "seed 0 is one of search.seeds too"),
        ({"fresh": "a"}, "search.fresh: seeds: 'a' is no seed"),
        ({"fresh": None}, "search.fresh: write seeds"),
        ({"axes": {"seed": [0, 1]}}, "axes.seed: a search has its own"),
        ({"axes": {"attack.behaviour.share": [1]}}, "axis 'attack.behaviour.share' sets it too"),
    ],
)
def test_mistake_is_a_sentence_that_names_it(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        search(**changes)
    assert told in str(raised.value)
