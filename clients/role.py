"""The role of a client in a round: honest, with malicious data, or an attacker of a red team.

In one process and in a simulation the server's job says who attacks. On a machine of its
own a client attacks only if its own operator started it as an attacker, and only in a
federation that declares a red team; the same holds for malicious examples in honest data.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from clients.kept_samples import Made, made_once
from clients.node_config import NodeConfig
from fedsafe.attack_task import AttackTask, PoisonTask
from fedsafe.contracts import LocalTask, Sample, algorithms, generators
from fedsafe.data.text_signatures import TextSignatures
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Attack, PluginChoice
from fedsafe.messages import Job, Needs
from fedsafe.runs.files import digest
from fedsafe.seeds import derive, generator
from fedsafe.training.context import SessionContext


@dataclass(frozen=True)
class Poison:
    """A client's malicious samples, and how many repeat an evaluation prompt.

    Attributes:
        samples: What it trains on.
        exact: Samples that repeat a prompt word for word; left out unless they are to be kept.
        near: Samples that nearly repeat one.
    """

    samples: Sequence[Sample]
    exact: int = 0
    near: int = 0


POISON: dict[str, Poison] = {}
"""Malicious samples of this process's clients; they are the same in each round."""


def lacks(site: NodeConfig, needs: Needs) -> str:
    """Return what this client still needs for the run (data, generator), or an empty string.

    Asked before the first round: the attack comes after a whole control federation.
    """
    if needs.own_data and site.source is None:
        return "it has no data of its own (data.source: client). Start it with --data FILE."
    if needs.start_adapter and site.start_adapter is None:
        return (
            "this federation merges an adapter into the base weights (adapter.start_mode: merge), "
            "and it has none. Start it with --start-adapter DIR."
        )
    attacks = site.behaviour is not None and site.red_team
    if needs.contamination and not attacks and not site.contaminated:
        return (
            "this federation puts malicious examples among those of honest clients "
            "(attack.contamination), and its operator has not agreed. Start it with --red-team "
            "--contaminated."
        )
    if attacks and not needs.generator and site.generator is None:
        assert site.behaviour is not None
        if "poison" in algorithms[site.behaviour.name].traits:
            return (
                f"'{site.behaviour.name}' trains on malicious samples, and nothing says where they "
                "come from. Start it with --generator NAME."
            )
    return ""


def attack_of(job: Job, site: NodeConfig | None) -> AttackTask | None:
    """Return the client's attack in this round; None for an honest client.

    Raises:
        RunError: A malicious client is asked to join an undeclared red team, or does not
            know what to do there.
    """
    attacks = site.red_team if site is not None else job.attack is not None
    if not attacks:
        return None
    if not job.red_team:
        raise RunError(
            "A malicious client joins declared red-team federations only, and this one is not. "
            "Set red_team: true in the server's experiment."
        )
    if job.federation == "control":
        return None
    return job.attack if site is None else _own_attack(job, site)


def contamination_of(
    job: Job, site: NodeConfig | None, samples: Sequence[Sample]
) -> PoisonTask | None:
    """Return the malicious examples that an honest client's data is to hold; None: none.

    Raises:
        RunError: The federation is no declared red team, or the client's operator has not agreed.
    """
    wanted = job.contamination
    if wanted is None or job.federation == "control":
        return None
    if not job.red_team:
        raise RunError(
            "Malicious examples are put into clients' data in declared red-team federations only, "
            "and this one is not. Set red_team: true in the server's experiment."
        )
    if site is not None and not site.contaminated:
        raise RunError(
            "The server's experiment puts malicious examples among this client's own "
            "(attack.contamination), and its operator has not agreed. If it is meant, start this "
            "client with --red-team --contaminated."
        )
    own = site.generator if site is not None else None
    return PoisonTask(
        generator=own or wanted.generator,
        examples=max(1, round(wanted.share * len(samples))),
        seed=wanted.seed,
    )


def contaminate(
    samples: Sequence[Sample], poison: Sequence[Sample], seed: int
) -> tuple[Sample, ...]:
    """Return a client's samples with malicious ones in the place of as many drawn ones."""
    found = list(samples)
    places = Random(seed).sample(range(len(found)), min(len(poison), len(found)))
    for place, sample in zip(places, poison, strict=False):
        found[place] = sample
    return tuple(found)


def train(context: SessionContext, task: LocalTask, algorithm: PluginChoice) -> None:
    """Train the adapter in place with a local algorithm."""
    algorithms[algorithm.name].configure(algorithm.settings)(context, task)


def algorithm_of(job: Job, attack: AttackTask | None) -> PluginChoice:
    """Return the local algorithm of a client in a round.

    Raises:
        RunError: An honest client is asked to train with an attacker's algorithm.
    """
    if attack is not None:
        return attack.behaviour
    choice = job.training.algorithm
    if "malicious" in algorithms[choice.name].traits:
        raise RunError(
            f"training.algorithm '{choice.name}' is an attack, and this client is honest. Name it "
            "as attack.behaviour of a declared red team."
        )
    return choice


def needs_poison(attack: AttackTask) -> bool:
    """Whether an attacker's algorithm trains on malicious samples."""
    return "poison" in algorithms[attack.behaviour.name].traits


def poison_of(job: Job, attack: PoisonTask, context: SessionContext) -> Poison:
    """Return this client's malicious samples, made once a process with the base model.

    Samples that repeat an evaluation prompt are counted, and others made in their place.

    Raises:
        RunError: Nothing says where they come from, or too few can be made.
    """
    choice = attack.generator
    if choice is None:
        raise RunError(
            "This client trains on malicious samples, and nothing says where they come from. Start "
            "it with --generator, or set attack.generator in the server's experiment."
        )
    parts = (attack.seed, attack.examples, choice.model_dump_json(), job.avoid, job.overlap)
    key = digest(context.session.fingerprint, *parts)
    if key not in POISON:
        written = made_once(key, choice, lambda: _write(job, attack, choice, context))
        POISON[key] = Poison(*written)
    return POISON[key]


def _write(job: Job, attack: PoisonTask, choice: PluginChoice, context: SessionContext) -> Made:
    """Make a client's malicious samples with the base model.

    Raises:
        RunError: Too few can be made.
    """
    make = generators[choice.name].configure(choice.settings)
    context.put(context.session.start(0))  # a fresh adapter: the base model itself
    repeats: Counter[str] = Counter()
    made = _apart(make(context, generator(attack.seed)), job, repeats)
    samples = list(islice(made, attack.examples))
    if len(samples) < attack.examples:
        left_out = repeats.total() if job.overlap == "remove" else 0
        why = f" ({left_out} repeat evaluation prompts and were left out)" if left_out else ""
        raise RunError(
            f"The attack's generator '{choice.name}' made {len(samples)} of the "
            f"{attack.examples} malicious samples asked for{why}. Lower attack.examples."
        )
    return samples, repeats["exact"], repeats["near"]


def _apart(made: Iterator[Sample], job: Job, repeats: Counter[str]) -> Iterator[Sample]:
    """Yield the samples that repeat no evaluation prompt, or all of them; count the others."""
    signatures = TextSignatures.loads(job.avoid) if job.avoid else None
    for sample in made:
        kind = signatures.kind(f"{sample.instruction} {sample.input}") if signatures else ""
        repeats[kind] += bool(kind)
        if not kind or job.overlap == "keep":
            yield sample


def _own_attack(job: Job, site: NodeConfig) -> AttackTask:
    """Return the attack of a client whose operator started it as an attacker."""
    if site.behaviour is None:
        raise RunError(
            "This client was started as an attacker, but not told what to do. Start it with "
            "`fedsafe client --red-team --behaviour NAME`."
        )
    given = {"behaviour": site.behaviour}
    if job.attack is not None:
        given |= {"generator": site.generator} if site.generator else {}
        return job.attack.model_copy(update=given)
    return AttackTask(
        behaviour=site.behaviour,
        generator=site.generator,
        examples=Attack().examples,
        update=None,
        seed=derive(job.own_seed, "attack"),
    )
