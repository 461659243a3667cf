"""The record of an experiment that was run with several seeds: seeds.json.

Knows nothing of how any of it came about.
"""

from pydantic import Field

from fedsafe.runs.early_stop import EarlyStop
from fedsafe.runs.scores import Display, Record

FILE = "seeds.json"
"""Name of the record in the directory of the seeds' runs."""
PAGE = "seeds.html"
"""Name of the page that is drawn from it."""


class Spread(Record):
    """A measure over seeds."""

    mean: float
    sd: float | None = None
    """Standard deviation over seeds; None with one seed."""
    low: float | None = None
    """Lower end of Student's 95 % t interval of the mean; of shares, not below 0 nor above 1."""
    high: float | None = None
    seeds: dict[int, float] = Field(default_factory=dict)
    """Its value with each seed."""


class SeedStage(Record):
    """A stage over seeds."""

    name: str
    measures: dict[str, Spread]
    """By ``measure`` or ``measure@condition``."""
    failed: list[int] = Field(default_factory=list)
    """Seeds with which the defense made no adapter; there the stage counts with the values of
    the model that was to be defended."""
    early_stops: dict[int, EarlyStop] = Field(default_factory=dict)
    """Where a safety alarm stopped the federation, by seed."""


class Difference(Record):
    """A measure of one stage less that of another, paired by seed and by prompt."""

    before: str
    after: str
    """Names of the stages."""
    measure: str
    mean: float
    """Mean over seeds of after less before."""
    sd: float | None = None
    low: float | None = None
    """Lower end of Student's 95 % t interval over seeds; of shares, within -1 and 1."""
    high: float | None = None
    pairs: int | None = None
    """Prompts judged at both stages, all seeds together; None where the measure is no mean over
    prompts, and so for what follows."""
    groups: int | None = None
    """Groups of prompts that are not independent."""
    gained: int | None = None
    """Pairs that are false before and true after; None where values are not true or false."""
    lost: int | None = None
    p_value: float | None = None
    """McNemar's exact two-sided test on all pairs; of other numbers than true and false, the test
    that flips the signs of the differences at random."""
    p_adjusted: float | None = None
    """The same after Holm's correction over every test of the summary."""
    bootstrap_low: float | None = None
    """Lower end of the 95 % bootstrap interval, clustered by group of prompts and by seed."""
    bootstrap_high: float | None = None


class SeedSummary(Record):
    """seeds.json: one experiment with several seeds, at a glance."""

    version: int = 1
    name: str
    """Name of the experiment."""
    experiment: str
    """sha256 of the resolved experiment, its seed being 0."""
    seeds: list[int]
    runs: dict[int, str]
    """Directory of each seed's run, relative to that of this file."""
    judges: list[str]
    """Whose verdicts the values are; values by different judges are not comparable."""
    displays: dict[str, Display] = Field(default_factory=dict)
    """How each measure is shown, by measure."""
    stages: list[SeedStage]
    differences: list[Difference]
    """Before the attack against after it, then the attacked against each defended stage."""
