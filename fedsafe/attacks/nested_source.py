"""Attack samples from any registered source, and the setting that names one."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from fedsafe.contracts import Sample, Writer, generators, sources
from fedsafe.errors import FedSafeError


def _checked(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """Check name and settings of a source.

    Raises:
        ValueError: There is no such source, or a setting is wrong.
    """
    try:
        source, settings = sources.chosen(choice)
        source.resolve(settings)
    except FedSafeError as error:
        raise ValueError(f"{error} Correct it") from None
    return choice


SourceChoice = Annotated[
    str | dict[str, Any],
    AfterValidator(_checked),
    Field(description="A source's name, or {name: NAME, setting: value}."),
]


def drawn(choice: str | Mapping[str, Any], rng: random.Random) -> list[Sample]:
    """Return the samples of a source, read with a seed of the random stream.

    Raises:
        DataError: They cannot be read.
    """
    source, settings = sources.chosen(choice)
    return list(source.configure(settings)(rng.getrandbits(32)))


@generators("source")
def of_source(writer: Writer, rng: random.Random, /, *, source: SourceChoice) -> Iterator[Sample]:
    """Yield each sample of a registered source once, in a drawn order, as malicious.

    Raises:
        DataError: The source cannot be read.
    """
    samples = drawn(source, rng)
    rng.shuffle(samples)
    yield from (replace(sample, origin="attack") for sample in samples)
