"""An attack's part of a client's job: what an attacker does, or what is put into honest data."""

from pydantic import BaseModel, ConfigDict

from fedsafe.experiment.schema import Experiment, PluginChoice, Strategy
from fedsafe.seeds import derive
from fedsafe.update_attacks import needs, runs_at_client


class PoisonTask(BaseModel):
    """Malicious samples to be made for one client."""

    model_config = ConfigDict(frozen=True)
    generator: PluginChoice | None
    examples: int
    """How many."""
    seed: int
    """Of its malicious samples; the same in each round."""


class Contamination(BaseModel):
    """Malicious examples among an honest client's own, which trains on them as on the others."""

    model_config = ConfigDict(frozen=True)
    generator: PluginChoice | None
    share: float
    """Share of the client's examples that they replace."""
    seed: int
    """Of the malicious examples and of which others they replace; the same in each round."""

    @classmethod
    def of(cls, experiment: Experiment, client: int) -> "Contamination | None":
        """Return what an experiment puts into an honest client's data; None: nothing."""
        attack = experiment.attack
        if attack is None or attack.contamination == 0:
            return None
        return cls(
            generator=attack.generator,
            share=attack.contamination,
            seed=derive(experiment.seed, "contamination", client),
        )


class AttackTask(PoisonTask):
    """What a client does as a declared attacker; no honest client is sent one."""

    behaviour: PluginChoice
    update: PluginChoice | None
    """Update attack that this client applies itself; None: none, or the server does for it."""
    estimates: int = 0
    """Benign updates that it trains beside, for an update attack that knows them; 0: none."""
    cohort: int = 0
    """Number of clients of the round."""
    attackers: tuple[int, ...] = ()
    """The malicious clients of the round, this one included."""
    strategy: Strategy | None = None
    """The server's, for an update attack that knows the rule and is applied by the client."""

    @classmethod
    def of(cls, experiment: Experiment, client: int) -> "AttackTask | None":
        """Return a malicious client's part of an experiment's attack; None without one."""
        attack = experiment.attack
        if attack is None:
            return None
        known = needs(attack.update) if attack.update else frozenset()
        here = runs_at_client(attack)
        return cls(
            behaviour=attack.behaviour,
            generator=attack.generator,
            examples=attack.examples,
            update=attack.update if here else None,
            estimates=attack.estimates if "benign" in known else 0,
            cohort=experiment.sampled,
            attackers=(client,),
            strategy=experiment.federation.strategy if here and "rule" in known else None,
            seed=derive(experiment.seed, "attack", client),
        )
