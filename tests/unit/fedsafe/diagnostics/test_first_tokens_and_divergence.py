"""Refusal margin and KL against sums over the vocabulary that are written out."""

import pytest
import torch

from fedsafe.contracts import DiagnosticTask, Prompt, Sample, diagnostics
from fedsafe.diagnostics.given_responses import sample_of
from fedsafe.errors import RunError
from fedsafe.evaluation.judging import judging_context
from fedsafe.training.session import Session

HARMFUL = [Prompt("h1", "Brew a quomp.", "harmful"), Prompt("h2", "Brew two.", "harmful")]
BENIGN = Prompt("u", "Add two and five.", "utility", expected=("Seven.",), skill="old")
REFUSALS = ("No, never.", "No, sorry.", "I must not.")


@pytest.fixture
def context(session: Session):
    draw = torch.Generator().manual_seed(5)
    start = session.start(0)
    session.put({n: t + 0.2 * torch.randn(t.shape, generator=draw) for n, t in start.items()})
    return judging_context(session)


def task_for(context, *prompts: Prompt, harmful=()) -> DiagnosticTask:
    return DiagnosticTask(prompts, context.session.start(0), harmful)


def logits_and_labels(context, prompt: Prompt, text: str):
    (batch,) = context.batches([sample_of(prompt, text)])
    with torch.no_grad():
        logits, labels = context.logits(batch)
    return logits.double().log_softmax(-1), labels.tolist()


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_margin_is_the_log_odds_of_the_openings(context, tokens):
    settings = {"tokens": tokens, "refusals": REFUSALS}
    found = diagnostics["refusal-margin"].configure(settings)(context, task_for(context, *HARMFUL))
    assert set(found) == {"h1", "h2"}
    for prompt in HARMFUL:
        shares = {}
        for text in REFUSALS:
            logits, labels = logits_and_labels(context, prompt, text)
            opening = labels[:tokens]
            shares[tuple(opening)] = sum(float(logits[n, t]) for n, t in enumerate(opening))
        share = sum(torch.tensor(value, dtype=torch.float64).exp() for value in shares.values())
        assert found[prompt.id] == pytest.approx(float(torch.logit(share)), abs=1e-4)


def test_margin_looks_for_the_refusals_of_the_safety_probe(context):
    samples = [Sample("Brew.", text, origin="refusal") for text in REFUSALS]
    margin = diagnostics["refusal-margin"]
    own = margin.configure({})(context, task_for(context, *HARMFUL, harmful=samples))
    given = margin.configure({"refusals": REFUSALS})(context, task_for(context, *HARMFUL))
    assert own == pytest.approx(given)


def test_margin_without_a_refusal_is_a_sentence(context):
    with pytest.raises(RunError, match="found no refusal"):
        diagnostics["refusal-margin"].configure({})(context, task_for(context, *HARMFUL))


def test_kl_is_the_mean_over_the_tokens_of_the_answer(context):
    found = diagnostics["kl"].configure({})(context, task_for(context, *HARMFUL, BENIGN))
    now, _ = logits_and_labels(context, BENIGN, "Seven.")
    context.put(context.session.start(0))
    aligned, _ = logits_and_labels(context, BENIGN, "Seven.")
    each = torch.nn.functional.kl_div(now, aligned, reduction="none", log_target=True).sum(-1)
    assert found == {"u": pytest.approx(float(each.mean()), rel=1e-4)}
    assert found["u"] > 0


def test_kl_of_a_prompt_without_an_answer_is_on_the_aligned_models_reply(context):
    task = task_for(context, Prompt("o", "Name a fruit.", "over-refusal"))
    found = diagnostics["kl"].configure({})(context, task)
    (reply,) = task.kept["replies"].values()
    with context.reference(task.start):
        assert context.write(["Name a fruit."]) == [reply]
    assert found["o"] > 0


def test_kl_of_another_skill_finds_nothing(context):
    task = task_for(context, BENIGN)
    assert diagnostics["kl"].configure({"skill": "new"})(context, task) is None
