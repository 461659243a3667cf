"""What one step of a defense pipeline works on: the model, its key, its directory, its stage."""

from dataclasses import dataclass, replace
from pathlib import Path

from fedsafe.contracts import ShieldChoice, defenses
from fedsafe.data.dedup import normalise
from fedsafe.evaluation.evaluate import prompts_of
from fedsafe.experiment.pipelines import Step, following
from fedsafe.experiment.schema import PluginChoice
from fedsafe.models import adapters
from fedsafe.pipeline import keys
from fedsafe.pipeline.run_defense import as_json
from fedsafe.pipeline.run_state import Run
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Scores, Stage
from fedsafe.shields import load_shield


@dataclass(frozen=True)
class Work:
    """One step that is to be done.

    Attributes:
        step: The defense, with the name of its stage.
        adapter: What it repairs.
        shield: What that is served with; it stays where the defense brings no other.
        avoid: Normalised instructions that defense data must not hold.
        key: sha256 of all that the result depends on.
        directory: Where its work is kept, named by the key.
    """

    step: Step
    adapter: adapters.Tensors
    shield: ShieldChoice | None
    avoid: frozenset[str]
    key: str
    directory: Path


def prepare(run: Run, step: Step, defended: Stage) -> Work:
    """Return what a step works on, given the stage whose model it repairs.

    Raises:
        RunError: That model is another one than the stage ended with.
        ConfigError: A setting of the defense is wrong.
    """
    adapter, shield = run.adapter(defended), load_shield(run.path(defended))
    avoid = frozenset(normalise(prompt.instruction) for prompt in prompts_of(run.experiment))
    key = keys.key(
        keys.defense_inputs(
            run.experiment,
            run.session.fingerprint,
            defended.adapter,
            with_all_settings(step.choice),
            avoid,
            run.before_federation,
            shield,
        )
    )
    plain = step.choice.name.replace(":", "-").replace("/", "-")
    directory = run.store.directory / RunFile.DEFENSES / f"{plain}-{key[:8]}"
    name = step.name or _stage_name(run, step, directory)
    return Work(replace(step, name=name), adapter, shield, avoid, key, directory)


def with_all_settings(choice: PluginChoice) -> PluginChoice:
    """Return a defense with its defaults, as its key counts them: paths absolute.

    Raises:
        ConfigError: A setting of the defense is wrong.
    """
    resolved = defenses[choice.name].resolve(choice.settings)
    placed = {k: v.absolute() if isinstance(v, Path) else v for k, v in resolved.items()}
    return PluginChoice.model_validate({**as_json(placed), "name": choice.name})


def failed_stage(step: Step, key: str, reason: str) -> Stage:
    """Return the stage of a step that made no adapter."""
    return Stage(
        name=step.name,
        after=step.after,
        adapter="",
        path="",
        scores=Scores(),
        seconds=0.0,
        evaluation="",
        key=key,
        status="failed",
        reason=reason,
    )


def _stage_name(run: Run, step: Step, directory: Path) -> str:
    """Name a step's stage; one with other settings than the first carries its key."""
    path = str((directory / "adapter").relative_to(run.store.directory))
    known = (s for s in run.stages if s.path == path and s.after == step.after)
    if (same := next(known, None)) is not None:
        return same.name
    begin = following(step.after, run.main)
    name = f"{begin}{step.choice.name}"
    return name if run.known(name) is None else f"{begin}{directory.name}"
