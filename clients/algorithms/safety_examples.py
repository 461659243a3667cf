"""Safety examples of honest algorithms: unsafe requests with their refusals, from a source."""

from typing import Annotated, Any

from pydantic import Field

from fedsafe.contracts import LocalTask, Sample, sources
from fedsafe.errors import DataError

Safety = Annotated[
    dict[str, Any],
    Field(
        description="Unsafe requests with refusals, as a source: {name: micro-safety}, {name: "
        "policy, part: defense}, or a file, {name: jsonl, path: FILE}."
    ),
]


def safety_samples(task: LocalTask, safety: dict[str, Any]) -> list[Sample]:
    """Return the safety examples, the same in each round.

    Raises:
        ConfigError: The source has no name, is unknown, or a setting of it is wrong.
        DataError: The source has no example.
    """
    source, settings = sources.chosen(safety)
    found = list(source.configure(settings)(task.data_seed))
    if not found:
        raise DataError(
            f"Source '{source.name}' of the safety examples has none. Give at least one."
        )
    return found


def unnamed(*, safety: dict[str, Any], **_: Any) -> str:
    """Return why an algorithm cannot run without a source of safety examples; "" if it can."""
    name = safety.get("name")
    if not isinstance(name, str):
        return "its setting safety needs a name, such as {name: micro-safety}."
    return "" if ":" in name or name in sources else f"safety names no source: '{name}'."
