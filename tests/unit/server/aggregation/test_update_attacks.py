"""The server stands in for attackers that share its machine."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fedsafe.contracts import Updates
from fedsafe.errors import RunError
from fedsafe.experiment.load import load
from fedsafe.experiment.schema import Experiment
from fedsafe.runs.colluder_files import ColluderFiles
from server.aggregation.update_attacks import ServerStandIn, joined, split

ROWS = torch.randn(5, 8, generator=torch.Generator().manual_seed(3))
MALICIOUS = frozenset({1, 3})


def experiment(update: str, behaviour: str = "supervised") -> Experiment:
    return load("micro-quick", [f"attack.update={update}", f"attack.behaviour={behaviour}"])


def updates(number: int = 1) -> Updates:
    return Updates(
        ROWS.clone(),
        torch.full((5,), 0.2),
        round=number,
        clients=tuple(map(str, range(5))),
        model=torch.zeros(8),
    )


def test_colluders_that_train_honestly_know_each_others_updates() -> None:
    stand_in = ServerStandIn(experiment("{name: ipm, epsilon: 1.0}"), None)
    forged = stand_in.forged_rows(updates(), MALICIOUS)
    assert sorted(forged) == [1, 3]
    assert torch.allclose(forged[1], -ROWS[[1, 3]].mean(dim=0))


def test_colluders_that_poison_know_the_benign_updates_that_they_left(tmp_path: Path) -> None:
    files = ColluderFiles(tmp_path, "run", "main", 1)
    for client in MALICIOUS:
        files.share(client, {"benign": torch.full((2, 8), float(client))})
    given = experiment("{name: ipm, epsilon: 1.0}", "poisoned-data")
    forged = ServerStandIn(given, None, files).forged_rows(updates(), MALICIOUS)
    assert torch.equal(forged[3], torch.full((8,), -2.0))


def test_benign_updates_that_nobody_left_are_a_sentence() -> None:
    given = experiment("ipm", "poisoned-data")
    with pytest.raises(RunError, match="malicious client 1 left none in round 1"):
        ServerStandIn(given, None).forged_rows(updates(), MALICIOUS)


def test_honest_clients_updates_are_known_where_the_attack_says_so() -> None:
    stand_in = ServerStandIn(experiment("{name: sign-flip, knows: honest}"), None)
    forged = stand_in.forged_rows(updates(), MALICIOUS)
    assert torch.allclose(forged[1], -ROWS[[0, 2, 4]].mean(dim=0))


def test_attack_of_the_own_update_alone_runs_at_the_client() -> None:
    assert not ServerStandIn(experiment("sign-flip"), None).forged_rows(updates(), MALICIOUS)


def test_attack_that_does_nothing_is_reported_once() -> None:
    said: list[str] = []
    stand_in = ServerStandIn(experiment("{name: alie}"), None, report=said.append)
    stand_in.forged_rows(updates(), frozenset({1, 3}))
    assert not said  # n = 5, f = 2: z = 0.43
    rows = replace_rows(updates(), 10)
    stand_in.forged_rows(rows, MALICIOUS)
    assert [sentence[:14] for sentence in said] == ["ALIE's z is 0 "]


def replace_rows(given: Updates, n: int) -> Updates:
    """Return a round of n clients."""
    rows = ROWS.repeat(n // len(ROWS), 1)
    return Updates(
        rows,
        torch.full((n,), 1 / n),
        round=given.round,
        clients=tuple(map(str, range(n))),
        model=given.model,
    )


def test_what_an_attack_remembers_goes_through_a_checkpoint_and_keeps_its_target() -> None:
    given = experiment("{name: mimic, knows: honest, warmup: 1}")
    memory: dict[str, torch.Tensor] = {}
    first = ServerStandIn(given, None, memory=memory).forged_rows(updates(), MALICIOUS)
    rule, kept = split(joined({"rule/x": torch.ones(1)}, memory))
    assert list(rule) == ["rule/x"]
    target = next(row for row in (0, 2, 4) if torch.equal(first[1], ROWS[row]))
    later = ServerStandIn(given, None, memory=kept).forged_rows(updates(2), MALICIOUS)
    assert torch.equal(later[3], ROWS[target])


@pytest.mark.parametrize("knows", ["colluders", "all"])
def test_mimic_keeps_its_row_where_the_rows_are_not_the_honest_clients_alone(knows: str) -> None:
    given = experiment(f"{{name: mimic, knows: {knows}, warmup: 1}}")
    rows = [*sorted(MALICIOUS), 0, 2, 4] if knows == "all" else sorted(MALICIOUS)
    memory: dict[str, torch.Tensor] = {}
    first = ServerStandIn(given, None, memory=memory).forged_rows(updates(), MALICIOUS)
    target = next(row for row in rows if torch.equal(first[1], ROWS[row]))
    memory["direction"] = -memory["direction"]  # another row is now the farthest along it
    other = replace(updates(2), clients=("5", "1", "0", "3", "2"))  # another cohort
    second = updates(2) if knows == "all" else other
    later = ServerStandIn(given, None, memory=memory).forged_rows(second, MALICIOUS)
    assert torch.equal(later[1], ROWS[target])
