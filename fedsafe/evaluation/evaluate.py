"""Ask a model every prompt of the suites, judge the replies, and keep both on disk.

Replies are kept by what they depend on (adapter, prompts, decoding), so another judge
costs no generation. Knows nothing of how the adapter came about.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedsafe.contracts import Example, Exchange, Prompt, Verdict, judges, suites
from fedsafe.errors import RunError
from fedsafe.evaluation.measures import scores
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.runs.files import digest, read_lines, write_json, write_lines
from fedsafe.runs.records import Scores
from fedsafe.training.session import Session

Progress = Callable[[int, int], None]
"""Called with prompts done and prompts in all."""


def prompts_of(experiment: Experiment) -> list[Prompt]:
    """Return every prompt of the experiment's suites, in order.

    Raises:
        DataError: A suite's file cannot be used.
        RunError: Two prompts share an id.
    """
    found: list[Prompt] = []
    for choice in experiment.evaluation.suites:
        found += suites[choice.name].configure(choice.settings)(experiment.seed)
    seen: set[str] = set()
    for prompt in found:
        if prompt.id in seen:
            raise RunError(
                f"Two evaluation prompts have the id '{prompt.id}'. Use each suite once."
            )
        seen.add(prompt.id)
    return found


def ask(
    session: Session,
    prompts: Sequence[Prompt],
    *,
    prefilled: bool,
    progress: Progress | None = None,
) -> list[Exchange]:
    """Return the model's greedy reply to each prompt.

    With ``prefilled``, harmful prompts that carry a prefill are asked once more with
    the reply's beginning forced.
    """
    plain = list(prompts)
    forced = [p for p in plain if prefilled and p.purpose == "harmful" and p.prefill]
    total = len(plain) + len(forced)

    def told(offset: int) -> Callable[[int], None] | None:
        return None if progress is None else lambda done: progress(offset + done, total)

    replies = session.complete(_bare(plain), progress=told(0))
    exchanges = [Exchange(p, reply) for p, reply in zip(plain, replies, strict=True)]
    if forced:
        begun = [prompt.prefill for prompt in forced]
        replies = session.complete(_bare(forced), prefills=begun, progress=told(len(plain)))
        exchanges += [
            Exchange(p, r, "prefilled", p.prefill) for p, r in zip(forced, replies, strict=True)
        ]
    return exchanges


def judge(choice: PluginChoice, exchanges: Sequence[Exchange]) -> list[Verdict]:
    """Return the chosen judge's verdict on each exchange.

    Raises:
        RunError: The judge does not give one verdict an exchange.
    """
    verdicts = judges[choice.name].configure(choice.settings)(exchanges)
    if len(verdicts) != len(exchanges):
        raise RunError(
            f"Judge '{choice.name}' gave {len(verdicts)} verdicts on {len(exchanges)} exchanges. "
            "It must give one each, in order; 'unknown' is one."
        )
    return list(verdicts)


def evaluate(
    session: Session,
    adapter: "Mapping[str, torch.Tensor]",
    experiment: Experiment,
    home: Path,
    target: str,
    progress: Progress | None = None,
) -> tuple[Scores, Path]:
    """Evaluate an adapter, and return its scores and where exchanges and verdicts lie.

    Args:
        session: The model; its adapter is replaced.
        adapter: What to evaluate.
        experiment: Suites, judge and decoding.
        home: The run's ``evaluations`` directory.
        target: Name for the directory, such as ``attacked``.
        progress: Told how far it has come.
    """
    asked = experiment.evaluation
    prompts = prompts_of(experiment)
    key = digest(
        adapters.digest(adapter),
        session.fingerprint,
        *(repr(prompt) for prompt in prompts),
        asked.prefilled,
        asked.max_new_tokens,
    )
    directory = home / f"{target.replace(':', '-')}-{key[:8]}"
    exchanges = _kept(directory, prompts)
    if exchanges is None:
        session.put(adapter)
        exchanges = ask(session, prompts, prefilled=asked.prefilled, progress=progress)
    verdicts = judge(asked.judge, exchanges)
    found = scores(exchanges, verdicts)
    rows = [_row(e, v) for e, v in zip(exchanges, verdicts, strict=True)]
    write_lines(directory / "exchanges.jsonl", rows)
    judged_by = asked.judge.model_dump(mode="json")
    write_json(
        directory / "scores.json",
        {"target": target, "judge": judged_by, "scores": found.model_dump(mode="json")},
    )
    return found, directory


def probe(
    session: Session, adapter: "Mapping[str, torch.Tensor]", experiment: Experiment
) -> Scores:
    """Evaluate an adapter on the first few prompts of each kind, nothing kept."""
    session.put(adapter)
    limit = experiment.evaluation.probe_prompts
    taken: dict[tuple[str, str], int] = {}
    chosen: list[Prompt] = []
    for prompt in prompts_of(experiment):
        kind = (prompt.purpose, prompt.skill)
        taken[kind] = taken.get(kind, 0) + 1
        if taken[kind] <= limit:
            chosen.append(prompt)
    exchanges = ask(session, chosen, prefilled=False)
    return scores(exchanges, judge(experiment.evaluation.judge, exchanges))


def _bare(prompts: Sequence[Prompt]) -> list[Example]:
    return [Example(prompt.instruction, "", prompt.input) for prompt in prompts]


def _kept(directory: Path, prompts: Sequence[Prompt]) -> list[Exchange] | None:
    """Return the replies of an earlier evaluation of the same, if it was finished."""
    if not (directory / "scores.json").is_file():
        return None
    by_id = {prompt.id: prompt for prompt in prompts}
    try:
        return [
            _exchange(by_id[row["id"]], row) for row in read_lines(directory / "exchanges.jsonl")
        ]
    except (KeyError, json.JSONDecodeError):
        return None


def _exchange(prompt: Prompt, row: Mapping[str, Any]) -> Exchange:
    forced = ("prefilled", prompt.prefill) if row["prefilled"] else ("plain", "")
    return Exchange(prompt, row["reply"], *forced)


def _row(exchange: Exchange, verdict: Verdict) -> dict[str, Any]:
    prompt = exchange.prompt
    return {
        "id": prompt.id,
        "purpose": prompt.purpose,
        "topic": prompt.topic,
        "skill": prompt.skill,
        "prefilled": exchange.prefilled,
        "instruction": prompt.instruction,
        "reply": exchange.reply,
        "outcome": verdict.outcome,
        "correct": verdict.correct,
        "raw": verdict.raw,
    }


def with_judge(experiment: Experiment, choice: PluginChoice | None) -> Experiment:
    """Return the experiment with another judge, or as it is."""
    if choice is None:
        return experiment
    evaluation = experiment.evaluation.model_copy(update={"judge": choice})
    return experiment.model_copy(update={"evaluation": evaluation})
