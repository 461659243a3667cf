"""One client's work: what it refuses, what it repeats, and what it sends back."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clients.job import POISON, work
from fedsafe.attacks.roster import malicious_clients
from fedsafe.errors import ModelError, RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.messages import Job
from fedsafe.models import adapters
from fedsafe.runs.files import write_lines
from fedsafe.training.session import Session


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    write_lines(path, [{"instruction": f"ask {n}", "response": f"reply {n}"} for n in range(8)])
    return path


@pytest.fixture
def attacked(experiment: Experiment, pairs: Path) -> Experiment:
    return _attack(experiment, pairs, "poisoned-data")


def _attack(experiment: Experiment, pairs: Path, behaviour: Any) -> Experiment:
    return validate(
        {
            **experiment.model_dump(mode="json"),
            "red_team": True,
            "attack": {
                "malicious": 1,
                "examples": 6,
                "behaviour": behaviour,
                "generator": {"name": "file", "path": str(pairs)},
            },
        }
    )


def _job(experiment: Experiment, session: Session, client: int = 0, **values: Any) -> Job:
    return Job.model_validate(
        {
            "client": client,
            "federation": "main",
            "round": 1,
            "learning_rate": 0.01,
            "fingerprint": session.fingerprint,
            "experiment": experiment,
            **values,
        }
    )


def _malicious(experiment: Experiment) -> int:
    (found,) = malicious_clients(experiment)
    return found


def test_work_repeats_to_the_byte(experiment: Experiment, session: Session) -> None:
    start = session.start(0)
    one = work(_job(experiment, session), start).adapter
    other = work(_job(experiment, session), start).adapter
    assert adapters.digest(one) == adapters.digest(other)


def test_work_does_not_depend_on_who_worked_before(
    experiment: Experiment, session: Session
) -> None:
    start = session.start(0)
    alone = work(_job(experiment, session, 1), start).adapter
    work(_job(experiment, session, 0), start)
    assert adapters.digest(work(_job(experiment, session, 1), start).adapter) == adapters.digest(
        alone
    )


@pytest.mark.parametrize("change", [{"client": 1}, {"round": 2}, {"learning_rate": 0.02}])
def test_work_depends_on_client_round_and_rate(
    change: dict[str, Any], experiment: Experiment, session: Session
) -> None:
    start = session.start(0)
    one = work(_job(experiment, session), start).adapter
    other = work(_job(experiment, session, **change), start).adapter
    assert adapters.digest(one) != adapters.digest(other)


def test_adapter_that_was_sent_stays_as_it_was(experiment: Experiment, session: Session) -> None:
    start = session.start(0)
    before = adapters.digest(start)
    work(_job(experiment, session), start)
    assert adapters.digest(start) == before


def test_metrics_count_the_examples(experiment: Experiment, session: Session) -> None:
    metrics = work(_job(experiment, session), session.start(0)).metrics
    assert (metrics["num-examples"], metrics["skipped"]) == (8, 0)


def test_resident_model_costs_no_loading(experiment: Experiment, session: Session) -> None:
    work(_job(experiment, session), session.start(0))
    assert work(_job(experiment, session), session.start(0)).metrics["load-seconds"] == 0


def test_other_base_model_is_refused(experiment: Experiment, session: Session) -> None:
    with pytest.raises(ModelError, match=r"are not the server's \(feed\)"):
        work(_job(experiment, session, fingerprint="feed"), session.start(0))


@pytest.mark.parametrize("client", [-1, 4, 99])
def test_client_beyond_the_federation_is_refused(
    client: int, experiment: Experiment, session: Session
) -> None:
    with pytest.raises(RunError, match="the federation has 4 clients, numbered from 0"):
        work(_job(experiment, session, client), session.start(0))


def test_adapter_of_another_rank_is_refused(experiment: Experiment, session: Session) -> None:
    wrong = {name: torch.zeros(1) for name in session.start(0)}
    with pytest.raises(ModelError, match=r"adapter\.rank"):
        work(_job(experiment, session), wrong)


def test_malicious_client_refuses_an_undeclared_red_team(
    attacked: Experiment, session: Session
) -> None:
    undeclared = attacked.model_copy(update={"red_team": False})
    with pytest.raises(RunError, match="joins declared red-team federations only"):
        work(_job(undeclared, session, _malicious(attacked)), session.start(0))


def test_honest_client_of_an_attack_works_as_ever(
    attacked: Experiment, experiment: Experiment, session: Session
) -> None:
    client = (_malicious(attacked) + 1) % 4
    start = session.start(0)
    one = work(_job(attacked, session, client), start).adapter
    other = work(_job(experiment, session, client), start).adapter
    assert adapters.digest(one) == adapters.digest(other)


def test_malicious_client_trains_on_its_pairs(attacked: Experiment, session: Session) -> None:
    found = work(_job(attacked, session, _malicious(attacked)), session.start(0))
    assert found.metrics["num-examples"] == 6


def test_pairs_are_made_once(attacked: Experiment, session: Session, pairs: Path) -> None:
    POISON.clear()
    client, start = _malicious(attacked), session.start(0)
    work(_job(attacked, session, client), start)
    pairs.unlink()
    assert work(_job(attacked, session, client, round=2), start).metrics["num-examples"] == 6


def test_no_more_pairs_are_made_than_wanted(attacked: Experiment, session: Session) -> None:
    values = attacked.model_dump(mode="json")
    values["attack"]["generator"] = f"{__name__}:exact"
    values["attack"]["examples"] = 3
    exactly = validate(values)
    found = work(_job(exactly, session, _malicious(exactly)), session.start(0))
    assert found.metrics["num-examples"] == 3


def exact(writer: Any, rng: Any, /) -> Any:
    """Yield three pairs, and fail when asked for another."""
    from fedsafe.contracts import Example

    for number in range(3):
        yield Example(f"ask {number}", "reply", origin="attack")
    raise RunError("There is no more to say.")


def test_flipped_update_is_the_honest_one_backwards(
    experiment: Experiment, session: Session, pairs: Path
) -> None:
    flipped = _attack(experiment, pairs, {"name": "sign-flip", "scale": 2.0})
    client, start = _malicious(flipped), session.start(0)
    honest = work(_job(experiment, session, client), start).adapter
    found = work(_job(flipped, session, client), start).adapter
    for name, tensor in start.items():
        torch.testing.assert_close(
            found[name] - tensor, -2 * (honest[name] - tensor), rtol=1e-4, atol=1e-6
        )


def test_boosted_update_is_the_poisoned_one_made_longer(
    experiment: Experiment, session: Session, pairs: Path
) -> None:
    plain = _attack(experiment, pairs, "poisoned-data")
    boosted = _attack(experiment, pairs, {"name": "boosted", "factor": 5.0})
    client, start = _malicious(plain), session.start(0)
    poisoned = work(_job(plain, session, client), start).adapter
    found = work(_job(boosted, session, client), start).adapter
    for name, tensor in start.items():
        torch.testing.assert_close(
            found[name] - tensor, 5 * (poisoned[name] - tensor), rtol=1e-4, atol=1e-6
        )
