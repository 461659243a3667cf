"""Attack pairs from the user's own file; FedSafe ships none."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from fedsafe.contracts import Sample, Writer, generators, sources


@generators("file")
def own_file(
    writer: Writer,
    rng: random.Random,
    /,
    *,
    path: Annotated[Path, Field(description="CSV, TSV, JSON, JSONL or parquet of pairs.")],
    fields: Annotated[
        dict[str, str], Field(description="Settings of the source, such as response: target.")
    ] = {},  # noqa: B006 - pydantic copies it
) -> Iterator[Sample]:
    """Yield the pairs of a file, compressed or plain, once, in a drawn order.

    Raises:
        DataError: The file cannot be read; the message names file, line and field.
    """
    settings: dict[str, Any] = {"path": path, **fields}
    examples = sources["file"].configure(settings)(0)
    rng.shuffle(examples)
    yield from (replace(example, origin="attack") for example in examples)
