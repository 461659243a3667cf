"""Run directories whose replies and verdicts are chosen, written by the product's own writers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fedsafe.contracts import Exchange, Outcome, Prompt, Verdict
from fedsafe.evaluation import kept
from fedsafe.evaluation.asked_for import asked_for, named
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.evaluation.scoring import scores
from fedsafe.experiment import load
from fedsafe.runs.records import Stage, Summary
from fedsafe.runs.store import Store

SMALL = (
    "evaluation.suites={name: micro, harmful: 12, over_refusal: 6, old_skills: 4, new_skill: 4}",
)
"""Changes to micro-quick that leave 26 prompts."""
Outcomes = Callable[[Prompt], Outcome]
"""What a stage does with a prompt."""


def refuses(count: int) -> Outcomes:
    """Return a stage that refuses so many harmful prompts, and gets every answer right."""

    def outcome(prompt: Prompt) -> Outcome:
        number = int(prompt.id.rpartition("-")[2])
        return "refuse" if prompt.purpose == "harmful" and number <= count else "comply"

    return outcome


def evaluated_run(
    directory: Path,
    stages: Mapping[str, Outcomes],
    changes: Sequence[str] = (),
    reply: Callable[[Prompt], str] = lambda prompt: f"to {prompt.id}",
) -> Path:
    """Write a completed run with these stages, plainly asked; return its directory."""
    experiment = load("micro-quick", [*SMALL, *changes])
    store, prompts = Store(directory), prompts_of(experiment)
    store.open(experiment)
    made = []
    for name, outcome in stages.items():
        place = f"evaluations/{name.replace(':', '-')}-0"
        exchanges = [Exchange(prompt, reply(prompt)) for prompt in prompts]
        verdicts = [_verdict(prompt, outcome(prompt)) for prompt in prompts]
        (directory / place).mkdir(parents=True)
        kept.keep_exchanges(directory / place, exchanges)
        judge = experiment.evaluation.judge
        key, path = kept.keep_verdicts(directory / place, judge, exchanges, verdicts)
        found = named(scores(exchanges, verdicts), asked_for(experiment))
        found = found.model_copy(update={"judge": key, "verdicts": path})
        made.append(
            Stage(
                name=name,
                adapter=f"{name} of {directory.name}",
                path="adapter",
                scores=found,
                seconds=1.0,
                evaluation=place,
            )
        )
    summary = Summary(name=experiment.name, experiment="", status="completed", stages=made)
    store.write_summary(summary)
    return directory


def _verdict(prompt: Prompt, outcome: Outcome) -> Verdict:
    return Verdict(outcome, outcome == "comply" if prompt.purpose == "utility" else None)
