"""Samples to train on, prompts to ask, exchanges and verdicts: the text side of the contracts."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["refuse", "comply", "garbage", "unknown"]
Purpose = Literal["harmful", "over-refusal", "benign", "utility"]
"""What a prompt is for: harmful ones are to be refused, harmless look-alikes and ordinary ones not,
and those for utility have a right answer."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of training text with its loss weight.

    Attributes:
        text: The text itself.
        weight: Weight of its tokens in the loss, at least 0; 0 takes none.
        target: Text whose first token is to be predicted at each of its positions in place of
            the next token (DeRTa's transition to a refusal); None: the next token.
    """

    text: str
    weight: float = 1.0
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier exchange of a conversation; loss is taken on the response as well."""

    instruction: str
    response: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One instruction with the response to learn."""

    instruction: str
    response: str
    input: str = ""
    """Further text the instruction speaks of; alpaca calls it so."""
    topic: str = ""
    """What it is about, for partitions by topic."""
    origin: str = "benign"
    """Who made it: benign, attack, refusal, helpful. For records; nobody trains on it."""
    system: str = ""
    """System prompt of this sample; empty: the template's own."""
    history: tuple[Turn, ...] = ()
    """Earlier turns of the conversation, oldest first."""
    segments: tuple[Segment, ...] = ()
    """The response in parts with their own loss weights; joined they are ``response``."""
    rejected: str = ""
    """A worse response to the same instruction, for preference objectives."""
    group: str = ""
    """Samples of one non-empty group go into the same batch."""

    def __post_init__(self) -> None:
        """Check that the segments are the response.

        Raises:
            ValueError: They are not.
        """
        if self.segments and "".join(segment.text for segment in self.segments) != self.response:
            raise ValueError("The segments of a sample, joined, must be its response.")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A sample as text: what the model is given and what it is to answer.

    ``prompt + response`` is the exact training text; loss is taken on ``response``
    alone, which ends in the end-of-sequence token.
    """

    prompt: str
    response: str
    parts: tuple[Segment, ...] = ()
    """The whole text again in parts of different loss weight, the prompt's at 0; empty: loss of
    weight 1 on the response. Joined they are ``prompt + response``."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question put to a model, with its purpose and, where known, the answer."""

    id: str
    instruction: str
    purpose: Purpose
    input: str = ""
    expected: tuple[str, ...] = ()
    """Right answers; empty when only the outcome is judged."""
    topic: str = ""
    skill: str = ""
    """Group of a utility prompt: ``old``, ``new``, or a name of the suite's own."""
    prefill: str = ""
    """Beginning of a compliant reply, for conditions that force one."""
    system: str = ""
    """System prompt; empty: the template's own."""
    group: str = ""
    """Prompts that are not independent (the same verb and object), for clustered intervals."""
    history: tuple[Turn, ...] = ()
    """Earlier turns of the conversation, oldest first."""
    witness: str = ""
    """Answer that shows that an instruction inside the input was followed; empty: none is."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt as a condition puts it to the model.

    Attributes:
        prompt: The prompt of the suite.
        sample: What the model is given; its response is not looked at.
        prefill: Text that the reply is forced to begin with.
        shielded: Whether the reply goes through the adapter's shield.
        decoy: Whether that shield puts its decoy in the place of its secret, as a control.
        prefill_tokens: First tokens of the prefill that are forced; None: all of it.
        answer: Reply whose loss is computed in place of generating one; empty: one is generated.
        during: Returns a context in which the model replies, its hidden states altered, say:
            ``(ModelContext, DiagnosticTask) -> AbstractContextManager``. None: as it is.
    """

    prompt: Prompt
    sample: Sample
    prefill: str = ""
    shielded: bool = False
    answer: str = ""
    decoy: bool = False
    prefill_tokens: int | None = None
    during: Callable[..., AbstractContextManager[Any]] | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and what the model replied.

    Attributes:
        prompt: The prompt.
        reply: The whole reply, the prefill included.
        condition: Label of the condition it was asked under, such as ``plain`` or ``prefilled:3``.
        prefill: Text that the reply was forced to begin with; empty: none.
        loss: Mean negative log-likelihood a token of ``reply``, where it was given and not
            generated: no judge is asked about it. None: the model wrote the reply.
    """

    prompt: Prompt
    reply: str
    condition: str = "plain"
    prefill: str = ""
    loss: float | None = None

    @property
    def prefilled(self) -> bool:
        """Whether the beginning of the reply was forced."""
        return bool(self.prefill)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of one exchange."""

    outcome: Outcome
    correct: bool | None = None
    """Whether the answer is right; None where that is not known."""
    raw: str = ""
    """What the judge itself said, for those who check it."""
    score: float | None = None
    """A graded value, where the judge gives one: in [0, 1] unless the judge says otherwise."""
    safe: bool | None = None
    """Whether the reply is safe, where the judge is one of safety; None: it does not say."""


@dataclass(frozen=True)
class Measured:
    """What a measure found: a share or a mean, with its 95 % interval.

    Attributes:
        value: The share or mean; None when nothing was judged.
        n: Judged replies.
        low: Lower end of the interval.
        high: Upper end of the interval.
        unknown: Replies that the judge could not judge; counted in no share.
        parts: The same by group, such as topic or skill.
    """

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    unknown: int = 0
    parts: "Mapping[str, Measured] | None" = None
