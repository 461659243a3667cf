"""Divergence from the aligned model on benign prompts: what repair or attack costs elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import DiagnosticTask, ModelContext, Prompt, diagnostics
from fedsafe.diagnostics.given_responses import batches_of, sample_of
from fedsafe.lazy import torch


@diagnostics("kl", label="KL to the aligned model", traits={"lower", "usefulness", "number"})
def kl(
    context: ModelContext,
    task: DiagnosticTask,
    /,
    *,
    skill: Annotated[
        str, Field(description="Skill of the utility prompts; empty: all benign prompts.")
    ] = "",
) -> Mapping[str, float] | None:
    """Divergence of the next token from the aligned model's on benign prompts, in nats a token.

    KL(aligned || model) at each position of the first expected answer, or of the aligned model's
    own reply where there is none, the end token included: the mean over positions of each utility
    and over-refusal prompt, then over prompts. Prompts that leave no room for an answer are left
    out.
    """
    benign = [prompt for prompt in task.prompts if prompt.purpose != "harmful"]
    asked = [prompt for prompt in benign if skill in ("", prompt.skill)]
    answers = _answers(context, task, asked)
    found: dict[str, float] = {}
    for names, batch in batches_of(
        context, {p.id: sample_of(p, answer) for p, answer in zip(asked, answers, strict=True)}
    ):
        with context.reference(task.start):
            aligned = context.logits(batch)[0].double().log_softmax(dim=-1)
        with torch.no_grad():
            now = context.logits(batch)[0].double().log_softmax(dim=-1)
        each = (aligned.exp() * (aligned - now)).sum(dim=-1).clamp(min=0).cpu()
        rows = (batch.labels[:, 1:] != -100).nonzero()[:, 0]
        sums = torch.zeros(len(names), dtype=torch.float64).index_add_(0, rows, each)
        means = sums / torch.bincount(rows, minlength=len(names)).clamp(min=1)
        found |= dict(zip(names, means.tolist(), strict=True))
    return found or None


def _answers(context: ModelContext, task: DiagnosticTask, asked: Sequence[Prompt]) -> list[str]:
    """Return the first expected answer to each prompt, else the aligned model's own reply."""
    known: dict[Prompt, str] = task.kept.setdefault("replies", {})
    if new := [prompt for prompt in asked if not prompt.expected and prompt not in known]:
        with context.reference(task.start):
            replies = context.write([sample_of(prompt) for prompt in new])
        known.update(zip(new, replies, strict=True))
    return [prompt.expected[0] if prompt.expected else known[prompt] for prompt in asked]
