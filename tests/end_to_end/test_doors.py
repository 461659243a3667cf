"""One method of each family, by module:object, through the whole micro-quick story."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedsafe.experiment import load
from fedsafe.launch import inline
from fedsafe.runs.files import read_lines

DOORS = "tests.doubles.doors"


@pytest.fixture(scope="module")
def preferring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clients that train on preferences; one defense edits weights, one returns a shield."""
    home = tmp_path_factory.mktemp("doors") / "preferring"
    defenses = f"[{{name: '{DOORS}:keep_to_the_base'}}, {{name: '{DOORS}:with_secret'}}]"
    changes = [
        f"training.algorithm={DOORS}:dpo_client",
        f"defenses={defenses}",
        "evaluation.conditions=[plain, shielded]",
    ]
    inline.run(load("micro-quick", changes), home)
    return home


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Attackers who know each other and try their update against the server's own rule."""
    home = tmp_path_factory.mktemp("doors") / "hidden"
    changes = [
        f"attack.update={DOORS}:hide_in_the_crowd",
        "attack.malicious=2",
        "federation.clients=5",
        "federation.strategy.name=krum",
        "federation.strategy.byzantine=1",
        "defenses=[]",
    ]
    inline.run(load("micro-quick", changes), home)
    return home


@pytest.fixture(scope="module")
def proximal(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Clients held to the adapter that they received, hardly and strongly."""
    homes = {}
    for strength in (1e-3, 10.0):
        homes[strength] = tmp_path_factory.mktemp("doors") / str(strength)
        changes = [
            f"training.algorithm={{name: '{DOORS}:proximal_client', strength: {strength}}}",
            "attack=null",
            "defenses=[]",
        ]
        inline.run(load("micro-quick", changes), homes[strength])
    return homes


def _stages(home: Path) -> dict[str, dict[str, Any]]:
    summary = json.loads((home / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "completed"
    return {stage["name"]: stage for stage in summary["stages"]}


def test_preference_clients_learn_the_new_skill(preferring: Path) -> None:
    assert _stages(preferring)["clean"]["scores"]["measures"]["new-skill"]["value"] > 0.3


def test_defense_that_edits_weights_by_the_base_changes_the_adapter(preferring: Path) -> None:
    stages = _stages(preferring)
    assert stages[f"defended:{DOORS}:keep_to_the_base"]["adapter"] != stages["attacked"]["adapter"]


def test_shield_of_a_defense_is_evaluated(preferring: Path) -> None:
    measures = _stages(preferring)[f"defended:{DOORS}:with_secret"]["scores"]["measures"]
    assert measures["refusal@shielded"]["n"] > 0


def test_secret_of_a_shield_lies_in_its_own_files_alone(preferring: Path) -> None:
    (shield,) = preferring.glob("defenses/*/adapter/shield.json")
    secret = json.loads(shield.read_text(encoding="utf-8"))["settings"]["secret"]
    own = {shield, shield.with_name("chat_template.jinja")}
    others = [path for path in preferring.rglob("*") if path.is_file() and path not in own]
    assert [path for path in others if secret.encode() in path.read_bytes()] == []


def test_update_attack_that_knows_the_rule_is_picked_by_it(hidden: Path) -> None:
    rounds = read_lines(hidden / "rounds.jsonl")
    shares = [
        sum(client["influence"] for client in one["clients"] if client["malicious"])
        for one in rounds
    ]
    assert shares == [1.0] * len(rounds)


def test_update_attack_leaves_the_control_alone(hidden: Path) -> None:
    rounds = read_lines(hidden / "control" / "rounds.jsonl")
    assert not any(client["malicious"] for one in rounds for client in one["clients"])


def test_proximal_clients_stay_near_the_adapter_that_they_received(
    proximal: dict[float, Path],
) -> None:
    norms = {
        strength: [one["update_norm"] for one in read_lines(home / "rounds.jsonl")]
        for strength, home in proximal.items()
    }
    assert max(norms[10.0]) < min(norms[1e-3])
