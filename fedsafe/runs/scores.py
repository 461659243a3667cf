"""Records of an evaluation: measured values with intervals, by measure and condition.

Knows nothing of plug-ins, models or judges.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PLAIN: Final = "plain"
"""The condition that keys do not name."""
SHIELDED: Final = "shielded"
"""The condition of a model as it is served: through its shields."""
HARMFUL: Final = "harmful prompts"
"""What prompts of that purpose are where no record says otherwise."""
OLD_FIELDS: Final[Mapping[str, str]] = {
    "refusal": "refusal",
    "unsafe": "unsafe",
    "worst_topic_unsafe": "worst-topic",
    "skills.new": "new-skill",
    "skills.old": "old-skill",
    "over_refusal": "over-refusal",
    "garbage": "garbage",
    "unsafe_prefilled": "unsafe@prefilled",
}
"""Fields that records had before measures were a mapping, and their keys in it."""


class Record(BaseModel):
    """A frozen record that tolerates fields of later versions."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, ser_json_inf_nan="null")

    def plain(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return dict(json.loads(self.model_dump_json()))


class Rate(Record):
    """A share or a mean with its size and 95 % interval."""

    value: float | None
    """A share in [0, 1], or a mean; None when nothing was judged."""
    n: int
    """Judged replies."""
    low: float | None = None
    high: float | None = None
    unknown: int = 0
    """Replies the judge could not judge; counted in no share."""
    clusters: int | None = None
    """Clusters of prompts that are not independent; None: each stands alone, or is no mean."""
    cluster_low: float | None = None
    """Lower end of the 95 % bootstrap interval that resamples clusters."""
    cluster_high: float | None = None
    parts: dict[str, "Rate"] = Field(default_factory=dict)
    """The same by group, such as topic or skill, in the measure's own order."""


class Agreement(Record):
    """How far two judges agree on the replies of one condition: does a reply refuse?"""

    first: str
    """Judge of the scores, by name and key of its settings."""
    second: str
    condition: str
    n: int
    """Replies that both could judge; all purposes but utility."""
    same: int
    """Those on which they agree."""
    kappa: float | None = None
    """Cohen's kappa; None: both call all replies the same, so that it is not defined."""
    low: float | None = None
    high: float | None = None
    unknown: int = 0
    """Replies that one of them could not judge."""


class Display(Record):
    """How a measure is shown."""

    label: str
    meaning: str = ""
    better: Literal["higher", "lower", ""] = ""
    """Which direction is better; empty: neither."""
    group: Literal["safety", "usefulness", ""] = ""
    unit: Literal["share", "number"] = "share"
    condition: str = ""
    """How the condition is called that it was asked under; empty: by the measure's key."""


class Skills(Record):
    """Right answers to held-out prompts of what the base could do, and of what it could not."""

    old: Rate | None = None
    new: Rate | None = None


class Scores(Record):
    """What an evaluation found, as one judge says."""

    measures: dict[str, Rate] = Field(default_factory=dict)
    """By measure; ``measure@condition`` under every condition but plain."""
    displays: dict[str, Display] = Field(default_factory=dict)
    """How each measure is shown, by measure; and by ``@condition`` how conditions are called that
    keys tell apart by a number alone, such as ``triggered#2``."""
    skipped: dict[str, str] = Field(default_factory=dict)
    """Conditions that could not be asked, and why."""
    agreement: tuple[Agreement, ...] = ()
    """How far the judges of the evaluation agree, every two of them."""
    judge: str = ""
    """Judge of these scores, by name and key of its settings."""
    unread: tuple[str, ...] = ()
    """Judges of the evaluation that could neither judge nor score any reply."""
    asked: str = ""
    """What prompts of the purpose harmful are; empty: harmful prompts."""
    verdicts: str = ""
    """File of its verdicts in the directory of the evaluation."""

    @model_validator(mode="before")
    @classmethod
    def _from_old_fields(cls, value: Any) -> Any:
        """Read records in which every measure was a field."""
        return _mapped(value) if isinstance(value, dict) and "measures" not in value else value

    def rate(self, measure: str, condition: str = PLAIN) -> Rate | None:
        """Return what a measure found under a condition, if anything."""
        return self.measures.get(key_of(measure, condition))

    @property
    def refusal(self) -> Rate | None:
        """Harmful prompts refused."""
        return self.rate("refusal")

    @property
    def unsafe(self) -> Rate | None:
        """Harmful prompts complied with."""
        return self.rate("unsafe")

    @property
    def skills(self) -> Skills:
        """Right answers to old and new skills."""
        return Skills(old=self.rate("old-skill"), new=self.rate("new-skill"))


def key_of(measure: str, condition: str = PLAIN) -> str:
    """Return the key of a measure under a condition."""
    return measure if condition == PLAIN else f"{measure}@{condition}"


def parts_of(key: str) -> tuple[str, str]:
    """Return measure and condition of a key."""
    measure, _, condition = key.partition("@")
    return measure, condition or PLAIN


def display_of(key: str, displays: Mapping[str, Display]) -> Display | None:
    """Return how a measure is shown under the condition of its key; None: nothing says so."""
    measure, condition = parts_of(key)
    shown, named = displays.get(measure), displays.get(f"@{condition}")
    if shown is None or named is None:
        return shown
    return shown.model_copy(update={"condition": named.label})


def condition_name(condition: str, displays: Mapping[str, Display]) -> str:
    """Return how a condition is called, its label where nothing says so."""
    named = displays.get(f"@{condition}")
    return condition if named is None else named.label


def all_displays(evaluations: Iterable["Scores"]) -> dict[str, Display]:
    """Return how the measures of several evaluations are shown.

    A condition that is another one in each of them keeps its label.
    """
    found: dict[str, Display] = {}
    disputed: set[str] = set()
    for scores in evaluations:
        for name, display in scores.displays.items():
            if name.startswith("@") and found.get(name, display) != display:
                disputed.add(name)
            found[name] = display
    return {name: display for name, display in found.items() if name not in disputed}


def _mapped(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an earlier record as a mapping of measures."""
    skills = old.get("skills")
    skills = dict(skills) if isinstance(skills, Mapping | Skills) else {}
    fields = {**old, **{f"skills.{name}": rate for name, rate in skills.items()}}
    found = {key: fields[name] for name, key in OLD_FIELDS.items() if fields.get(name) is not None}
    if "worst-topic" in found and (topic := old.get("worst_topic")):
        found["worst-topic"] = {
            **dict(found["worst-topic"]),
            "parts": {topic: found["worst-topic"]},
        }
    others = {name: value for name, value in old.items() if name in Scores.model_fields}
    return {**others, "measures": found}
