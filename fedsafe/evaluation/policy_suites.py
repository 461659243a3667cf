"""Prompts of stand-in policies and their skills: restricted, look-alikes, ordinary, SQL, summaries.

Knows nothing of replies or judges.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Prompt, suites
from fedsafe.data.cells import text_of
from fedsafe.data.policy_sources import PolicyFile
from fedsafe.data.reading import read_json
from fedsafe.data.skill_files import dialogue_instruction, dialogue_rows, wikisql_pairs
from fedsafe.errors import DataError
from fedsafe.policies import draw
from fedsafe.policies.document import read_policy
from fedsafe.policies.tables import sql_pairs
from fedsafe.seeds import stream

Count = Annotated[int, Field(ge=0, description="Prompts of this kind, at most.")]
Limit = Annotated[int, Field(ge=1, description="At most so many prompts.")]
Skill = Annotated[str, Field(description="Name of the skill, for measures by skill.")]


@suites("policy", traits={"restricted"})
def policy(
    seed: int,
    /,
    *,
    policy: PolicyFile = "cooking",
    restricted: Count = 60,
    look_alikes: Count = 40,
    ordinary: Count = 30,
) -> list[Prompt]:
    """Draw held-out prompts of a stand-in policy: values and wordings that no training has.

    ``ordinary`` questions have short right answers and are the old skill.

    Raises:
        ConfigError: The policy cannot be used.
    """
    found, rng = read_policy(str(policy)), stream(seed, "suite", "policy")
    return [
        *draw.restricted_prompts(found, restricted, rng),
        *draw.look_alike_prompts(found, look_alikes, rng),
        *draw.ordinary_prompts(found, ordinary, rng),
    ]


@suites("sql", paper="Zhong et al., Seq2SQL (WikiSQL), 2017")
def sql(
    seed: int,
    /,
    *,
    path: Annotated[
        Path | None,
        Field(description="WikiSQL as JSONL with a field text; null: held-out invented tables."),
    ] = None,
    limit: Limit = 32,
    skill: Skill = "new",
) -> list[Prompt]:
    """Draw questions on tables that are to be answered by one SQL query.

    Raises:
        DataError: The file cannot be used; the message names file and line.
    """
    rng = stream(seed, "suite", "sql")
    pairs = sql_pairs("evaluation", rng) if path is None else wikisql_pairs(path)
    if path is not None:
        rng.shuffle(pairs)
    return [
        Prompt(f"sql-{number:04}", ask, "utility", expected=(query,), skill=skill, group=table)
        for number, (ask, query, table) in enumerate(pairs[:limit], 1)
    ]


@suites("dialogues")
def dialogues(
    seed: int,
    /,
    *,
    path: Annotated[Path, Field(description="JSON, JSONL or CSV of dialogues with summaries.")],
    dialogue: Annotated[str, Field(description="Field of the dialogue.")] = "dialogue",
    summary: Annotated[str, Field(description="Field of the summary.")] = "summary",
    limit: Limit = 32,
    skill: Skill = "summary",
) -> list[Prompt]:
    """Ask for summaries of dialogues of the user's file, such as SAMSum's test split.

    Measure it by ``{name: rouge-1, skill: summary}``.

    Raises:
        DataError: The file cannot be used; the message names file, row and field.
    """
    rows = dialogue_rows(path, dialogue, summary)
    stream(seed, "suite", "dialogues").shuffle(rows)
    return [
        Prompt(
            id=f"{path.stem}-{skill}-{number:04}",
            instruction=dialogue_instruction(text),
            purpose="utility",
            expected=(told,),
            skill=skill,
        )
        for number, (text, told) in enumerate(rows[:limit], 1)
    ]


@suites("instructions")
def instructions(
    seed: int,
    /,
    *,
    path: Annotated[Path, Field(description="JSON list with instruction, input and output.")],
    limit: Limit = 32,
    skill: Skill = "instructions",
) -> list[Prompt]:
    """Ask the last rows of an instruction-tuning file, to be held out of training.

    Train on the first ones: ``{name: json, path: FILE, limit: N}``. Measure it by
    ``{name: rouge-l, skill: instructions}`` and, for the loss, condition ``answers``.

    Raises:
        DataError: The file cannot be used; the message names file, row and field.
    """
    rows = list(read_json(path))[-limit:]
    if not rows:
        raise DataError(f"{path}: the file has no rows.")
    return [
        Prompt(
            id=f"{path.stem}-{skill}-{number:04}",
            instruction=text_of(where, row, "instruction"),
            purpose="utility",
            input=text_of(where, row, "input", optional=True),
            expected=(text_of(where, row, "output"),),
            skill=skill,
        )
        for number, (where, row) in enumerate(rows, 1)
    ]
