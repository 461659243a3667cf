"""Pipelines of post-hoc defenses: their steps, each with the name of its stage.

Every pipeline begins with the same model. A beginning that several share is one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Discriminator, Field, Tag

from fedsafe.experiment.section import PluginChoice, as_list

PREFIX: Final = "defended:"
AGAIN: Final = "attacked-again:"


def _kind(value: Any) -> str:
    return "pipeline" if isinstance(value, list | tuple) else "defense"


Written = Annotated[
    Annotated[PluginChoice, Tag("defense")]
    | Annotated[tuple[PluginChoice, ...], Field(min_length=1), Tag("pipeline")],
    Discriminator(_kind),
]
Pipelines = Annotated[tuple[Written, ...], BeforeValidator(as_list)]
"""Each a plug-in, or a list of plug-ins that are applied one after the other."""


@dataclass(frozen=True)
class Step:
    """One defense of a pipeline.

    Attributes:
        name: Of its stage, such as ``defended:safe-lora+fine-tune``.
        after: Name of the stage whose model it repairs.
        choice: The defense.
    """

    name: str
    after: str
    choice: PluginChoice


def pipelines_of(written: Pipelines) -> list[tuple[PluginChoice, ...]]:
    """Return pipelines as their steps, however they are written."""
    return [one if isinstance(one, tuple) else (one,) for one in written]


def steps_of(pipelines: Sequence[Sequence[PluginChoice]], main: str) -> list[Step]:
    """Return the steps of pipelines, each once, the earlier before the later.

    Steps that differ in settings alone are numbered: ``defended:resta``, ``defended:resta-2``.

    Args:
        pipelines: The defenses of each, in order.
        main: Name of the stage that every pipeline begins with.

    >>> chosen = [PluginChoice(name=name) for name in ("safe-lora", "fine-tune")]
    >>> [step.name for step in steps_of([chosen], "attacked")]
    ['defended:safe-lora', 'defended:safe-lora+fine-tune']
    """
    found: dict[str, Step] = {}
    for choices in pipelines:
        after = main
        for choice in choices:
            step = next(
                made
                for number in count(1)
                if (made := _step(choice, after, main, number)) == found.get(made.name, made)
            )
            found[step.name] = step
            after = step.name
    return list(found.values())


def following(after: str, main: str) -> str:
    """Return how the names of the stages begin that repair the model of a stage."""
    return PREFIX if after == main else f"{after}+"


def ends_of(pipelines: Sequence[Sequence[PluginChoice]], main: str) -> list[str]:
    """Return the name of the last step's stage of each pipeline."""
    steps = steps_of(pipelines, main)
    found = []
    for choices in pipelines:
        after = main
        for choice in choices:
            after = next(s.name for s in steps if (s.after, s.choice) == (after, choice))
        found.append(after)
    return list(dict.fromkeys(found))


def again_name(defended: str) -> str:
    """Return the name of the stage after a second attack on a defended model.

    >>> again_name("defended:safe-lora+fine-tune")
    'attacked-again:safe-lora+fine-tune'
    """
    return f"{AGAIN}{defended.removeprefix(PREFIX)}"


def _step(choice: PluginChoice, after: str, main: str, number: int) -> Step:
    numbered = f"-{number}" if number > 1 else ""
    return Step(f"{following(after, main)}{choice.name}{numbered}", after, choice)
