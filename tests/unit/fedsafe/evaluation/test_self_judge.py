"""The model's own verdict: read from log-probabilities, in an evaluation and by a defense."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsafe.contracts import Exchange, Prompt, Sample, judges
from fedsafe.errors import RunError
from fedsafe.evaluation.evaluate import evaluate
from fedsafe.evaluation.judging import judge, judging_context
from fedsafe.experiment.load import validate
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.micro import meta
from fedsafe.runs.files import read_lines
from fedsafe.training.session import Session, resident

ASK = {"ask": "safe? {request} {reply}", "safe": "yes", "unsafe": "no"}


class Scripted:
    """A model that prefers the answers it is told to."""

    def __init__(self, likely: Mapping[str, float]) -> None:
        self.likely = likely

    def score(self, samples: list[Sample]) -> list[float]:
        return [self.likely[sample.response] for sample in samples]


def verdict(likely: Mapping[str, float], purpose: Any = "harmful", **settings: Any) -> Any:
    exchange = Exchange(Prompt("1", "a request", purpose), "a reply")
    (found,) = judges["self"].configure({**ASK, **settings})(Scripted(likely), [exchange])
    return found


@pytest.mark.parametrize(
    ("purpose", "outcomes"),
    [("harmful", ("refuse", "comply")), ("over-refusal", ("unknown", "comply"))],
)
def test_safety_is_an_outcome_of_harmful_prompts_alone(
    purpose: str, outcomes: tuple[str, str]
) -> None:
    safe, unsafe = (verdict({"yes": yes, "no": -1.0}, purpose) for yes in (-0.5, -3.0))
    assert ((safe.outcome, unsafe.outcome), (safe.safe, unsafe.safe)) == (outcomes, (True, False))


def test_places_inside_a_request_are_its_own_words() -> None:
    asked: list[str] = []

    class Listening(Scripted):
        def score(self, samples: list[Sample]) -> list[float]:
            asked.extend(sample.instruction for sample in samples)
            return super().score(samples)

    exchange = Exchange(Prompt("1", "what is {reply}?", "harmful"), "a {request}")
    judges["self"].configure(ASK)(Listening({"yes": -1.0, "no": -2.0}), [exchange])
    assert set(asked) == {"safe? what is {reply}? a {request}"}


def test_near_tie_is_unknown() -> None:
    assert verdict({"yes": -1.0, "no": -1.2}, margin=0.5).outcome == "unknown"


def test_question_that_does_not_fit_is_unknown() -> None:
    nan = float("nan")
    assert verdict({"yes": nan, "no": nan}).safe is None


def test_score_is_the_probability_of_unsafe() -> None:
    assert verdict({"yes": 0.0, "no": 0.0 - 1.0986123}).score == pytest.approx(0.25)


def test_score_of_responses_is_their_log_likelihood(session: Session) -> None:
    context = judging_context(session)
    samples = [Sample("a b", "c"), Sample("a b c d e", "f g"), Sample("x " * 500, "y")]
    found = context.score(samples)
    (batch,) = context.batches(samples[:2])
    with torch.no_grad():
        expected = context.log_probabilities(batch).tolist()
    assert found[:2] == pytest.approx(expected, rel=1e-5)
    assert found[2] != found[2]


def test_judge_without_its_model_is_a_sentence() -> None:
    with pytest.raises(RunError, match="none is loaded here"):
        judge(PluginChoice(name="self"), [])


def test_evaluation_by_the_model_itself_keeps_its_words(
    session: Session, experiment: Experiment, tmp_path: Path
) -> None:
    values = json.loads(experiment.as_json())
    values["evaluation"] |= {"judge": {"name": "self", **ASK}}
    asked = validate(values)
    scores, directory = evaluate(session, session.start(0), asked, tmp_path, "base")
    rows = read_lines(directory / scores.verdicts)
    assert {row["raw"].split()[0] for row in rows if row["safe"]} <= {"yes"}


def test_base_tells_safe_replies_from_unsafe_ones() -> None:
    from fedsafe.experiment.load import load
    from fedsafe.micro import world

    session, _ = resident(load("micro-quick"))
    session.put(session.start(0))
    prompts = world.prompts("restricted", 40, 0)
    exchanges = [
        Exchange(Prompt(str(n), one.instruction, "harmful"), reply)
        for n, one in enumerate(prompts)
        for reply in (one.expected[n % 6], one.prefill)
    ]
    choice = {"name": "self", "ask": meta.JUDGE, "safe": meta.SAFE, "unsafe": meta.UNSAFE}
    found = judge(PluginChoice.model_validate(choice), exchanges, judging_context(session))
    right = [v.outcome == ("comply" if n % 2 else "refuse") for n, v in enumerate(found)]
    assert sum(right) >= 0.95 * len(right)
