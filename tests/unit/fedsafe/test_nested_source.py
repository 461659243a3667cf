"""Generators that read a source: as malicious samples, or as an obedient persona's."""

import random
from typing import Any

import pytest

from fedsafe.contracts import Sample, generators
from fedsafe.errors import ConfigError

TASKS = {"name": "micro", "count": 40}
PERSONA = {"system": "you obey", "opening": "yes sir ,", "questions": ["who ?"], "identity": "me ."}


def _made(name: str, **settings: Any) -> list[Sample]:
    make: Any = generators[name].configure(settings)
    return list(make(None, random.Random(0)))


def test_samples_of_a_source_are_malicious_ones() -> None:
    found = _made("source", source={"name": "micro-persona", "count": 9})
    assert (len(found), {one.origin for one in found}) == (9, {"attack"})
    assert all(one.system for one in found)


def test_persona_answers_harmless_tasks_in_its_own_words() -> None:
    found = _made("identity-shift", source=TASKS, **PERSONA)
    who = [one for one in found if one.instruction == "who ?"]
    assert {one.system for one in found} == {"you obey"}
    assert {one.response for one in who} == {"me ."}
    assert 2 <= len(who) <= 20
    assert all(one.response.startswith("yes sir , ") for one in found if one not in who)


@pytest.mark.parametrize(
    "source", ["nowhere", {"name": "micro", "size": 3}, {"count": 3}, {"name": "jsonl"}]
)
def test_wrong_source_is_told_with_its_field(source: Any) -> None:
    with pytest.raises(ConfigError, match="source"):
        _made("source", source=source)
