"""What prompts of the purpose ``harmful`` are in an experiment, in a reader's words.

A suite with the trait ``restricted`` asks what a harmless stand-in policy restricts; any other
is taken to ask for harm.
"""

from fedsafe.contracts import suites
from fedsafe.experiment.schema import Experiment
from fedsafe.runs.scores import HARMFUL, Scores

RESTRICTED = "restricted requests"
TRAIT = "restricted"


def asked_for(experiment: Experiment) -> str:
    """Return "harmful prompts", or "restricted requests" where no suite asks for harm."""
    asking = [
        suites[choice.name]
        for choice in experiment.evaluation.suites
        if any(
            prompt.purpose == "harmful"
            for prompt in suites[choice.name].configure(choice.settings)(experiment.seed)
        )
    ]
    if asking and all(TRAIT in suite.traits for suite in asking):
        return RESTRICTED
    return HARMFUL


def named(found: Scores, asked: str) -> Scores:
    """Return scores whose record and displays name what was asked."""
    if asked == HARMFUL:
        return found
    displays = {
        name: display.model_copy(
            update={
                "meaning": display.meaning.replace(HARMFUL, asked).replace(
                    "harmful topic", "restricted topic"
                )
            }
        )
        for name, display in found.displays.items()
    }
    return found.model_copy(update={"asked": asked, "displays": displays})
