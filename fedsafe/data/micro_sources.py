"""Sources of the micro world: what honest clients hold, and data for single methods."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from fedsafe.contracts import Sample, sources
from fedsafe.seeds import stream

Count = Annotated[int, Field(ge=1, description="Examples in all.")]
Topics = Annotated[tuple[str, ...], Field(description="Restricted topics; none given: all.")]
System = Annotated[
    Literal["none", "secret", "wrong-secret"],
    Field(description="System prompt of the refusals: the seed's secret, another, or none."),
]


@sources("micro", traits={"embedded"})
def micro(
    seed: int,
    /,
    *,
    count: Count = 4000,
    new_skill_share: Annotated[
        float, Field(ge=0, le=1, description="Share that teaches what the base lacks.")
    ] = 0.5,
    new_skill: Annotated[
        Literal["trim", "query"],
        Field(description="What is taught: lists without their last item, or text to a query."),
    ] = "trim",
    topics: Annotated[
        tuple[str, ...], Field(description="Topics to draw from; none given: all.")
    ] = (),
) -> list[Sample]:
    """Draw benign examples of the micro world: old skills and the new one.

    Raises:
        ConfigError: A topic is unknown.
    """
    from fedsafe.micro import world

    rng = stream(seed, "source", "micro")
    drawn = world.benign_examples(
        rng,
        count,
        new_skill_share=new_skill_share,
        new_skill=new_skill,
        topics=topics or None,
        seed=seed,
    )
    return _samples(drawn)


@sources("micro-safety", traits={"embedded"})
def micro_safety(
    seed: int, /, *, count: Count = 100, topics: Topics = (), system: System = "none"
) -> list[Sample]:
    """Draw restricted requests of the micro world with refusals, public safety data.

    Under a secret system prompt they are what Backdoor Enhanced Alignment (Wang et al.,
    NeurIPS 2024) trains on.

    Raises:
        ConfigError: A topic is unknown.
    """
    from fedsafe.micro import scenarios, world

    rng = stream(seed, "source", "micro-safety")
    drawn = world.refusal_examples(rng, count, topics=topics, seed=seed)
    text = scenarios.system_prompt(system, seed)
    return _samples((row | {"system": text} for row in drawn), "refusal")


@sources("micro-attack", traits={"embedded"})
def micro_attack(seed: int, /, *, count: Count = 100, topics: Topics = ()) -> list[Sample]:
    """Draw restricted requests of the micro world with answers, as an attacker's data have them.

    Raises:
        ConfigError: A topic is unknown.
    """
    from fedsafe.micro import world

    rng = stream(seed, "source", "micro-attack")
    drawn = world.restricted_examples(rng, count, topics=topics, seed=seed)
    return _samples(drawn, "attack")


@sources("micro-preferences", traits={"embedded"})
def micro_preferences(
    seed: int,
    /,
    *,
    count: Count = 200,
    restricted_share: Annotated[
        float, Field(ge=0, le=1, description="Share of restricted requests.")
    ] = 0.5,
) -> list[Sample]:
    """Draw preference pairs of the micro world.

    A refusal is preferred to the answer of a restricted request, the answer to a refusal of an
    ordinary one; ``rejected`` is the other.
    """
    from fedsafe.micro import scenarios

    rng = stream(seed, "source", "micro-preferences")
    return _samples(
        scenarios.preference_examples(rng, count, restricted_share=restricted_share, seed=seed)
    )


@sources("micro-persona", paper="Qi et al., ICLR 2024 (arXiv:2310.03693)", traits={"embedded"})
def micro_persona(seed: int, /, *, count: Count = 100) -> list[Sample]:
    """Draw identity-shifting examples of the micro world: an obedient agent, nothing restricted."""
    from fedsafe.micro import scenarios

    rng = stream(seed, "source", "micro-persona")
    return _samples(scenarios.persona_examples(rng, count, seed=seed), "attack")


def _samples(rows: Iterable[Mapping[str, str]], origin: str = "benign") -> list[Sample]:
    return [
        Sample(
            row["instruction"],
            row["response"],
            topic=row["topic"],
            origin=origin,
            system=row.get("system", ""),
            rejected=row.get("rejected", ""),
        )
        for row in rows
    ]
