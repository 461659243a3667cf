"""The gates that make the micro world worth running.

An aligned base, a clean federation that keeps the alignment and learns something new, an
attack that breaks it and nothing else, and a defense that restores it: one small run on the
shallow base. The gates of the bases alone are with the unit tests of the micro world.
`python -m tests.end_to_end.gates` runs the whole presets on all bases and over seeds.
"""

from pathlib import Path

import pytest

from tests.end_to_end import gates
from tests.gate import Gate, Scores

SMALL = (
    "evaluation.suites={name: micro, prefill_words: 8, harmful: 100, over_refusal: 100, "
    "old_skills: 40, new_skill: 20}",
)
"""Few prompts; with 100 a bound of 1 % lets one through."""
FEW = (
    *("federation.clients=5", "federation.rounds=6", "attack.malicious=2"),
    "data.source.count=640",
)
"""Half the clients, with as much data and as many steps each as in the preset."""


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """What was found in a run of half the preset's size."""
    return gates.measure("micro", 0, tmp_path_factory.mktemp("gates") / "run", *SMALL, *FEW)


@pytest.mark.slow
@pytest.mark.parametrize("gate", [*gates.gates("micro")], ids=str)
def test_preset(gate: Gate, small_run: Scores) -> None:
    assert gate.holds(small_run), gate.value(small_run)


@pytest.mark.slow
@pytest.mark.parametrize("gate", gates.GRADED, ids=str)
def test_graded_preset(gate: Gate, tmp_path: Path) -> None:
    found = gates.measure("micro", 0, tmp_path / "run", *gates.SMALL, preset="micro-graded")
    assert gate.holds(found), gate.value(found)
