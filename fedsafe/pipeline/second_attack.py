"""Second attack: the federation goes on from a defended model, the same attackers in it.

How long a defense holds is part of what it is worth. Each defended model has a federation of
its own, kept in ``second-attacks/NAME-KEY`` and gone on with where it stopped.
"""

from collections.abc import Sequence
from pathlib import Path

from fedsafe.errors import RunError
from fedsafe.evaluation.measures import detection
from fedsafe.evaluation.overlap import attack_overlap, signatures
from fedsafe.experiment.attack import SecondAttack
from fedsafe.experiment.pipelines import PREFIX, again_name, ends_of, pipelines_of
from fedsafe.experiment.schema import Experiment
from fedsafe.models import adapters
from fedsafe.pipeline import keys
from fedsafe.pipeline.federation import FINISHED, Clients, GoesOn
from fedsafe.pipeline.run_state import DEPLOYMENT, Run
from fedsafe.runs.files import digest
from fedsafe.runs.layout import RunFile
from fedsafe.runs.records import Stage
from fedsafe.runs.store import FederationStore
from fedsafe.shields.serving import load_shield, save_shield
from fedsafe.training.schedule import learning_rate


def check_place(run: Run) -> None:
    """See that a second attack that is asked for can take place.

    Raises:
        RunError: The clients are on machines of their own.
    """
    if run.experiment.second_attack is not None and run.runtime == DEPLOYMENT:
        raise RunError(
            "second_attack is for runs in one process or a simulation: clients on machines of "
            "their own are not asked again after a defense. Remove it from the experiment."
        )


def check_finished(run: Run, defended: Sequence[object]) -> None:
    """See that the models of a finished run can be attacked again.

    Raises:
        RunError: Its clients are on machines of their own, or there is nobody or nothing to attack.
    """
    if run.runtime == DEPLOYMENT:
        raise RunError(
            f"{run.store.directory} was trained by clients on machines of their own, who are not "
            "asked again after a defense. Give a run of one process or a simulation."
        )
    if run.experiment.attack is None:
        raise RunError(
            f"{run.store.directory} has no attackers, so that nobody can attack its models again. "
            "Give a run whose experiment has an attack."
        )
    if not defended:
        raise RunError(
            f"{run.store.directory} has no defended model to attack again. Name a defense with "
            "--with."
        )


def attack_again(run: Run, clients: Clients, second: SecondAttack) -> None:
    """Attack every pipeline's last model again; those of failed defenses are passed over.

    Raises:
        RunError: A federation failed; what is done is kept.
    """
    for name in ends_of(pipelines_of(run.experiment.defenses), run.main):
        defended = run.known(name)
        if defended is not None and run.known(again_name(name)) is None:
            attack_defended(run, clients, second, defended)


def attack_defended(run: Run, clients: Clients, second: SecondAttack, defended: Stage) -> Stage:
    """Let the federation go on from a defended model, evaluate it, and keep the stage."""
    name = again_name(defended.name)
    run.events("stage-start", stage=name)
    experiment = experiment_of(run.experiment, second)
    start, shield = run.adapter(defended), load_shield(run.path(defended))
    inputs = keys.federation_inputs(
        experiment, run.session.fingerprint, run.data, start=defended.adapter
    )
    inputs |= {"rounds before": str(run.experiment.federation.rounds)}
    inputs |= {"evaluation prompts": digest(signatures(experiment).dumps(), second.prompts)}
    key = keys.key(inputs)
    store = FederationStore(run.store.directory / RunFile.SECOND_ATTACKS / _directory(name, key))
    if run.shared is None or store.checkpoints() or not run.shared.fetch(key, store.directory):
        going_on = GoesOn(start, run.experiment.federation.rounds, f"{run.identity} {key[:16]}")
        clients.federation("main", experiment, store, going_on).run()
        if run.shared is not None:
            run.shared.put(key, store.directory, FINISHED, again=True)
    save_shield(store.adapter, shield)
    rounds = store.rounds()
    return run.finish(
        name,
        adapters.load(store.adapter),
        store.adapter,
        sum(one.seconds for one in rounds),
        key=key,
        detection=detection(rounds) if experiment.attack is not None else None,
        after=defended.name,
        overlap=attack_overlap(rounds, kept=experiment.evaluation.overlap == "keep"),
        by_round=[one.probe for one in rounds if one.probe is not None],
    )


def ends(stages: Sequence[Stage]) -> list[Stage]:
    """Return the defended models of a run that no later defense repairs further."""
    before = {stage.after for stage in stages if stage.name.startswith(PREFIX)}
    done = (s for s in stages if s.status == "done" and s.name.startswith(PREFIX))
    return [stage for stage in done if stage.name not in before]


def experiment_of(experiment: Experiment, second: SecondAttack) -> Experiment:
    """Return the experiment of the rounds after a defense: a constant rate, a look every round."""
    training = experiment.training
    rounds, first = experiment.federation.rounds, training.learning_rate
    last = learning_rate(first, training.final_learning_rate, rounds, rounds)
    constant = dict.fromkeys(("learning_rate", "final_learning_rate"), second.learning_rate or last)
    seen = {"probe_every": 1, "probe_prompts": second.prompts}
    whole = {"rounds": second.rounds, "early_stopping": None}
    federation = experiment.federation.model_copy(update=whole)
    return experiment.model_copy(
        update={
            "federation": federation,
            "training": training.model_copy(update=constant),
            "evaluation": experiment.evaluation.model_copy(update=seen),
            "defenses": (),
            "second_attack": None,
        }
    )


def _directory(name: str, key: str) -> Path:
    plain = name.partition(":")[2].replace(":", "-").replace("/", "-")
    return Path(f"{plain}-{key[:8]}")
