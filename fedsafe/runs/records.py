"""The records of a run directory, versioned; what scripts and reports read.

Knows nothing of how any of it came about.
"""

from typing import Literal

from pydantic import Field

from fedsafe.runs.detection import Detection, RoundDetection
from fedsafe.runs.early_stop import EarlyStop
from fedsafe.runs.overlap import Overlap
from fedsafe.runs.scores import Display, Rate, Record, Scores, Skills

VERSION = 1

__all__ = [
    "VERSION",
    "Client",
    "Detection",
    "Display",
    "EarlyStop",
    "Member",
    "Overlap",
    "Provenance",
    "Rate",
    "Record",
    "Round",
    "RoundDetection",
    "Scores",
    "Skills",
    "Stage",
    "Summary",
]


class Client(Record):
    """One client in one round."""

    client: int
    """Number of the client, from 0; stable over the run."""
    malicious: bool
    """The truth, for scoring detection; no rule ever sees it."""
    status: Literal["accepted", "dropped", "failed", "missing"]
    """dropped: its reply was screened out; failed: it answered with an error."""
    reason: str = ""
    """Why its update does not count; of an accepted one, why a filter left it out."""
    asked: int = 1
    """Times it was asked; more than once where its machine or its trainer died."""
    influence: float | None = 0.0
    """How much it counted in the aggregate; 0 for the rejected, None where a foreign
    strategy does not say."""
    norm: float | None = None
    """L2 length of its update."""
    probe_score: float | None = None
    """By how much its update alone changes the log-odds of "harmful" that the safety probe gives
    to harmful requests; None where filter ``safety-probe`` is not used."""
    examples: int | None = None
    """Examples it trained on, as it says."""
    loss: float | None = None
    """Mean training loss of its last quarter of steps, as it says."""
    skipped: int = 0
    """Examples it could not train on: no room for a response."""
    truncated: int = 0
    """Examples whose response was cut to fit."""
    poison_samples: int = 0
    """Malicious samples that it has, as a declared attacker says."""
    poison_exact: int = 0
    """Malicious samples beside or among them that repeat an evaluation prompt word for word;
    left out unless ``evaluation.overlap`` is keep."""
    poison_near: int = 0
    """The same of near-duplicates."""
    bytes: int = 0
    """Bytes of the arrays in its reply, whether it was accepted or not."""
    bytes_sent: int = 0
    """Bytes of the adapter sent to it, as often as it was asked."""
    seconds: float | None = None
    """Its training time, as it says."""
    load_seconds: float | None = None
    """Time it spent loading a model for this message; 0 when it was resident."""
    train_seconds: float | None = None
    """Time in its training loop, as it says."""
    tokens: float | None = None
    """Tokens it trained on, padding left out, as it says."""
    padded_tokens: float | None = None
    """The same, padding included."""
    peak_bytes: float | None = None
    """Most memory that its tensors took on a CUDA device, as it says; 0 elsewhere."""


class Round(Record):
    """One round of a federation: a line of rounds.jsonl."""

    version: int = VERSION
    round: int
    cohort: list[int]
    """Clients asked, in order."""
    clients: list[Client]
    learning_rate: float
    adapter: str
    """sha256 of the adapter after this round."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """What the strategy measured."""
    update_norm: float = 0.0
    """L2 length of the aggregated update."""
    probe: Scores | None = None
    """A small evaluation of the adapter after this round."""
    bytes_sent: int = 0
    """Bytes of the adapters sent to the clients, as packed for the wire."""
    bytes_received: int = 0
    """Bytes of the arrays in the replies, as packed for the wire."""
    seconds: float = 0.0
    """Wall time of the round, its probe included."""


class Stage(Record):
    """A model worth looking at, with its scores."""

    name: str
    """base, clean, attacked (or trained, without an attack), defended:<name>, where the names of
    several steps are joined by +; attacked-again:<name>, after a second attack on that; given: an
    adapter from anywhere."""
    after: str = ""
    """Name of the stage whose model a defense repairs, or a second attack goes on from; empty for
    other stages."""
    adapter: str
    """sha256 of its adapter."""
    path: str
    """Its adapter's directory, relative to the run directory."""
    scores: Scores
    seconds: float
    """Time to make it, small evaluations between rounds included; not to evaluate it."""
    evaluation: str
    """Directory of the evaluation, relative to the run directory."""
    evaluation_seconds: float = 0.0
    judge: str = ""
    """Judge of its scores."""
    detection: Detection | None = None
    overlap: Overlap | None = None
    """Overlap of the data made for it with the evaluation: of the attack, of a defense, else what
    honest clients are dealt; None: no such data, or clients that did not say."""
    early_stop: EarlyStop | None = None
    """Where a safety alarm stopped its federation; None: it ran all its rounds."""
    key: str = ""
    """sha256 of everything its adapter depends on; equal keys give equal adapters."""
    by_round: list[Scores] = Field(default_factory=list)
    """Small evaluations after each round of a second attack, plainly asked."""
    status: Literal["done", "failed"] = "done"
    """failed: a defense that made no adapter; ``adapter``, ``path``, ``scores`` are empty."""
    reason: str = ""
    """Why it failed."""


class Summary(Record):
    """summary.json: the run at a glance."""

    version: int = VERSION
    name: str
    experiment: str
    """sha256 of the resolved experiment."""
    status: Literal["running", "completed", "failed", "interrupted"]
    reason: str = ""
    stages: list[Stage] = Field(default_factory=list)
    seconds: float = 0.0


class Provenance(Record):
    """provenance.json: with what, on what, from what."""

    version: int = VERSION
    fedsafe: str
    commit: str = ""
    """Git commit of FedSafe's source, with a + where files differ; empty outside a checkout."""
    python: str
    packages: dict[str, str]
    platform: str
    processor: str
    cores: int
    memory_gib: float
    gpus: list[str]
    model: str
    """Fingerprint of base weights, tokenizer and template."""
    data: dict[str, str]
    """sha256 of each data set used; in a deployment what each client says of its own."""
    runtime: str
    """inline, simulation or deployment; adapter: defenses of an adapter from anywhere."""
    started: str
    """UTC, ISO 8601."""
    run: str = ""
    """Names this run and no other; the same after a restart."""
    experiment: str = ""
    """sha256 of experiment.yaml's bytes."""
    compute: str = ""
    """What the model computes in, on how many threads, and why: a sentence."""
    max_length: int | None = None
    """Tokens after which examples are cut: data.max_length, or the model's positions if fewer."""


class Member(Record):
    """One client of a deployment, as its key and its own words tell: a line of clients.jsonl."""

    client: int
    """Number of the client, from 0."""
    key: str
    """sha256 of its public key; no other key takes its number in this run."""
    name: str = ""
    """Its name in the allow list."""
    behaviour: str | None = None
    """What it does as a declared attacker; None: it is honest."""
    data: str = ""
    """Keyed digest of its own data, as it says."""
