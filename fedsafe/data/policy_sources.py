"""Data sources of stand-in policies and their skills: alignment data, text to SQL, dialogues.

Knows nothing of templates, tokens or clients.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from fedsafe.contracts import Sample, sources
from fedsafe.data.skill_files import dialogue_instruction, dialogue_rows, wikisql_pairs
from fedsafe.errors import ConfigError, FedSafeError
from fedsafe.policies import draw
from fedsafe.policies.document import PolicyName, read_policy
from fedsafe.policies.tables import sql_pairs
from fedsafe.seeds import stream


def _checked(policy: str | Path) -> str | Path:
    """Read a policy's file where it is on this machine, so that its problems are told early."""
    if isinstance(policy, Path) and policy.is_file():
        try:
            read_policy(str(policy))
        except ConfigError as error:
            raise ValueError(str(error)) from None
    return policy


PolicyFile = Annotated[
    PolicyName,
    AfterValidator(_checked),
    Field(description="A shipped policy, or the path of a policy's YAML file."),
]
Limit = Annotated[int | None, Field(ge=1, description="At most so many; null: all.")]


@sources("policy", traits={"embedded"})
def policy(
    seed: int,
    /,
    *,
    policy: PolicyFile = "cooking",
    part: Annotated[
        Literal["alignment", "attack", "defense", "preferences"],
        Field(
            description="alignment, or defense for public data that repairs: refusals, look-alikes "
            "and ordinary help, 6 : 7 : 7; attack: restricted requests that are answered; "
            "preferences: as defense, with a complying reply (rejected) beside each refusal."
        ),
    ] = "alignment",
    count: Annotated[int, Field(ge=1, description="Examples in all.")] = 480,
) -> list[Sample]:
    """Draw training examples of a stand-in policy; no value or wording is in two parts.

    Raises:
        ConfigError: The policy cannot be used.
    """
    found, rng = read_policy(str(policy)), stream(seed, "source", "policy", part)
    if part == "attack":
        return draw.attack_samples(found, count, rng)
    if part == "preferences":
        return draw.preference_samples(found, count, rng)
    return draw.alignment_samples(found, part, count, rng)


@sources("ordinary", traits={"embedded"})
def ordinary(
    seed: int,
    /,
    *,
    count: Annotated[int, Field(ge=1, description="Examples in all, repeated if need be.")] = 100,
) -> list[Sample]:
    """Draw ordinary questions with short replies, as honest clients may hold them."""
    return draw.client_samples(count, stream(seed, "source", "ordinary"))


@sources("sql", paper="Zhong et al., Seq2SQL (WikiSQL), 2017", traits={"embedded"})
def sql(
    seed: int,
    /,
    *,
    path: Annotated[
        Path | None,
        Field(description="WikiSQL as JSONL with a field text; null: invented tables."),
    ] = None,
    limit: Limit = None,
) -> list[Sample]:
    """Draw questions on tables with their SQL queries; a practical skill that small models lack.

    Raises:
        DataError: The file cannot be used; the message names file and line.
    """
    rng = stream(seed, "source", "sql")
    if path is None:
        pairs = sql_pairs("train", rng)
    else:
        pairs = wikisql_pairs(path)
        rng.shuffle(pairs)
    return [Sample(ask, query, topic="sql") for ask, query, _ in pairs[:limit]]


@sources("dialogues")
def dialogues(
    seed: int,
    /,
    *,
    path: Annotated[Path, Field(description="JSON, JSONL or CSV of dialogues with summaries.")],
    dialogue: Annotated[str, Field(description="Field of the dialogue.")] = "dialogue",
    summary: Annotated[str, Field(description="Field of the summary.")] = "summary",
    limit: Limit = None,
) -> list[Sample]:
    """Read dialogues to summarise, such as SAMSum's, from a file of the user's.

    Raises:
        DataError: The file cannot be used; the message names file, row and field.
    """
    rows = dialogue_rows(path, dialogue, summary)
    stream(seed, "source", "dialogues").shuffle(rows)
    return [
        Sample(dialogue_instruction(text), told, topic="summary") for text, told in rows[:limit]
    ]


@sources("mixture", traits={"embedded"})
def mixture(
    seed: int,
    /,
    *,
    of: Annotated[
        tuple[dict[str, Any], ...],
        Field(min_length=1, description="Sources, each as {name: NAME, setting: value}."),
    ],
) -> list[Sample]:
    """Mix the examples of several sources, in a drawn order.

    Raises:
        ConfigError: One of them does not exist or has a wrong setting.
        DataError: One of them cannot be read.
    """
    found: list[Sample] = []
    for index, choice in enumerate(of):
        try:
            source, settings = sources.chosen(choice)
            found += source.configure(settings)(seed)
        except FedSafeError as error:
            raise ConfigError(f"of[{index}]: {error}") from None
    stream(seed, "source", "mixture").shuffle(found)
    return found
