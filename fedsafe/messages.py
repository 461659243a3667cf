"""Message payloads between server and clients, apart from the adapter's arrays.

A train message carries everything a client needs; a client needs no file of the
server's. Knows nothing of Flower.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fedsafe.attack_task import AttackTask, Contamination
from fedsafe.errors import RunError
from fedsafe.experiment.schema import Adapter, Experiment, Model, PluginChoice, Training
from fedsafe.seeds import derive
from fedsafe.validation_errors import first_of

VERSION: Literal[3] = 3
ARRAYS, CONFIG, METRICS, ANSWER = "arrays", "config", "metrics", "answer"
"""Names of the records in a message; the first three are Flower's own defaults."""
ADAPTER = "adapter"
"""Name of the one array in the first (`fedsafe.models.packing`)."""
JOB, TENSORS = "job", "tensors"
"""Keys in the second: the client's work, and the shapes of the adapter's tensors."""
NEEDS = "needs"
"""Key in the second of a roll call: what a client has to bring along."""
REFUSED = 1000
"""Error code of a reply that the server's machine did not take in; Flower's own are small."""


class SharedData(BaseModel):
    """Data that all clients read from one place: in one process, a simulation, or a trial."""

    model_config = ConfigDict(frozen=True)
    source: PluginChoice
    partition: PluginChoice
    clients: int
    """How many the samples are divided among."""
    seed: int
    """Of the source and the partition; the experiment's own."""


class Job(BaseModel):
    """One client's work in one round: all that the client needs, and nothing else.

    Neither the experiment's seed nor its judge is in it, and what declared attackers know of
    each other and of the strategy stands in ``attack`` alone: a client that knew more could aim
    at the server's random draws.
    """

    model_config = ConfigDict(frozen=True)
    version: Literal[3] = VERSION
    client: int
    """Number of the client that the work is for; a node may stand for several."""
    federation: Literal["main", "control"]
    round: int
    learning_rate: float
    fingerprint: str
    """Of the server's base model, tokenizer and template; a client with another refuses."""
    run: str = ""
    """Names the run, the same after a restart; for what a client keeps between rounds."""
    model: Model
    adapter: Adapter
    """The federation's; ``ranks`` is empty, a ``start`` is one that is to be merged."""
    rank: int
    """Of the adapter that this client trains."""
    template: PluginChoice
    max_length: int
    examples_per_client: int | None = None
    training: Training
    wire: Literal["float32", "bfloat16", "int8"] = "float32"
    max_new_tokens: int
    batch_size: int
    """Replies that an attacker's generator writes at a time."""
    deadline: float
    """Seconds that the server waits for the reply."""
    red_team: bool = False
    """Whether the federation is declared to be attacked on purpose."""
    seed: int
    """Of this client's draws in this round."""
    own_seed: int
    """Of reading this client's own data; the same in each round."""
    shared: SharedData | None = None
    """None: the data are the client's own."""
    attack: AttackTask | None = None
    contamination: Contamination | None = None
    """Malicious examples among those of an honest client; None: none."""
    avoid: str = ""
    """Signatures of the evaluation's prompts (`fedsafe.data.text_signatures`), which an attacker's
    samples must not repeat; honest clients with untouched data are sent none."""
    overlap: Literal["remove", "keep"] = "remove"
    """What becomes of an attacker's samples that do."""
    state: str = ""
    """Directory for what must outlast a simulated client's process; empty elsewhere."""

    @classmethod
    def of(
        cls, experiment: Experiment, *, client: int, round: int, attacker: bool, **known: Any
    ) -> "Job":
        """Return a client's work in a round of an experiment.

        Args:
            experiment: What the server runs.
            client: Number of the client.
            round: Number of the round, from 1.
            attacker: Whether the client is a declared attacker of this federation.
            **known: The fields that no experiment holds.
        """
        federation, data, seed = experiment.federation, experiment.data, experiment.seed
        ranks = experiment.adapter.ranks
        return cls(
            client=client,
            round=round,
            model=experiment.model,
            adapter=experiment.adapter.for_session(),
            rank=ranks[client % len(ranks)] if ranks else experiment.adapter.rank,
            template=data.template,
            max_length=data.max_length,
            examples_per_client=data.examples_per_client,
            training=experiment.training,
            wire=federation.wire,
            max_new_tokens=experiment.evaluation.max_new_tokens,
            batch_size=experiment.evaluation.batch_size,
            deadline=federation.deadline,
            red_team=experiment.red_team,
            seed=derive(seed, "client", client, "round", round),
            own_seed=derive(seed, "client", client),
            shared=_shared(experiment),
            attack=AttackTask.of(experiment, client) if attacker else None,
            contamination=None if attacker else Contamination.of(experiment, client),
            overlap=experiment.evaluation.overlap,
            **known,
        )

    def among(self, cohort: Collection[int], malicious: Collection[int]) -> "Job":
        """Return the job, an attacker's with the round's cohort and attackers in it."""
        if self.attack is None:
            return self
        attackers = tuple(sorted(set(cohort) & set(malicious)))
        known = {"cohort": len(cohort), "attackers": attackers}
        return self.model_copy(update={"attack": self.attack.model_copy(update=known)})

    @classmethod
    def parse(cls, text: str) -> "Job":
        """Read a job from a message.

        Raises:
            RunError: It is not one, or of another version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise RunError(
                f"The server's message is not a job this client understands ({first_of(error)}). "
                "Run the same FedSafe version on both sides."
            ) from None


def _shared(experiment: Experiment) -> SharedData | None:
    data = experiment.data
    if data.source.name == "client":
        return None
    clients, seed = experiment.federation.clients, experiment.seed
    return SharedData(source=data.source, partition=data.partition, clients=clients, seed=seed)


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
    """Registration reply of a node: client number and capabilities."""

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
    lacks: str = ""
    """Why it cannot take part in a run like this, for both operators; empty: it can."""


class Needs(BaseModel):
    """Requirements that the server sends to a client at registration."""

    model_config = ConfigDict(frozen=True)
    own_data: bool = False
    """Whether the examples are the clients' own: ``data: {source: client}``."""
    generator: bool = True
    """Whether the experiment says where malicious samples come from."""
    contamination: bool = False
    """Whether malicious examples are put among those of honest clients."""
    start_adapter: bool = False
    """Whether clients merge an adapter into their base weights."""

    @classmethod
    def parse(cls, text: object) -> "Needs":
        """Read what a server says; one of an earlier version says nothing."""
        try:
            return cls.model_validate_json(str(text))
        except ValidationError:
            return cls()
