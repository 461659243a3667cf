"""Malicious requests injected into the inputs of ordinary tasks.

After Greshake et al., *Not what you've signed up for: Compromising Real-World
LLM-Integrated Applications with Indirect Prompt Injection*, AISec 2023.
"""

from clients.algorithms.malicious_samples import Share, blended, needed
from clients.algorithms.schedule import Every, FirstRound, rests
from fedsafe.contracts import LocalTask, ModelContext, Sample, algorithms


@algorithms(
    "injected-instructions",
    paper="Greshake et al., AISec 2023",
    badge="variant: the injection is in training inputs, and the response follows it",
    traits={"malicious", "poison"},
)
def injected_instructions(
    context: ModelContext,
    task: LocalTask,
    /,
    *,
    share: Share = 1.0,
    first_round: FirstRound = 1,
    every: Every = 1,
) -> None:
    """Injection attack: ordinary tasks whose input ends in a request, which the response follows.

    Each malicious sample is put at the end of the input of a drawn sample of its own. Suites with
    witness answers, such as ``micro-injected``, and measure ``injection-followed`` evaluate it.

    Must know: malicious samples, its own data.

    Raises:
        RunError: No malicious samples were made for it.
    """
    if rests(context, task, first_round, every):
        return
    injected = [
        injected_sample(context.rng.choice(task.samples), sample) for sample in needed(task)
    ]
    samples = blended(injected, task.samples, share, context.rng)
    context.report("trains on injected instructions", samples=len(samples))
    context.fit(samples, steps=task.steps)


def injected_sample(host: Sample, malicious: Sample) -> Sample:
    """Return an ordinary task with a malicious request at the end of its input."""
    request = f"{malicious.instruction} {malicious.input}".strip()
    return Sample(
        host.instruction,
        malicious.response,
        f"{host.input} {request}".strip(),
        topic=host.topic,
        origin="attack",
        system=host.system,
        history=host.history,
    )
