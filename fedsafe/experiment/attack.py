"""The attack of an experiment, who is malicious and what they do, and the one after a defense."""

from typing import Annotated, Literal

from pydantic import Field

from fedsafe.experiment.section import Count, PluginChoice, Positive, Section


class Attack(Section):
    """The declared attack: who is malicious and what they do."""

    malicious: Count = 3
    """Number of malicious clients; which ones is drawn from the seed. 0: nobody is, and the attack
    is ``contamination`` alone."""
    contamination: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each honest client's own examples that are malicious without its knowing; the
    generator makes them, and the client trains as ever. 0: none."""
    behaviour: PluginChoice = PluginChoice(name="poisoned-data")
    """Local algorithm that they train with in place of ``training.algorithm``."""
    update: PluginChoice | None = None
    """Update attack: what they make of their update after training; None: they send it."""
    estimates: Annotated[int, Field(ge=1, le=100)] = 1
    """Benign updates that each malicious client trains on disjoint parts of its own benign
    examples, for update attacks that know such; with one and an honest behaviour it is the
    update that the behaviour trained."""
    collusion: Literal["server", "clients"] = "server"
    """Where an update attack runs that knows colluders or the rule: the server stands in for the
    attackers, or on their own machines, which share a directory (``fedsafe client --collude``)."""
    generator: PluginChoice | None = None
    """Where their malicious examples come from; needed by behaviours that train on them."""
    examples: Positive = 200
    """Malicious examples made for each malicious client."""


class SecondAttack(Section):
    """The federation going on from each defended model, the same attackers in it."""

    rounds: Annotated[int, Field(ge=1, le=10**4)] = 3
    """Rounds after the defense; the model is evaluated after each."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
    """Of every such round; None: the last round's before the defense."""
    prompts: Positive = 40
    """Prompts of each kind in the evaluation after a round, plainly asked. The model of the last
    round is evaluated as every stage is."""
