"""Checks of an experiment's attack section, each problem with its path and remedy."""

from collections.abc import Iterator

from fedsafe.contracts import REGISTRIES
from fedsafe.errors import FedSafeError, PluginError
from fedsafe.experiment.schema import Attack, Experiment, PluginChoice
from fedsafe.update_attacks import needs
from fedsafe.validation_errors import Problem


def attack_problems(experiment: Experiment) -> Iterator[Problem]:
    """Yield everything wrong with an experiment's attack, and with an attack for honest clients."""
    attack = experiment.attack
    if "malicious" in _traits(experiment.training.algorithm):
        yield (
            "training.algorithm",
            f"'{experiment.training.algorithm.name}' is an attack, and every honest client would "
            "train with it. Name it as attack.behaviour.",
        )
    if attack is None:
        return
    if not experiment.red_team:
        yield (
            "attack",
            "an attack runs only inside a declared red team. Set red_team: true, or remove it.",
        )
    if attack.malicious == 0 and attack.contamination == 0:
        yield (
            "attack.malicious",
            "nobody is malicious and no data is: there is no attack. Raise it, set "
            "attack.contamination to a share of every client's examples, or remove the attack.",
        )
    if attack.generator is None and (reason := _needs_generator(attack)):
        yield (
            "attack.generator",
            f"{reason}. Say where they come from, such as {{name: file, path: pairs.jsonl}}.",
        )
    if attack.update is not None and attack.collusion == "clients":
        yield from _collusion(attack.update)
    if attack.malicious > experiment.federation.clients:
        yield (
            "attack.malicious",
            f"{attack.malicious} malicious clients out of {experiment.federation.clients}. "
            "Lower it, or add clients.",
        )


def _needs_generator(attack: Attack) -> str:
    """Return what in an attack uses malicious examples; empty: nothing."""
    if attack.contamination > 0:
        return "attack.contamination puts malicious examples among the clients' own"
    if attack.malicious and _trains_on_poison(attack.behaviour):
        return f"behaviour '{attack.behaviour.name}' trains on malicious examples"
    return ""


def _collusion(update: PluginChoice) -> Iterator[Problem]:
    """See that attackers on machines of their own can know what their update attack needs."""
    try:
        honest = "honest" in needs(update)
    except FedSafeError:  # said already
        return
    if honest:
        yield (
            "attack.collusion",
            f"update attack '{update.name}' knows the honest clients' updates, which no attacker's "
            "own machine does. Set it to server, or attack.update.knows to colluders or own.",
        )


def _trains_on_poison(choice: PluginChoice) -> bool:
    return "poison" in _traits(choice)


def _traits(choice: PluginChoice) -> frozenset[str]:
    """Return the traits of a local algorithm; none where there is no such algorithm."""
    try:
        return REGISTRIES["algorithm"][choice.name].traits
    except PluginError:
        return frozenset()
