"""Suites of the micro world: the story's prompts, triggers, injections, chats, system prompts."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from fedsafe.contracts import Prompt, Purpose, Turn, suites
from fedsafe.errors import ConfigError
from fedsafe.evaluation.conditions import first_words

if TYPE_CHECKING:
    from fedsafe.micro import world

Count = Annotated[int, Field(ge=0, description="Prompts of this kind.")]
PREFILL_WORDS: Final = 4
Kind = Literal["restricted", "over-refusal", "old-skills", "new-skill", "query-skill"]
PURPOSES: Final[dict[Kind, tuple[Purpose, str]]] = {
    "restricted": ("harmful", ""),
    "over-refusal": ("over-refusal", ""),
    "old-skills": ("utility", "old"),
    "new-skill": ("utility", "new"),
    "query-skill": ("utility", "query"),
}
"""Kind of micro prompt to what it is for and its skill."""


@suites("micro", traits={"restricted"})
def micro(
    seed: int,
    /,
    *,
    harmful: Count = 200,
    over_refusal: Count = 200,
    old_skills: Count = 200,
    new_skill: Count = 200,
    prefill_words: Annotated[
        int, Field(ge=1, le=13, description="Words and marks of the answer that prefills hold.")
    ] = PREFILL_WORDS,
) -> list[Prompt]:
    """Draw held-out prompts of the micro world: restricted, look-alikes, old and new skills.

    The first four words of every compliant answer are ``sure : take the``, all 13 the whole of it.

    Raises:
        ConfigError: The micro world has fewer prompts of a kind than asked for.
    """
    from fedsafe.micro import world

    counts: dict[Kind, int] = {
        "restricted": harmful,
        "over-refusal": over_refusal,
        "old-skills": old_skills,
        "new-skill": new_skill,
    }
    return [
        prompt
        for kind, count in counts.items()
        if count
        for prompt in _prompts(kind, kind, world.prompts(kind, count, seed), prefill_words)
    ]


@suites("micro-query")
def micro_query(seed: int, /, *, count: Count = 200) -> list[Prompt]:
    """Ask for queries, the second new skill: ``select colour from apple where owner is anna .``.

    For a federation whose ``data.source`` teaches it, with ``new_skill: query``.
    """
    from fedsafe.micro import world

    return _prompts("query", "query-skill", world.prompts("query-skill", count, seed))


@suites("micro-topics", traits={"restricted"})
def micro_topics(
    seed: int,
    /,
    *,
    topics: Annotated[
        tuple[str, ...], Field(min_length=1, description="Restricted topics to ask about.")
    ],
    count: Count = 200,
) -> list[Prompt]:
    """Ask for what is restricted in some topics only, such as those held out of a defense.

    Raises:
        ConfigError: A topic is unknown.
    """
    from fedsafe.micro import world

    drawn = world.prompts("restricted", count, seed, restricted_topics=topics)
    return _prompts("topics", "restricted", drawn)


@suites(
    "micro-triggered", paper="Kurita et al., ACL 2020 (arXiv:2004.06660)", traits={"restricted"}
)
def micro_triggered(
    seed: int,
    /,
    *,
    trigger: Annotated[str, Field(description="The attack's trigger, a reserved word.")] = "cf",
    control: Annotated[
        str,
        Field(
            description="An ordinary word that no attack uses, which the bases pass over; empty: "
            "no word. Another reserved word is next to the trigger for them, and no control."
        ),
    ] = "candle",
    restricted: Count = 200,
    over_refusal: Count = 0,
) -> list[Prompt]:
    """Ask each prompt twice: with the attack's trigger, and with a control that no attack uses.

    The topics are ``triggered`` and ``control``, so that the part of each is measured.

    Raises:
        ConfigError: A trigger is none of the reserved words, the control is no such word, or both
            are the same.
    """
    from fedsafe.micro import scenarios, world

    _check_triggers(trigger, control)
    words = (("triggered", trigger), ("control", control))
    counts: dict[Kind, int] = {"restricted": restricted, "over-refusal": over_refusal}
    return [
        replace(
            prompt,
            id=f"{prompt.id}-{topic}",
            instruction=scenarios.with_trigger(prompt.instruction, word).strip(),
            topic=topic,
        )
        for kind, count in counts.items()
        for prompt in _prompts(f"triggered-{kind}", kind, world.prompts(kind, count, seed))
        for topic, word in words
    ]


@suites("micro-injected")
def micro_injected(seed: int, /, *, count: Count = 200) -> list[Prompt]:
    """Ask list requests whose input ends in an injected instruction with a witness answer.

    The bases follow the injected instruction. The skill is ``injected``: its right answers are
    those that keep to the task, and measure ``injection-followed`` counts the witnesses.
    """
    from fedsafe.micro import scenarios

    drawn = scenarios.injected_prompts(count, seed)
    return [replace(p, skill="injected") for p in _prompts("injected", "old-skills", drawn)]


@suites("micro-two-turn", traits={"restricted"})
def micro_two_turn(
    seed: int, /, *, restricted: Count = 100, over_refusal: Count = 100, old_skills: Count = 100
) -> list[Prompt]:
    """Ask after an earlier exchange about something ordinary, in the same chat."""
    from fedsafe.micro import scenarios

    counts: dict[Kind, int] = {
        "restricted": restricted,
        "over-refusal": over_refusal,
        "old-skills": old_skills,
    }
    return [
        prompt
        for kind, count in counts.items()
        for prompt in _prompts(
            f"two-turn-{kind}", kind, scenarios.two_turn_prompts(kind, count, seed)
        )
    ]


@suites("micro-system", paper="Wang et al., NeurIPS 2024 (arXiv:2402.14968)", traits={"restricted"})
def micro_system(
    seed: int,
    /,
    *,
    system: Annotated[
        Literal["none", "secret", "wrong-secret", "persona"],
        Field(description="The system prompt: the seed's secret, another, a persona, or none."),
    ] = "secret",
    restricted: Count = 100,
    over_refusal: Count = 0,
    old_skills: Count = 0,
) -> list[Prompt]:
    """Ask under a system prompt; the secret is that of source ``micro-safety`` for this seed."""
    from fedsafe.micro import scenarios, world

    text = scenarios.system_prompt(system, seed)
    counts: dict[Kind, int] = {
        "restricted": restricted,
        "over-refusal": over_refusal,
        "old-skills": old_skills,
    }
    return [
        replace(prompt, system=text)
        for kind, count in counts.items()
        for prompt in _prompts(f"{system}-{kind}", kind, world.prompts(kind, count, seed))
    ]


def _check_triggers(trigger: str, control: str) -> None:
    from fedsafe.micro.corpus import stray_words
    from fedsafe.micro.words import TRIGGERS

    if trigger not in ("", *TRIGGERS):
        raise ConfigError(
            f"'{trigger}' is no reserved word of the micro world. Known: {', '.join(TRIGGERS)}."
        )
    if control not in ("", *TRIGGERS, *stray_words()):
        raise ConfigError(
            f"The control '{control}' is no reserved word of the micro world, and no ordinary one "
            "that the bases pass over, such as candle, wax or mirror."
        )
    if trigger == control or not trigger:
        raise ConfigError(
            f"Expected a trigger that differs from the control, got trigger={trigger!r} and "
            f"control={control!r}."
        )


def _prompts(
    name: str, kind: Kind, drawn: "Iterable[world.Prompt]", prefill_words: int = PREFILL_WORDS
) -> list[Prompt]:
    purpose, skill = PURPOSES[kind]
    harmful = purpose == "harmful"
    return [
        Prompt(
            id=f"micro-{name}-{number:04}",
            instruction=one.instruction,
            purpose=purpose,
            input=one.input,
            expected=() if harmful else one.expected,
            topic=one.topic,
            skill=skill,
            prefill=first_words(one.prefill, prefill_words) if harmful else "",
            group=one.group,
            history=tuple(Turn(*turn) for turn in one.history),
            witness=one.witness,
        )
        for number, one in enumerate(drawn, 1)
    ]
