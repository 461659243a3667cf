"""What cells share is one stage of the plan."""

from collections import Counter
from typing import Any

import pytest

from fedsafe.app import activate
from fedsafe.matrix.cells import cells_of
from fedsafe.matrix.definition import parse
from fedsafe.matrix.plan import Plan, plan_of

FINE = {"name": "fine-tune", "steps": 5}


def plan(**axes: Any) -> Plan:
    activate()
    return plan_of(cells_of(parse({"experiment": "micro-quick", "axes": axes})))


def counted(plan: Plan) -> Counter[str]:
    return Counter(stage.name for stage in plan.stages.values())


def test_defenses_share_base_control_and_attack() -> None:
    found = plan(defenses=["none", "fine-tune", FINE])
    assert counted(found) == {"base": 1, "clean": 1, "attacked": 1, "defended:fine-tune": 2}
    assert found.total == 3 * 3 + 2


def test_attacks_share_the_honest_federation_with_a_cell_without_attack() -> None:
    attacks = {"none": "none", "one": {"malicious": 1}, "two": {"malicious": 2}}
    assert counted(plan(attack=attacks, defenses=["none"])) == {
        "base": 1, "trained": 1, "attacked": 2,
    }  # fmt: skip


def test_pipelines_share_their_beginning() -> None:
    found = plan(defenses={"one": "fine-tune", "two": [["fine-tune", FINE]]})
    assert counted(found)["defended:fine-tune"] == 1
    assert counted(found)["defended:fine-tune+fine-tune"] == 1


def test_strategies_share_the_data_sets_of_the_attackers() -> None:
    found = plan(**{"federation.strategy": ["mean", "median"], "seed": [0, 1]})
    assert found.data_sets() == (4, 2)


def test_other_judge_is_another_stage_behind_the_first() -> None:
    found = plan(**{"evaluation.judge": ["micro-exact", "keyword"], "defenses": ["none"]})
    bases = [stage for stage in found.stages.values() if stage.name == "base"]
    assert [len(stage.after) for stage in bases] == [0, 1]


@pytest.mark.parametrize("axis", [{"seed": [0, 1]}, {"adapter.rank": [4, 8]}])
def test_nothing_is_shared_over(axis: dict[str, Any]) -> None:
    found = plan(**axis)
    assert len(found.stages) == found.total


def test_every_stage_stands_behind_those_that_it_needs() -> None:
    found = plan(**{"federation.strategy": ["mean", "median"], "defenses": ["none", "fine-tune"]})
    seen: set[str] = set()
    for key, stage in found.stages.items():
        assert set(stage.after) <= seen
        seen.add(key)


def test_second_attack_is_a_stage_behind_its_defense() -> None:
    found = plan(second_attack={"none": None, "two": {"rounds": 2}}, defenses=["fine-tune"])
    assert counted(found)["attacked-again:fine-tune"] == 1
    assert counted(found)["defended:fine-tune"] == 1
