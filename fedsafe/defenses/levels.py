"""The reference defense's three levels: whose safety data the attacked model is fine-tuned on.

Level 1: public data; level 2: another model's; level 3: the attacked model's own. Ye et al.,
ICLR 2025.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from fedsafe.contracts import DefenseTask, ModelContext, Sample
from fedsafe.defenses.safety_pairs import fresh_examples

Level = Annotated[
    Literal[1, 2, 3],
    Field(description="1: public data; 2: another model's; 3: what the attacked model writes."),
]
Data = Annotated[
    dict[str, Any] | None,
    Field(description="Of level 1, or pairs that another model wrote, as a source."),
]
Embedded = Literal["micro", "micro:1", "micro:2"]
Other = Annotated[
    Path | Embedded | None,
    Field(
        description="Of level 2: directory of the other model, which writes; or an embedded one."
    ),
]


def misplaced(
    *, level: int, data: dict[str, Any] | None, other: Path | str | None, writer: str, **_: Any
) -> str:
    """Return why a level cannot run with these settings; "" if it can."""
    given = [name for name, value in (("data", data), ("other", other)) if value is not None]
    wanted = {1: (["data"],), 2: (["data"], ["other"]), 3: ([],)}[level]
    if given not in wanted:
        needs = " or ".join(one[0] for one in wanted if one) or "neither data nor other"
        return f"level {level} takes {needs}, and {' and '.join(given) or 'neither'} is set."
    if level != 3 and writer != "model":
        return f"writer: {writer} is of level 3; at level {level} the data are not this model's."
    if data is not None and not isinstance(data.get("name"), str):
        return "data needs a name, such as {name: jsonl, path: FILE}."
    return ""


@contextmanager
def writing(context: ModelContext, other: Path | str | None) -> Iterator[ModelContext]:
    """Yield the model that writes the pairs: this one, or another that is loaded inside."""
    if other is None:
        yield context
        return
    with context.load_other(str(other)) as found:
        yield found


def given_halves(
    context: ModelContext,
    task: DefenseTask,
    data: dict[str, Any],
    pairs: int,
    dropped: Counter[str],
) -> list[Sample]:
    """Return as many refusals as helpful answers of a source, at most so many of each.

    A source that does not say which are refusals, such as a file, is taken as it is.

    Raises:
        ConfigError: There is no such source, or a setting of it is wrong.
        RunError: Every example repeats an evaluation prompt.
    """
    samples = fresh_examples(context, task, data, dropped)
    refused = [sample for sample in samples if sample.origin == "refusal"]
    helpful = [sample for sample in samples if sample.origin != "refusal"]
    if not refused or not helpful:
        return _some(context, samples, 2 * pairs)
    size = min(len(refused), len(helpful), pairs)
    return [*_some(context, refused, size), *_some(context, helpful, size)]


def _some(context: ModelContext, samples: Sequence[Sample], count: int) -> list[Sample]:
    return context.rng.sample(list(samples), min(count, len(samples)))
