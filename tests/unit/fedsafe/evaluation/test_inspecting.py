"""Diagnostics and steered replies inside an evaluation: kept, recomputed, shown, refused."""

import json
from pathlib import Path

import pytest
import torch

from fedsafe.contracts import diagnostics
from fedsafe.errors import ConfigError, RunError
from fedsafe.evaluation import inspecting
from fedsafe.evaluation.evaluate import evaluate, probe, prompts_of, rejudge
from fedsafe.evaluation.judging import judging_context
from fedsafe.evaluation.steering import _steering
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.runs.files import read_lines
from fedsafe.training.session import Session

REQUESTS = {
    "harmful": {"name": "micro-safety", "count": 30},
    "benign": {"name": "micro", "count": 30},
}


def asking(experiment: Experiment, *names: object, **evaluation: object) -> Experiment:
    values = json.loads(experiment.as_json())
    values |= {"safety_probe": REQUESTS, "red_team": True}
    values["evaluation"] |= {"diagnostics": list(names), **evaluation}
    return validate(values)


def moved(session: Session) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(2)
    start = session.start(0)
    return {n: t + 0.3 * torch.randn(t.shape, generator=draw) for n, t in start.items()}


def test_diagnostics_stand_beside_the_measures_with_an_interval(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    asked = asking(experiment, "kl", {"name": "refusal-margin", "tokens": 2})
    found, directory = evaluate(session, moved(session), asked, tmp_path, "attacked")
    rate = found.measures["kl"]
    record = json.loads((directory / inspecting.FILE).read_text())
    values = record["kl"]["values"]
    assert (rate.n, len(values)) == (6, 6)
    assert rate.value == pytest.approx(sum(values.values()) / 6)
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low < rate.value < rate.high
    assert found.displays["refusal-margin:2"].label == "Refusal margin 2"
    assert found.displays["kl"].unit == "number"


def test_kept_numbers_are_read_back_without_the_model_or_computed_anew(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    asked = asking(experiment, "probe-score")
    adapter = moved(session)
    first, directory = evaluate(session, adapter, asked, tmp_path, "attacked")
    assert rejudge(directory, asked, "attacked").measures == first.measures
    other = asking(experiment, {"name": "probe-score", "layer": 1})
    second, again = evaluate(session, adapter, other, tmp_path, "attacked")
    assert again == directory
    assert second.measures["probe-score:1"] != first.measures["probe-score"]


def test_small_evaluations_between_rounds_have_them_too(
    experiment: Experiment, session: Session
) -> None:
    found = probe(session, session.start(0), asking(experiment, "probe-cosine", "kl"))
    assert found.measures["probe-cosine"].value == pytest.approx(1)
    assert found.measures["kl"].value == pytest.approx(0, abs=1e-9)


def test_no_request_repeats_an_evaluation_prompt(experiment: Experiment) -> None:
    asked, prompts = asking(experiment), prompts_of(experiment)
    harmful, benign = inspecting.requests_of(asked, prompts)
    again = [*prompts, *(p for p in prompts if p.purpose == "harmful")]
    shown = [inspecting.Prompt(f"x{n}", s.instruction, "harmful") for n, s in enumerate(harmful)]
    left, fewer = inspecting.requests_of(asked, [*again, *shown[::2]])
    assert len(harmful) == len(benign) > 20
    assert not {s.instruction for s in left} & {p.instruction for p in shown[::2]}
    assert len(left) == len(fewer) < len(harmful)


def test_source_of_both_kinds_is_parted_by_origin(experiment: Experiment) -> None:
    both = {"name": "policy", "policy": "cooking", "part": "defense", "count": 60}
    values = json.loads(experiment.as_json()) | {"safety_probe": {"harmful": both, "benign": both}}
    harmful, benign = inspecting.requests_of(validate(values), [])
    assert {sample.origin for sample in harmful} == {"refusal"}
    assert "refusal" not in {sample.origin for sample in benign}


def test_steered_states_pass_for_harmless_where_replies_begin(
    experiment: Experiment, session: Session
) -> None:
    asked, prompts = asking(experiment), prompts_of(experiment)
    task = inspecting.task_of(
        asked, session.fingerprint, prompts, prompts, session.start(experiment.seed)
    )
    context = judging_context(session)
    with _steering(context, task, probability=0.001, accuracy=0.0, probe="aligned"):
        alone = [context.prompt_states([one])[context.depth][0] for one in task.harmful[:6]]
    probe = task.kept["probes"].probes[context.depth]
    plain = context.prompt_states(task.harmful[:6])[context.depth]
    assert float(probe.log_odds(plain).sigmoid().max()) > 0.5
    assert float(probe.log_odds(torch.stack(alone)).sigmoid().max()) <= 0.001 + 1e-6


def test_steered_replies_have_a_condition_of_their_own(
    experiment: Experiment, session: Session, tmp_path: Path
) -> None:
    steered = {"name": "steered", "accuracy": 0.0}
    asked = asking(experiment, conditions=["plain", steered])
    found, directory = evaluate(session, moved(session), asked, tmp_path, "attacked")
    rows = read_lines(directory / "exchanges.jsonl")
    assert [row["condition"] for row in rows[-2:]] == ["steered:0.0"] * 2
    assert "unsafe@steered:0.0" in found.measures


def test_steering_without_an_accurate_layer_is_a_sentence(
    experiment: Experiment, session: Session
) -> None:
    asked = asking(experiment, conditions=[{"name": "steered", "accuracy": 0.9999}])
    context, prompts = judging_context(session), prompts_of(asked)
    task = inspecting.task_of(asked, session.fingerprint, prompts, prompts, session.start(0))
    swapped = inspecting.DiagnosticTask(prompts, task.start, task.harmful, task.harmful)
    with pytest.raises(RunError, match="more than 95% of held-out requests"):
        _steering(context, swapped, probability=0.001, accuracy=0.95, probe="own")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"red_team": False}, "'steered' is an attack, and runs only inside a declared red team"),
        ({"safety_probe": None}, "safety_probe: condition 'steered' looks at harmful and benign"),
    ],
)
def test_steering_needs_a_red_team_and_requests(
    experiment: Experiment, change: dict[str, object], reason: str
) -> None:
    values = json.loads(asking(experiment, conditions=["steered"]).as_json()) | change
    with pytest.raises(ConfigError, match=reason):
        validate(values)


@pytest.mark.parametrize(
    ("returned", "reason"),
    [("much", "returned a str"), ({"h": float("inf")}, "returned inf for prompt 'h'")],
)
def test_what_is_no_number_is_a_sentence(
    experiment: Experiment, session: Session, returned: object, reason: str
) -> None:
    diagnostics("test-wrong")(lambda context, task, /: returned)
    try:
        prompts = prompts_of(experiment)
        task = inspecting.task_of(experiment, "x", prompts, prompts, session.start(0))
        with pytest.raises(RunError, match=reason):
            inspecting.inspect(judging_context(session), task, [PluginChoice(name="test-wrong")])
    finally:
        diagnostics._plugins.pop("test-wrong")
