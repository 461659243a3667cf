"""The update that a client sends: its wire format, rounding errors, and own rank."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clients.local_training import work
from clients.node_config import NodeConfig
from fedsafe.errors import ModelError
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters, compression
from fedsafe.training.session import Session
from tests.doubles.attackers import site_with
from tests.doubles.jobs import arrays_of, job_of, trained


def _int8(experiment: Experiment) -> Experiment:
    values = experiment.model_dump(mode="json")
    values["federation"]["wire"] = "int8"
    return validate(values)


def _sent(
    experiment: Experiment, session: Session, run: str, number: int, site: NodeConfig
) -> bytes:
    job = job_of(_int8(experiment), session, run=run, round=number)
    arrays = work(job, arrays_of(session, "int8"), site).arrays
    return b"".join(array.tobytes() for array in arrays.values())


def test_bfloat16_sends_an_update_of_half_the_bytes(
    experiment: Experiment, session: Session
) -> None:
    values = experiment.model_dump(mode="json")
    values["federation"]["wire"] = "bfloat16"
    found = work(job_of(validate(values), session), arrays_of(session, "bfloat16")).arrays
    wanted = compression.uplink("bfloat16", session.shapes)
    assert {name: (str(a.dtype), a.shape) for name, a in found.items()} == wanted


def test_rounding_error_of_a_round_goes_into_the_next(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    alone = _sent(experiment, session, "a", 2, site_with(site, state=tmp_path / "fresh"))
    _sent(experiment, session, "a", 1, site)
    assert _sent(experiment, session, "a", 2, site) != alone


def test_round_that_is_asked_for_again_sends_the_same(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    _sent(experiment, session, "a", 1, site)
    second = _sent(experiment, session, "a", 2, site)
    assert _sent(experiment, session, "a", 2, site) == second


def test_first_round_starts_from_no_rounding_error(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    first = _sent(experiment, session, "a", 1, site)
    _sent(experiment, session, "a", 2, site)
    assert _sent(experiment, session, "b", 1, site) == first


def _ranked(experiment: Experiment, **adapter: Any) -> Experiment:
    given = {**experiment.adapter.model_dump(mode="json"), **adapter}
    return validate({**experiment.model_dump(mode="json"), "adapter": given})


@pytest.mark.parametrize("how", ["rows", "svd"])
def test_client_of_lower_rank_trains_that_and_pads_with_zeros(
    experiment: Experiment, session: Session, how: str
) -> None:
    rank = experiment.adapter.rank
    mixed = _ranked(experiment, ranks=[rank, 1], cut=how)
    start = trained(job_of(experiment, session), session.start(0))  # B is not zero any more
    whole = trained(job_of(mixed, session, client=0), start)
    part = trained(job_of(mixed, session, client=1), start)
    for name, tensor in part.items():
        padded, sent, kept = tensor, start[name], whole[name]
        if "lora_B" in name:
            padded, sent, kept = padded.T, sent.T, kept.T
        assert not padded[1:].any()
        assert padded[0].any()
        assert kept[1:].any()
        assert how == "svd" or not torch.equal(padded[0], sent[0])


def test_own_rank_goes_before_the_experiments(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    start = session.start(0)
    own = site.model_copy(update={"rank": 1})
    one = trained(job_of(_ranked(experiment, ranks=[1]), session), start)
    assert adapters.digest(trained(job_of(experiment, session), start, own)) == adapters.digest(one)


def test_rank_above_the_federations_is_refused(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    own = site.model_copy(update={"rank": experiment.adapter.rank + 1})
    with pytest.raises(ModelError, match=r"has rank \d+\. Give --rank \d+ or less"):
        trained(job_of(experiment, session), session.start(0), own)
