"""The reference defense's levels: whose data it trains on, and what each refuses."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedsafe.contracts import Exchange, Outcome, defenses
from fedsafe.training.other_model import open_other
from fedsafe.training.session import Session
from tests.unit.fedsafe.defenses.test_fine_tune import SETTINGS, ScriptedModel

POLICY = {"name": "policy", "policy": "cooking", "part": "defense", "count": 80}


def _good(exchange: Exchange) -> Outcome:
    return "refuse" if exchange.prompt.purpose == "harmful" else "comply"


def _trained(model: ScriptedModel, **settings: Any) -> Mapping[str, object]:
    defenses["fine-tune"].configure({**SETTINGS, "pairs": 20, **settings})(model, model)
    return model.card


def test_level_1_trains_on_as_many_refusals_as_help_of_the_data() -> None:
    model = ScriptedModel(_good)
    card = _trained(model, level=1, data=POLICY)
    origins = Counter(sample.origin for sample in model.trained)
    assert origins == {"refusal": 20, "helpful": 20}
    assert (card["made_by"], card["how"]) == ("source policy", "defense fine-tune (level 1)")
    assert not model.calls  # nothing is written or judged


def test_level_2_lets_another_model_write() -> None:
    model, other, names = ScriptedModel(_good), ScriptedModel(_good), []

    @contextmanager
    def load_other(path: str) -> Iterator[ScriptedModel]:
        names.append(path)
        yield other

    model.load_other = load_other  # type: ignore[attr-defined]
    card = _trained(model, level=2, other="/models/other")
    assert (names, card["made_by"]) == (["/models/other"], "another model, other")
    assert {call[0] for call in model.calls} == {"judge"}
    assert any(call[0] == "write" for call in other.calls)


def test_embedded_model_can_be_the_other(session: Session) -> None:
    assert len(session.loaded.tokenizer) != 0
    other = open_other(session.spec, Path("micro"), session.loaded.device)
    assert other.spec.model.path != session.spec.model.path


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"level": 1}, "level 1 takes data, and neither is set"),
        ({"level": 1, "other": "m"}, "level 1 takes data, and other is set"),
        ({"level": 2}, "level 2 takes data or other, and neither is set"),
        ({"level": 2, "other": "m", "data": POLICY}, "and data and other is set"),
        ({"level": 3, "data": POLICY}, "level 3 takes neither data nor other, and data is set"),
        ({"level": 2, "other": "m", "writer": "start"}, "writer: start is of level 3"),
        ({"level": 1, "data": {"path": "x"}}, "data needs a name"),
    ],
)
def test_level_without_its_data_cannot_run(settings: Mapping[str, Any], reason: str) -> None:
    assert reason in defenses["fine-tune"].cannot(settings)


def test_each_level_can_run_with_its_own() -> None:
    for settings in ({}, {"level": 1, "data": POLICY}, {"level": 2, "other": "micro:1"}):
        assert not defenses["fine-tune"].cannot(settings)
