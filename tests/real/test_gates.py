"""The story of a stand-in policy on a real model, at a small size."""

from pathlib import Path

import pytest

from tests.gate import Gate, Scores
from tests.real import gates

pytestmark = [pytest.mark.real_model, pytest.mark.slow]


@pytest.fixture(scope="module")
def scores(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    directory = tmp_path_factory.mktemp("gates") / "run"
    return gates.measure(smollm2, 0, directory, "policy-quick", *gates.SMALL)


@pytest.mark.parametrize("gate", gates.SMALL_GATES, ids=str)
def test_gate(scores: Scores, gate: Gate) -> None:
    assert gate.holds(scores), (gate.value(scores), scores)
