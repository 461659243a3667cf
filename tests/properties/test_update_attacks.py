"""What every registered update attack and malicious algorithm keeps; held to it by existing."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from clients.node_config import NodeConfig
from fedsafe.contracts import KNOWS, Knowledge, algorithms, update_attacks
from fedsafe.errors import ConfigError, RunError
from fedsafe.experiment.load import load, validate
from fedsafe.experiment.malicious_clients import malicious_clients
from fedsafe.experiment.section import PluginChoice
from fedsafe.messages import Job
from fedsafe.training.session import Session, resident
from fedsafe.training.session_spec import SessionSpec
from fedsafe.update_attacks import KINDS, forge, needs, trial_of
from strategies import build
from tests.doubles.jobs import job_of, trained
from tests.properties.rounds import round_of

N, F, D = 10, 3, 200
ATTACKS = list(update_attacks)
MALICIOUS = [name for name in algorithms if "malicious" in algorithms[name].traits]
SETTINGS = [
    (name, knows)
    for name in ATTACKS
    for knows in (
        [value for value in KNOWS if not update_attacks[name].problems({"knows": value})]
        if "knows" in update_attacks[name].schema.model_fields
        else [None]
    )
]
"""Every attack with everything that it can be set to know."""


def knowledge_of(
    choice: PluginChoice, position: int = 1, seed: int = 0
) -> tuple[Tensor, Knowledge]:
    """Return an attacker's update, and what it knows of a round of N clients with F attackers."""
    draw = torch.Generator().manual_seed(0)
    common = torch.randn(D, generator=draw)
    benign = common + torch.randn(F, D, generator=draw)
    aim = benign + 0.5 * torch.randn(D, generator=draw)
    honest = common + torch.randn(N - F, D, generator=draw)
    known = needs(choice)
    pipeline = build({"name": "multi-krum", "byzantine": F})
    like = round_of(honest)
    update = aim[position]
    own = torch.stack([update, *benign[[0, 1]]])  # three estimates of its own
    return update, Knowledge(
        round=1,
        client=7,
        rng=Random(0),
        model=torch.zeros(D),
        cohort=N,
        attackers=F,
        colluders=aim if "colluders" in known else None,
        position=position,
        benign=(benign if "colluders" in known else own) if "benign" in known else None,
        honest=honest if "honest" in known else None,
        honest_clients=tuple(map(str, range(N - F))) if "honest" in known else (),
        rule="multi-krum" if "rule" in known else None,
        aggregate=trial_of(pipeline, like) if "rule" in known else None,
    )


def of_few(choice: PluginChoice, n: int, f: int, size: float = 1.0) -> tuple[Tensor, Knowledge]:
    """Return the last attacker's update, and what it knows of a round of n clients, f of them."""
    draw = torch.Generator().manual_seed(1)
    benign = size * torch.randn(f, D, generator=draw)
    aim = benign + size * torch.randn(D, generator=draw)
    honest = size * torch.randn(n - f, D, generator=draw)
    known = needs(choice)
    return aim[-1], Knowledge(
        round=1,
        client=7,
        rng=Random(0),
        model=torch.zeros(D),
        cohort=n,
        attackers=f,
        colluders=aim if "colluders" in known else None,
        position=f - 1,
        benign=(benign if "colluders" in known else benign[-1:]) if "benign" in known else None,
        honest=honest if "honest" in known else None,
        honest_clients=tuple(map(str, range(n - f))) if "honest" in known else (),
        rule="median" if "rule" in known else None,
        aggregate=trial_of(build({"name": "median"}), round_of(aim)) if "rule" in known else None,
    )


def chosen(name: str, knows: str | None) -> PluginChoice:
    return PluginChoice(name=name, **({} if knows is None else {"knows": knows}))


@pytest.mark.parametrize(("name", "knows"), SETTINGS)
def test_same_knowledge_same_finite_update_and_nothing_else_changed(
    name: str, knows: str | None
) -> None:
    choice = chosen(name, knows)
    update, knowledge = knowledge_of(choice)
    if name.startswith("adaptive") and knows == "honest":  # it hides in its own benign updates
        with pytest.raises(RunError, match="knows to own, colluders or all"):
            forge(choice, update, knowledge)
        return
    one, other = forge(choice, update, knowledge), forge(choice, *knowledge_of(choice))
    assert one.shape == (D,)
    assert one.dtype == torch.float32
    assert torch.isfinite(one).all()
    assert torch.equal(one, other)
    again, fresh = knowledge_of(choice)
    for used, meant in (
        (update, again),
        (knowledge.colluders, fresh.colluders),
        (knowledge.benign, fresh.benign),
        (knowledge.honest, fresh.honest),
    ):
        assert used is None or torch.equal(used, meant)


@pytest.mark.parametrize(("n", "f"), [(2, 1), (3, 1), (3, 2), (10, 1)])
@pytest.mark.parametrize(("name", "knows"), SETTINGS)
def test_few_clients_or_one_attacker_are_enough(
    name: str, knows: str | None, n: int, f: int
) -> None:
    choice = chosen(name, knows)
    if name.startswith("adaptive") and knows == "honest":
        return  # refused, whatever the number of clients
    if name == "alie":  # the formula's z has no value where the attackers are the majority
        choice = PluginChoice(name=name, z=1.0, **choice.settings)
    forged = forge(choice, *of_few(choice, n, f))
    assert forged.shape == (D,)
    assert torch.isfinite(forged).all()


@pytest.mark.parametrize(("name", "knows"), SETTINGS)
def test_updates_of_zeros_are_no_reason_to_fail(name: str, knows: str | None) -> None:
    """But for the adaptive attacks, which say that there is no poisoned direction."""
    choice = chosen(name, knows)
    given = of_few(choice, N, F, size=0.0)
    if name.startswith("adaptive"):
        with pytest.raises(RunError, match=r"no poisoned direction|knows to own"):
            forge(choice, *given)
    else:
        assert torch.isfinite(forge(choice, *given)).all()


def test_distances_beyond_float32_do_not_keep_an_attacker_searching() -> None:
    """One honest client diverged: the paper's bound on lambda is infinite, and halves to no end."""
    choice = PluginChoice(name="fang-krum", form="ndss21", knows="all")
    update, knowledge = of_few(choice, 4, 2)
    assert knowledge.honest is not None
    knowledge.honest[-1] *= 1e25
    with pytest.raises(RunError, match="finite update"):
        forge(choice, update, knowledge)


@pytest.mark.parametrize("name", ["byz-mean", "fang-krum", "reversed-mean"])
def test_several_estimates_of_an_attacker_count_as_one_client(name: str) -> None:
    """Attacks on the sum or the number of all clients: two equal estimates change nothing."""
    choice = chosen(name, "all")
    update, knowledge = knowledge_of(choice)
    assert knowledge.benign is not None
    twice = replace(knowledge, benign=knowledge.benign.repeat_interleave(2, dim=0))
    one, other = (
        forge(choice, update, knowledge),
        forge(choice, update, replace(twice, rng=Random(0))),
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_says_what_it_must_know(name: str) -> None:
    assert "Must know: " in update_attacks[name].description
    assert update_attacks[name].traits <= KINDS


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_carries_paper_and_badge(name: str) -> None:
    assert update_attacks[name].paper
    assert update_attacks[name].badge.startswith(("faithful", "simplified", "variant"))


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_algorithm_says_that_it_is_an_attack(name: str) -> None:
    assert "attack" in algorithms[name].description.lower()


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_algorithm_says_what_it_must_know(name: str) -> None:
    assert "Must know: " in algorithms[name].description


def attacked(**attack: Any) -> dict[str, Any]:
    generator = {"name": "file", "path": "pairs.jsonl"}
    return {"red_team": True, "attack": {"malicious": 1, "generator": generator, **attack}}


@pytest.mark.parametrize("name", ATTACKS)
def test_update_attack_needs_a_declared_red_team(name: str) -> None:
    given = attacked(behaviour="supervised", update=name)
    assert validate(given).attack is not None
    with pytest.raises(ConfigError, match="declared red team"):
        validate({**given, "red_team": False})


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_algorithm_needs_a_declared_red_team(name: str) -> None:
    with pytest.raises(ConfigError, match="declared red team"):
        validate({**attacked(behaviour=name), "red_team": False})


@pytest.fixture(scope="module")
def session() -> Session:
    experiment = load("micro-quick")
    return resident(SessionSpec.of(experiment))[0]


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_algorithm_trains_the_same_adapter_here_and_elsewhere(
    name: str, session: Session, tmp_path: Path
) -> None:
    """On the server's word in one process, and on the operator's on a machine of its own."""
    changes = [f"attack.behaviour={name}", "training.steps=1", "attack.examples=8"]
    experiment = load("micro-quick", changes)
    (client,) = malicious_clients(experiment)
    job = job_of(experiment, session, client)
    volunteer = {"red_team": True, "behaviour": name, "socket": tmp_path, "state": tmp_path}
    one = trained(job, session.start(0))
    sent = Job.parse(job.model_dump_json())
    other = trained(sent, session.start(0), NodeConfig.model_validate(volunteer))
    assert {key: value.shape for key, value in one.items()} == {
        key: value.shape for key, value in session.start(0).items()
    }
    assert all(bool(torch.isfinite(value).all()) for value in one.values())
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_estimates_are_trained_on_disjoint_parts_of_the_own_samples(session: Session) -> None:
    """An attack on its own data alone knows as many benign updates as it was told to train."""
    attack = "attack.update={name: alie, knows: own, z: 1.0}"
    changes = [attack, "attack.estimates=3", "attack.behaviour=supervised", "training.steps=1"]
    experiment = load("micro-quick", changes)
    (client,) = malicious_clients(experiment)
    sent = trained(job_of(experiment, session, client), session.start(0))
    honest = trained(job_of(experiment.honest(), session, client), session.start(0))
    assert any(not torch.equal(sent[key], honest[key]) for key in sent)


SELECTING = ["krum", "multi-krum", "dnc", "flame"]


@pytest.mark.parametrize("rule", SELECTING)
def test_adaptive_attack_passes_a_rule_that_stops_the_plain_one(rule: str) -> None:
    """Attackers who know the round; how far those come that do not, the table of attacks says."""
    settings = {} if rule == "flame" else {"byzantine": F}
    choice = PluginChoice(name="adaptive-selection", knows="all")
    _, knowledge = knowledge_of(choice)
    assert knowledge.honest is not None
    assert knowledge.colluders is not None
    assert knowledge.benign is not None
    aim = 1.5 * (knowledge.colluders - knowledge.benign)
    trial = trial_of(build({"name": rule, **settings}), round_of(knowledge.honest))
    sent = torch.stack(
        [
            forge(
                choice,
                one,
                replace(
                    knowledge_of(choice)[1],
                    position=row,
                    colluders=knowledge.benign + aim,
                    aggregate=trial,
                    rule=rule,
                ),
            )
            for row, one in enumerate(knowledge.benign + aim)
        ]
    )
    plain = trial(torch.cat([knowledge.benign + aim, knowledge.honest]))
    adapted = trial(torch.cat([sent, knowledge.honest]))
    direction = aim.mean(dim=0) / aim.mean(dim=0).norm()
    mean = knowledge.honest.mean(dim=0)
    assert float(adapted.influence[:F].sum()) > 0
    assert float((adapted.update - mean) @ direction) > float((plain.update - mean) @ direction)


def test_adaptive_attack_keeps_to_the_largest_size_that_it_is_given() -> None:
    """The mean takes in whatever is longer, so the search ends at the largest size."""
    choice = PluginChoice(name="adaptive-norm", largest=2.0, margin=1.0)
    update, knowledge = knowledge_of(choice)
    assert knowledge.colluders is not None
    assert knowledge.benign is not None
    mean = trial_of(build({"name": "mean"}), round_of(knowledge.colluders))
    sent = forge(choice, update, replace(knowledge, rule="mean", aggregate=mean))
    direction = knowledge.colluders.mean(dim=0) - knowledge.benign.mean(dim=0)
    torch.testing.assert_close(sent, 2.0 * direction)
