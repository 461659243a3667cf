"""What server and clients say to each other, apart from the adapter's arrays.

A train message carries everything a client needs; a client needs no file of the
server's. Knows nothing of Flower.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fedsafe.errors import RunError
from fedsafe.experiment.schema import Experiment

VERSION: Literal[2] = 2
ARRAYS, CONFIG, METRICS, ANSWER = "arrays", "config", "metrics", "answer"
"""Names of the records in a message; the first three are Flower's own defaults."""
ADAPTER = "adapter"
"""Name of the one array in the first (`fedsafe.models.packing`)."""
JOB, TENSORS = "job", "tensors"
"""Keys in the second: the client's work, and the shapes of the adapter's tensors."""
REFUSED = 1000
"""Error code of a reply that the server's machine did not take in; Flower's own are small."""


class Job(BaseModel):
    """One client's work in one round."""

    model_config = ConfigDict(frozen=True)
    version: Literal[2] = VERSION
    client: int
    """Number of the client that the work is for; a node may stand for several."""
    federation: Literal["main", "control"]
    round: int
    learning_rate: float
    fingerprint: str
    """Of the server's base model, tokenizer and template; a client with another refuses."""
    run: str = ""
    """Names the run, the same after a restart; for what a client keeps between rounds."""
    experiment: Experiment

    @classmethod
    def parse(cls, text: str) -> "Job":
        """Read a job from a message.

        Raises:
            RunError: It is not one, or of another version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            raise RunError(
                f"The server's message is not a job this client understands "
                f"({'.'.join(map(str, first['loc']))}: {first['msg']}). Run the same FedSafe "
                "version on both sides."
            ) from None


Count = Annotated[int, Field(ge=0)]
_SHAPES = TypeAdapter(dict[str, tuple[Count, ...]])


def write_shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the shapes of an adapter's tensors, by name, as they travel."""
    return _SHAPES.dump_json(dict(shapes)).decode()


def read_shapes(text: str) -> dict[str, tuple[int, ...]]:
    """Read shapes from a message.

    Raises:
        RunError: There are none.
    """
    try:
        return _SHAPES.validate_json(text)
    except ValidationError:
        raise RunError(
            "The server's message does not say which tensors its adapter has. Run the same FedSafe "
            "version on both sides."
        ) from None


class Hello(BaseModel):
    """What a node says of itself when the server calls the roll."""

    model_config = ConfigDict(frozen=True)
    version: int = VERSION
    partition: Annotated[int, Field(ge=0)] | None = None
    """Its number, from 0; the same in every session. None: its key tells."""
    behaviour: str | None = None
    """What it does as a declared attacker, for the records of a red team; None: honest."""
    data: str = ""
    """Keyed digest of its own data; empty where the experiment's source is shared."""
    partitions: Annotated[int, Field(ge=1)] | None = None
    """How many nodes there are in all, where it knows."""
