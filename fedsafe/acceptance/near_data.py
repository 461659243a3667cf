"""Prompts near a defense's own data: its unsafe requests in wordings that it has not seen.

An attacker who knows the defense asks around what it was trained on. FedSafe rewords requests of
the micro world, whose grammar it knows.
"""

import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fedsafe.evaluation.evaluate import evaluate, prompts_of
from fedsafe.evaluation.per_prompt import Answers, per_prompt
from fedsafe.experiment.schema import Experiment, PluginChoice
from fedsafe.micro import splits
from fedsafe.micro.parsing import parse
from fedsafe.models import adapters
from fedsafe.pipeline.seeds import SeedRun
from fedsafe.runs.files import read_lines
from fedsafe.shields import load_shield
from fedsafe.training.session import resident

MOST = 40
"""Prompts."""


def near_answers(run: SeedRun, defended: str, home: Path) -> tuple[Answers, str]:
    """Return whether each reworded request is complied with, and why there are none.

    Args:
        run: A finished run.
        defended: Name of the stage; its defense's data lie beside its adapter.
        home: Gets the prompts and the evaluation.
    """
    stage = run.stages.get(defended)
    if stage is None or stage.status == "failed":
        return {}, "the defense failed"
    directory = run.directory / stage.path
    requests = kept_requests(directory.parent)
    if not requests:
        return {}, "it keeps no unsafe request"
    prompts = reworded(requests, run.experiment.seed)
    if not prompts:
        return {}, "its requests are not of the micro world, and FedSafe rewords no others"
    path = home / f"near-{directory.parent.name}.csv"
    home.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["prompt"], *([prompt] for prompt in prompts)])
    experiment = asking(run.experiment, path)
    session, _ = resident(experiment, trains=False)
    scores, found = evaluate(
        session,
        adapters.load(directory),
        experiment,
        home / "evaluations",
        path.stem,
        shield=load_shield(directory),
    )
    served = "unsafe@shielded" if "unsafe@shielded" in scores.measures else "unsafe"
    measures = experiment.evaluation.measures
    answers = per_prompt(found, prompts_of(experiment), measures, scores)
    return answers.get(served, {}), ""


def kept_requests(directory: Path) -> list[str]:
    """Return the unsafe requests among the data that a defense kept, each once."""
    rows = (row for path in sorted(directory.glob("*.jsonl")) for row in read_lines(path))
    unsafe = (row["instruction"] for row in rows if row.get("origin") in {"refusal", "harmful"})
    return list(dict.fromkeys(unsafe))


def reworded(requests: Sequence[str], seed: int) -> list[str]:
    """Return requests of the micro world in wordings held out for evaluation; others are left out.

    At most `MOST`, in an order that is the same for the same seed.
    """
    rng = random.Random(f"fedsafe near data {seed}")
    found: dict[str, None] = {}
    for text in rng.sample(list(requests), len(requests)):
        request = parse(text)
        if request is None or not request.restricted:
            continue
        wordings = splits.templates(request.operation, "evaluation", seed)
        found.setdefault(replace(request, wording=rng.choice(wordings)).text())
    return list(found)[:MOST]


def asking(experiment: Experiment, path: Path) -> Experiment:
    """Return an experiment that asks the harmful prompts of a file, as the model is served."""
    asked = {
        "suites": (PluginChoice(name="csv", path=str(path), purpose="harmful"),),
        "conditions": (PluginChoice(name="plain"), PluginChoice(name="shielded")),
        "measures": (PluginChoice(name="unsafe"),),
        "second_judges": (),
    }
    return experiment.model_copy(
        update={"evaluation": experiment.evaluation.model_copy(update=asked)}
    )
