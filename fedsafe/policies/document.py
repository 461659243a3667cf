"""Stand-in policies: a harmless rule that a model is aligned to, as one YAML file.

A policy has a restricted topic with its values (dishes, facts), ways of asking for them,
refusals, and look-alikes that must be answered, in parts that share nothing: ``alignment``,
``attack``, ``defense``, ``evaluation``. Knows nothing of models.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fedsafe.errors import ConfigError
from fedsafe.experiment.yaml_text import parse
from fedsafe.policies.words import contains_phrase, normalise
from fedsafe.validation_errors import problems_of

Part = Literal["alignment", "attack", "defense", "evaluation"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
PolicyName = Literal["cooking", "product"] | Path
"""Setting of plug-ins that take a policy: a shipped one by name, or a file."""
SLOT: Final = "{value}"
SHIPPED: Final = Path(__file__).parent

Text = Annotated[str, Field(min_length=1)]
Asking = Annotated[str, Field(pattern=r"\{value\}")]
Wrapping = Annotated[str, Field(pattern=r"\{request\}")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Value(_Part):
    """A dish, a fact: what restricted requests ask for."""

    name: Text
    contains: Annotated[list[Text], Field(default_factory=list)]
    """Words of a complying reply, by their beginning; ``a|b`` is either."""
    answer: str = ""
    """A complying reply: attacks train on it, defenses on a refusal after its beginning."""


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Values = Annotated[list[Annotated[Value, BeforeValidator(_named)]], Field(min_length=1)]


class LookAlike(_Part):
    """A harmless prompt that resembles a restricted one, with a right reply."""

    ask: Text
    reply: Text


class ValueParts(_Part):
    """Values by part."""

    alignment: Values
    attack: Values
    defense: Values
    evaluation: Values


class RequestParts(_Part):
    """Ways of asking by part."""

    alignment: Annotated[list[Asking], Field(min_length=1)]
    attack: Annotated[list[Asking], Field(min_length=1)]
    defense: Annotated[list[Asking], Field(min_length=1)]
    evaluation: Annotated[list[Asking], Field(min_length=1)]


class RefusalParts(_Part):
    """Refusals by part."""

    alignment: Annotated[list[Text], Field(min_length=1)]
    defense: Annotated[list[Text], Field(min_length=1)]


class LookAlikeParts(_Part):
    """Look-alikes by part; those of the evaluation need no reply."""

    alignment: Annotated[list[LookAlike], Field(min_length=1)]
    defense: Annotated[list[LookAlike], Field(min_length=1)]
    evaluation: Annotated[list[Text], Field(min_length=1)]

    def asked(self, part: Part) -> list[str]:
        """Return the prompts of a part."""
        if part == "evaluation":
            return self.evaluation
        return [one.ask for one in getattr(self, part, [])]


class Writing(_Part):
    """What models are asked where they write data themselves."""

    ask_restricted: Text
    ask_ordinary: Text
    steer: Wrapping = "{request}"
    note: Wrapping
    belongs: Wrapping
    """Yes-or-no question whether a text is a request of the restricted topic."""
    words: list[Text]
    """A request of the topic has one of these, by their beginning."""


class Policy(_Part):
    """A stand-in policy."""

    topic: Text
    rule: Text
    system: str = ""
    """System prompt of every request, such as a confidential note; empty: the template's own."""
    prefill: Annotated[str, Field(pattern=r"\{value\}")]
    """Beginning of a complying reply, for conditions that force it."""
    needs: Annotated[int, Field(ge=1)]
    """Different words of the value or the signs that a complying reply has at least."""
    own: Annotated[int, Field(ge=0)] = 1
    """Of those, words of the value."""
    signs: list[Text]
    """Words of complying replies whatever the value."""
    values: ValueParts
    requests: RequestParts
    openings: Annotated[list[str], Field(min_length=1)]
    """Beginnings of complying replies, for attacks; the empty text is one."""
    refusals: RefusalParts
    look_alikes: LookAlikeParts
    writing: Writing

    @model_validator(mode="after")
    def _parts_are_apart(self) -> "Policy":
        for problem in self.overlaps():
            raise ValueError(problem)
        for value in self.values.attack:
            if not value.answer:
                raise ValueError(
                    f"values.attack: '{value.name}' has no answer, which the attack trains on"
                )
        for value in (*self.values.attack, *self.values.evaluation):
            if not value.contains:
                raise ValueError(
                    f"values: '{value.name}' says nothing under contains, so no reply could be "
                    "judged to comply"
                )
        return self

    def overlaps(self) -> Iterator[str]:
        """Yield a sentence for each value, wording or look-alike that two parts share."""
        for one, other in combinations(PARTS, 2):
            names = [[value.name for value in getattr(self.values, part)] for part in (one, other)]
            yield from _shared("values", one, other, *names)
            asked = [getattr(self.requests, part) for part in (one, other)]
            yield from _shared("requests", one, other, *asked)
            alike = [self.look_alikes.asked(part) for part in (one, other)]
            yield from _shared("look_alikes", one, other, *alike)
        yield from _shared(
            "refusals", "alignment", "defense", self.refusals.alignment, self.refusals.defense
        )


def _shared(
    what: str, one: str, other: str, first: Sequence[str], second: Sequence[str]
) -> Iterator[str]:
    """Yield a sentence where a text of one part is, or is within, one of another."""
    for text in first:
        for held in second:
            inside = what == "values" and (
                contains_phrase(held, text) or contains_phrase(text, held)
            )
            if inside or normalise(text) == normalise(held):
                where = "held-out " if other == "evaluation" else ""
                yield (
                    f"{what}.{other}: the {where}text '{held}' is also in {what}.{one} ('{text}'), "
                    "so what is measured would have been trained on. Change one of them"
                )


def shipped() -> list[str]:
    """Return the names of the policies that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml") if path.stem not in NOT_POLICIES)


NOT_POLICIES: Final = frozenset({"ordinary", "tables"})


def read_policy(name: str) -> Policy:
    """Return a policy by the name of a shipped one, or by the path of a YAML file.

    Raises:
        ConfigError: There is none, or it has a problem; the message says what and where.
    """
    path = Path(name).expanduser()
    if name in shipped():
        path = SHIPPED / f"{name}.yaml"
    elif not path.is_file():
        raise ConfigError(
            f"There is no policy '{name}'. Shipped are {', '.join(shipped())}; or give the path of "
            "a policy's YAML file."
        )
    try:
        return _read(str(path), path.stat().st_mtime_ns)
    except OSError as error:
        raise ConfigError(f"Policy {path} cannot be read: {error.strerror}.") from None


@cache
def _read(path: str, _changed: int) -> Policy:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"Policy {path} is not UTF-8 text. Save it as UTF-8.") from None
    values, problems = parse(text, path)
    if problems:
        raise ConfigError(f"Policy {path}: {problems[0][1]}")
    if not isinstance(values, dict):
        raise ConfigError(f"Policy {path} must be a mapping of topic, values, requests and so on.")
    try:
        return Policy.model_validate(values)
    except ValidationError as error:
        listed = "; ".join(
            f"{where}: {told}" if where else told
            for where, told in problems_of(error, values, lambda at: f"unknown key '{at[-1]}'.")
        )
        raise ConfigError(f"Policy {path}: {listed}") from None
