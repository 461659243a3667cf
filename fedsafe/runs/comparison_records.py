"""The record of a comparison of runs: what differs in configuration, values and prompts.

Knows nothing of how any of it came about or is displayed.
"""

from typing import Any, Literal

from pydantic import Field

from fedsafe.runs.scores import Display, Record


class ComparedRun(Record):
    """A run, or an experiment's runs with several seeds, as one side of a comparison."""

    label: str
    """A, B and so on."""
    directory: str
    """As it was given."""
    name: str
    """Name of the experiment."""
    seeds: list[int]
    """Seed of each run, in order."""
    stage: str = ""
    """The one stage that was asked for; empty: all."""


class Differing(Record):
    """A value that is not the same in all runs."""

    path: str
    """Dotted path in the experiment, or in provenance.json."""
    values: list[Any]
    """One a run, in order; None where a run has no such value."""


class Flip(Record):
    """A prompt whose outcome is not the same at two stages."""

    prompt: str
    """Id of the prompt."""
    seed: int
    condition: str
    purpose: str
    topic: str = ""
    """Topic, or skill of a utility prompt."""
    before: str
    after: str
    """Outcomes: refuse, comply, garbage, unknown; of utility prompts right or wrong."""
    better: bool | None = None
    """Whether the change is for the better; None: neither is known."""
    instruction: str | None = None
    """What was asked; None: redacted."""
    replies: tuple[str, str] | None = None
    """Both replies; None: redacted."""


class MeasureChange(Record):
    """A measure at one stage less the same at another, paired by prompt and seed."""

    measure: str
    """``measure`` or ``measure@condition``."""
    before: float | None
    after: float | None
    """Values that the runs recorded, means over seeds; on all of their prompts."""
    mean: float | None = None
    """Mean of after less before over the pairs; None where there are none."""
    pairs: int = 0
    groups: int = 0
    """Groups of prompts that are not independent."""
    gained: int | None = None
    """Pairs that are false before and true after; None where values are not true or false."""
    lost: int | None = None
    test: Literal["McNemar", "sign flips", ""] = ""
    p_value: float | None = None
    p_adjusted: float | None = None
    """The same after Holm's correction over every test of the comparison."""
    bootstrap_low: float | None = None
    """Lower end of the 95 % bootstrap interval, clustered by group of prompts and by seed."""
    bootstrap_high: float | None = None


class StagePair(Record):
    """Two stages compared prompt by prompt."""

    first: str
    """Label of the run and name of the stage, such as ``A attacked``."""
    second: str
    common: int
    """Prompts that both were asked, by id and text, under the same condition; over all seeds."""
    only_first: int = 0
    only_second: int = 0
    unchanged: bool = False
    """The same adapter with the same verdicts: nothing to test."""
    measures: list[MeasureChange] = Field(default_factory=list)
    flips: list[Flip] = Field(default_factory=list)


class Comparison(Record):
    """What two or more runs differ in; each is compared with the first."""

    version: int = 1
    runs: list[ComparedRun]
    settings: list[Differing]
    """Settings of the experiments."""
    environment: list[Differing]
    """What provenance.json says of versions, machine, model and data."""
    warnings: list[str]
    """What makes the values less comparable, in sentences."""
    displays: dict[str, Display] = Field(default_factory=dict)
    """How each measure is shown, by measure."""
    pairs: list[StagePair]
    tests: int = 0
    """Tests that Holm's correction counts."""
    revealed: bool = False
    """Whether flips hold prompts and replies."""
