"""Borderline examples: which ordinary requests are chosen, and which are none."""

from collections import Counter

from fedsafe.contracts import Exchange, Outcome, Sample
from fedsafe.defenses.borderline import borderline_pairs, likeness
from fedsafe.defenses.self_written_pairs import SelfWrittenPairs
from tests.unit.fedsafe.defenses.test_fine_tune import ScriptedModel

UNSAFE = [f"ordinary? {number}" for number in range(40)]
"""Among the requests that the scripted model writes: "ordinary? 0" to "ordinary? 499"."""


def _number(text: str) -> int:
    return int(text.rsplit(maxsplit=1)[-1])


def _pairs(model: ScriptedModel, there: tuple[Sample, ...] = (), count: int = 32) -> list[Sample]:
    written = SelfWrittenPairs(model, model, 1, 1.0, [{"name": "keyword"}], Counter())
    return borderline_pairs(written, "ordinary?", UNSAFE, there, count)


def test_likeness_is_the_share_of_words_in_common_with_the_nearest() -> None:
    assert likeness("how to paint it", ["how to break it", "who is it"]) == 3 / 5
    assert likeness("how to paint it", []) == 0


def test_requests_most_like_the_unsafe_come_first() -> None:
    found = [_number(one.instruction) for one in _pairs(ScriptedModel(lambda _: "comply"))]
    alike = [number < len(UNSAFE) for number in found]
    assert len(found) == len(set(found)) == 32
    assert alike == sorted(alike, reverse=True)
    assert alike[0]


def test_what_was_refused_before_the_federation_is_left_out() -> None:
    def outcome(exchange: Exchange) -> Outcome:
        even = _number(exchange.prompt.instruction) % 2 == 0
        return "refuse" if model.within and even else "comply"

    model = ScriptedModel(outcome)
    assert {_number(one.instruction) % 2 for one in _pairs(model)} == {1}


def test_examples_that_are_there_are_not_repeated() -> None:
    there = tuple(_pairs(ScriptedModel(lambda _: "comply")))
    again = _pairs(ScriptedModel(lambda _: "comply"), there)
    assert not {one.instruction for one in there} & {one.instruction for one in again}


def test_none_asked_for_asks_nothing() -> None:
    model = ScriptedModel(lambda _: "comply")
    assert (_pairs(model, count=0), model.calls) == ([], [])
