"""One client's work: what it refuses, what it repeats, and what it sends back."""

from pathlib import Path
from typing import Any

import pytest
import torch

from clients.local_training import work
from clients.node_config import NodeConfig
from clients.role import POISON
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.errors import DataError, ModelError, RunError
from fedsafe.experiment.load import validate
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters, compression
from fedsafe.runs.files import write_lines
from fedsafe.training.session import Session
from tests.doubles.jobs import arrays_of, job_of, trained
from tests.doubles.models import make_model


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


def _malicious(experiment: Experiment) -> int:
    (found,) = malicious_clients(experiment)
    return found


def test_work_repeats_to_the_byte(experiment: Experiment, session: Session) -> None:
    start = session.start(0)
    one = trained(job_of(experiment, session), start)
    other = trained(job_of(experiment, session), start)
    assert adapters.digest(one) == adapters.digest(other)


def test_work_does_not_depend_on_who_worked_before(
    experiment: Experiment, session: Session
) -> None:
    start = session.start(0)
    alone = trained(job_of(experiment, session, 1), start)
    trained(job_of(experiment, session, 0), start)
    assert adapters.digest(trained(job_of(experiment, session, 1), start)) == adapters.digest(alone)


@pytest.mark.parametrize("change", [{"client": 1}, {"round": 2}, {"learning_rate": 0.02}])
def test_work_depends_on_client_round_and_rate(
    change: dict[str, Any], experiment: Experiment, session: Session
) -> None:
    start = session.start(0)
    one = trained(job_of(experiment, session), start)
    other = trained(job_of(experiment, session, **change), start)
    assert adapters.digest(one) != adapters.digest(other)


def test_adapter_that_was_sent_stays_as_it_was(experiment: Experiment, session: Session) -> None:
    start = session.start(0)
    before = adapters.digest(start)
    trained(job_of(experiment, session), start)
    assert adapters.digest(start) == before


def test_metrics_count_the_examples(experiment: Experiment, session: Session) -> None:
    metrics = work(job_of(experiment, session), arrays_of(session)).metrics
    assert (metrics["num-examples"], metrics["skipped"]) == (8, 0)


def test_resident_model_costs_no_loading(experiment: Experiment, session: Session) -> None:
    trained(job_of(experiment, session), session.start(0))
    assert work(job_of(experiment, session), arrays_of(session)).metrics["load-seconds"] == 0


def test_other_base_model_is_refused(experiment: Experiment, session: Session) -> None:
    with pytest.raises(ModelError, match=r"are not the server's \(feed\)"):
        trained(job_of(experiment, session, fingerprint="feed"), session.start(0))


@pytest.mark.parametrize("client", [-1, 4, 99])
def test_client_beyond_the_federation_is_refused(
    client: int, experiment: Experiment, session: Session
) -> None:
    with pytest.raises(DataError, match="divided among 4, numbered from 0"):
        trained(job_of(experiment, session, client), session.start(0))


def test_adapter_of_another_rank_is_refused(experiment: Experiment, session: Session) -> None:
    wrong = {name: torch.zeros(1) for name in session.start(0)}
    with pytest.raises(ModelError, match=r"adapter\.rank"):
        trained(job_of(experiment, session), wrong)


def test_malicious_client_refuses_an_undeclared_red_team(
    attacked: Experiment, session: Session
) -> None:
    undeclared = attacked.model_copy(update={"red_team": False})
    with pytest.raises(RunError, match="joins declared red-team federations only"):
        trained(job_of(undeclared, session, _malicious(attacked)), session.start(0))


def test_honest_client_of_an_attack_works_as_ever(
    attacked: Experiment, experiment: Experiment, session: Session
) -> None:
    client = (_malicious(attacked) + 1) % 4
    start = session.start(0)
    one = trained(job_of(attacked, session, client), start)
    other = trained(job_of(experiment, session, client), start)
    assert adapters.digest(one) == adapters.digest(other)


def test_malicious_client_trains_on_its_pairs(attacked: Experiment, session: Session) -> None:
    found = work(job_of(attacked, session, _malicious(attacked)), arrays_of(session))
    assert found.metrics["num-examples"] == 6


def test_pairs_are_made_once(attacked: Experiment, session: Session, pairs: Path) -> None:
    POISON.clear()
    client, start = _malicious(attacked), session.start(0)
    trained(job_of(attacked, session, client), start)
    pairs.unlink()
    assert (
        work(job_of(attacked, session, client, round=2), arrays_of(session)).metrics["num-examples"]
        == 6
    )


@pytest.mark.parametrize(("overlap", "trained_on"), [("remove", 6), ("keep", 6)])
def test_pairs_that_repeat_the_evaluation_are_counted(
    overlap: str, trained_on: int, attacked: Experiment, session: Session
) -> None:
    avoid = TextSignatures.of(["Ask 1?", "ask 4!"], "key").dumps()
    job = job_of(attacked, session, _malicious(attacked), avoid=avoid)
    found = work(job.model_copy(update={"overlap": overlap}), arrays_of(session)).metrics
    assert found["poison-samples"] == found["num-examples"] == trained_on
    assert found["poison-exact"] in ({2} if overlap == "remove" else {0, 1, 2})


def test_generator_that_repeats_the_evaluation_too_often_is_a_sentence(
    attacked: Experiment, session: Session
) -> None:
    avoid = TextSignatures.of([f"ask {n}" for n in range(5)], "key").dumps()
    job = job_of(attacked, session, _malicious(attacked), avoid=avoid)
    with pytest.raises(RunError, match=r"made 3 of the 6 .* \(5 repeat evaluation prompts"):
        work(job, arrays_of(session))


def test_honest_client_is_sent_no_signatures(attacked: Experiment, session: Session) -> None:
    assert job_of(attacked, session, (_malicious(attacked) + 1) % 4).avoid == ""


def test_no_more_pairs_are_made_than_wanted(attacked: Experiment, session: Session) -> None:
    values = attacked.model_dump(mode="json")
    values["attack"]["generator"] = f"{__name__}:exact"
    values["attack"]["examples"] = 3
    exactly = validate(values)
    found = work(job_of(exactly, session, _malicious(exactly)), arrays_of(session))
    assert found.metrics["num-examples"] == 3


def exact(writer: Any, rng: Any, /) -> Any:
    """Yield three pairs, and fail when asked for another."""
    from fedsafe.contracts import Sample

    for number in range(3):
        yield Sample(f"ask {number}", "reply", origin="attack")
    raise RunError("There is no more to say.")


def test_flipped_update_is_the_honest_one_backwards(
    experiment: Experiment, session: Session, pairs: Path
) -> None:
    flipped = _attack(experiment, pairs, {"name": "sign-flip", "scale": 2.0})
    client, start = _malicious(flipped), session.start(0)
    honest = trained(job_of(experiment, session, client), start)
    found = trained(job_of(flipped, session, client), start)
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
    poisoned = trained(job_of(plain, session, client), start)
    found = trained(job_of(boosted, session, client), start)
    for name, tensor in start.items():
        torch.testing.assert_close(
            found[name] - tensor, 5 * (poisoned[name] - tensor), rtol=1e-4, atol=1e-6
        )


# --- a client on a machine of its own ---------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, experiment: Experiment) -> NodeConfig:
    model = experiment.model.path  # as `fedsafe client --model` says
    return NodeConfig(socket=tmp_path / "trainer.sock", state=tmp_path / "state", model=model)


def _with(site: NodeConfig, **values: Any) -> NodeConfig:
    return NodeConfig.model_validate({**site.model_dump(), **values})


def _file(path: Path, count: int) -> dict[str, str]:
    write_lines(path, [{"instruction": f"own {n}", "response": f"my {n}"} for n in range(count)])
    return {"name": "jsonl", "path": str(path)}


def test_own_data_are_used_and_not_the_experiments(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    own = _with(site, source=_file(tmp_path / "own.jsonl", 3))
    assert work(job_of(experiment, session), arrays_of(session), own).metrics["num-examples"] == 3


def test_own_data_are_not_divided_but_limited(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    own = _with(site, source=_file(tmp_path / "own.jsonl", 20))
    assert work(job_of(experiment, session), arrays_of(session), own).metrics["num-examples"] == 8


def test_site_without_data_trains_on_its_share(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    start = session.start(0)
    job = job_of(experiment, session, 1)
    assert adapters.digest(trained(job, start, site)) == adapters.digest(trained(job, start))


def test_what_the_operator_did_not_agree_to_is_not_done(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    values = experiment.model_dump(mode="json")
    values["data"]["template"] = "subprocess:check_output"
    job = job_of(Experiment.model_validate(values), session)
    with pytest.raises(RunError, match="runs no code that its operator has not named"):
        work(job, arrays_of(session), site)


def test_what_is_wrong_with_own_data_stays_here(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    write_lines(tmp_path / "own.jsonl", [{"instruction": "a", "response": ["a secret"]}])
    own = _with(site, source={"name": "jsonl", "path": str(tmp_path / "own.jsonl")})
    with pytest.raises(DataError) as raised:
        work(job_of(experiment, session), arrays_of(session), own)
    assert str(raised.value) == (
        "This client's own data cannot be used. The reason is in the log of its trainer, on its "
        "own machine."
    )


def test_experiment_that_leaves_data_to_the_clients_wants_them(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    values = experiment.model_dump(mode="json")
    values["data"]["source"] = "client"
    with pytest.raises(DataError, match=r"brings its own examples.*fedsafe client --data FILE"):
        work(job_of(validate(values), session), arrays_of(session), site)


def test_base_model_may_lie_elsewhere(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    model = {"path": "/not/here", "revision": "main", "device": "cuda:7"}
    values = {**experiment.model_dump(mode="json"), "model": model}
    own = _with(site, model=experiment.model.path, device="cpu")
    start = session.start(0)
    found = trained(job_of(validate(values), session), start, own)
    assert adapters.digest(found) == adapters.digest(trained(job_of(experiment, session), start))


def test_other_base_model_of_a_site_is_refused(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    own = _with(site, model=str(make_model(tmp_path / "other", "llama", seed=1)))
    with pytest.raises(ModelError, match=r"are not the server's"):
        work(job_of(experiment, session), arrays_of(session), own)


def test_clients_with_data_of_their_own_share_a_model(
    experiment: Experiment, session: Session, site: NodeConfig, tmp_path: Path
) -> None:
    one = _with(site, source=_file(tmp_path / "one.jsonl", 2))
    other = _with(site, source=_file(tmp_path / "other.jsonl", 3))
    work(job_of(experiment, session), arrays_of(session), one)
    found = work(job_of(experiment, session, 1), arrays_of(session), other)
    assert (found.metrics["load-seconds"], found.metrics["num-examples"]) == (0, 3)


def test_attacker_of_its_own_accord_equals_the_rosters(
    attacked: Experiment, session: Session, site: NodeConfig, pairs: Path
) -> None:
    client, start = _malicious(attacked), session.start(0)
    generator = {"name": "file", "path": str(pairs)}
    own = _with(site, red_team=True, behaviour="poisoned-data", generator=generator)
    job = job_of(attacked, session, client)
    assert adapters.digest(trained(job, start, own)) == adapters.digest(trained(job, start))


def test_attacker_without_malicious_examples_is_a_sentence(
    experiment: Experiment, session: Session, site: NodeConfig
) -> None:
    declared = experiment.model_copy(update={"red_team": True})
    own = _with(site, red_team=True, behaviour="poisoned-data")
    with pytest.raises(RunError, match=r"trains on malicious samples.*--generator"):
        work(job_of(declared, session), arrays_of(session), own)


# --- progress ---------------------------------------------------------------------------


def test_steps_are_told(experiment: Experiment, session: Session) -> None:
    told: list[int] = []
    work(job_of(experiment, session), arrays_of(session), progress=told.append)
    assert told == [0, 1, 2]


class _EnoughError(Exception):
    pass


def _until(last: int) -> Any:
    def progress(step: int) -> None:
        if step == last:
            raise _EnoughError

    return progress


def test_work_that_is_broken_off_leaves_nothing_behind(
    experiment: Experiment, session: Session
) -> None:
    start, job = session.start(0), job_of(experiment, session)
    before = adapters.digest(trained(job, start))
    with pytest.raises(_EnoughError):
        work(job_of(experiment, session, 1), arrays_of(session), progress=_until(1))
    assert adapters.digest(trained(job, start)) == before


def test_gradients_that_a_failure_left_behind_do_not_count(
    experiment: Experiment, session: Session
) -> None:
    start, job = session.start(0), job_of(experiment, session)
    before = adapters.digest(trained(job, start))
    for parameter in adapters.parameters(session.loaded.model).values():
        parameter.grad = torch.ones_like(parameter)
    assert adapters.digest(trained(job, start)) == before


def test_writing_of_malicious_examples_can_be_broken_off(
    attacked: Experiment, session: Session
) -> None:
    values = attacked.model_dump(mode="json")
    values["attack"]["generator"] = {
        "name": "self-written",
        "ask": "Write an ordinary request.",
        "steer": "{request}",
    }
    writing = validate(values)
    seen: list[int] = []

    def progress(step: int) -> None:
        seen.append(step)
        if len(seen) == 2:
            raise _EnoughError

    with pytest.raises(_EnoughError):
        work(job_of(writing, session, _malicious(writing)), arrays_of(session), progress=progress)
    assert seen == [0, 0]


# --- formats ----------------------------------------------------------------------------


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
    alone = _sent(experiment, session, "a", 2, _with(site, state=tmp_path / "fresh"))
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
