"""Safety-probe scores of single updates, computed by the server."""

from dataclasses import dataclass

import pytest
import torch

from fedsafe.contracts import Updates
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.training.session import Session
from server.aggregation.probe_scores import with_scores


@dataclass
class Federation:
    experiment: Experiment
    session: Session
    aligned: dict[str, torch.Tensor] | None = None


def updates_of(session: Session) -> Updates:
    d = sum(tensor.numel() for tensor in session.start(0).values())
    rows = torch.randn(3, d, generator=torch.Generator().manual_seed(0))
    rows[1] = 0
    return Updates(rows, torch.full((3,), 1 / 3), clients=("0", "1", "2"))


def test_score_is_what_an_update_alone_changes(experiment: Experiment, session: Session) -> None:
    values = experiment.model_dump(mode="json")
    values["safety_probe"] = {
        "harmful": {"name": "micro-safety", "count": 24},
        "benign": {"name": "micro", "count": 24},
    }
    values["federation"]["strategy"]["filters"] = [{"name": "safety-probe", "requests": 4}]
    asked = Federation(validate(values), session)
    given, sent = updates_of(session), session.start(experiment.seed)
    found = with_scores(asked, given, sent)
    assert found.probe is not None
    assert found.probe["1"] == 0 != found.probe["0"]
    alone = Updates(given.matrix[2:], torch.ones(1), clients=("2",))
    again = with_scores(asked, alone, sent).probe
    assert again == {"2": pytest.approx(found.probe["2"])}


def test_without_a_filter_that_asks_nothing_is_scored(
    experiment: Experiment, session: Session
) -> None:
    given = updates_of(session)
    assert with_scores(Federation(experiment, session), given, session.start(0)) is given
