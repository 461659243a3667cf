"""Who is malicious: drawn from the seed, the same for everybody who asks."""

from typing import Any

from fedsafe.experiment.load import validate
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.experiment.schema import Experiment


def _attacked(**values: Any) -> Experiment:
    attack = {"malicious": 3, "generator": {"name": "file", "path": "a.jsonl"}}
    return validate({"red_team": True, "attack": attack, **values})


def test_nobody_is_malicious_without_an_attack() -> None:
    assert malicious_clients(Experiment()) == frozenset()


def test_roster_has_the_wanted_size() -> None:
    found = malicious_clients(_attacked())
    assert (len(found), found <= set(range(10))) == (3, True)


def test_roster_does_not_depend_on_anything_but_seed_and_size() -> None:
    assert malicious_clients(_attacked(name="other", training={"steps": 3})) == malicious_clients(
        _attacked()
    )


def test_roster_changes_with_the_seed() -> None:
    assert len({malicious_clients(_attacked(seed=seed)) for seed in range(20)}) > 10


def test_everybody_may_be_malicious() -> None:
    found = malicious_clients(_attacked(federation={"clients": 3}))
    assert found == {0, 1, 2}
