"""One experiment: every choice of a run, frozen, with its help under each field.

Knows nothing of how anything is done; checks across sections are in `checks`.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fedsafe.experiment.adapter import Adapter, Alignment
from fedsafe.experiment.attack import Attack, SecondAttack
from fedsafe.experiment.early_stopping import EarlyStopping
from fedsafe.experiment.pipelines import Pipelines
from fedsafe.experiment.safety_probe import SafetyProbe
from fedsafe.experiment.section import (
    Choices,
    Conditions,
    Count,
    PluginChoice,
    Positive,
    Seconds,
    Section,
)
from fedsafe.experiment.strategy import Strategy
from fedsafe.experiment.training import Training

__all__ = [
    "Adapter",
    "Alignment",
    "Attack",
    "Data",
    "Evaluation",
    "Experiment",
    "Federation",
    "Model",
    "PluginChoice",
    "SafetyProbe",
    "SecondAttack",
    "Section",
    "Strategy",
    "Training",
]


class Model(Section):
    """The base language model, frozen and shared by all."""

    path: str = "micro"
    """``micro`` (embedded; ``micro-deep`` also refuses in the middle of an answer; ``micro:1`` and
    ``micro-deep:1`` are of another seed), a local Hugging Face directory, or a hub name."""
    revision: str | None = None
    """Commit or tag of a hub model."""
    quantization: Literal["none", "int8", "nf4"] = "none"
    """nf4: 4 bit with double quantization; int8: LLM.int8(). Both through bitsandbytes."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Compute type; auto is bfloat16 on CUDA, and on a CPU that computes in it (AMX), for models
    that are not small; else float32."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """Attention kernel; auto is flash_attention_2 where it is installed and runs, else sdpa,
    else eager."""
    threads: Literal["auto"] | Annotated[int, Field(ge=0, le=4096)] = "auto"
    """CPU threads of torch; auto is 1 for small models and all cores for others, 0 leaves
    torch's own choice. Part of what makes bits repeat."""


class Data(Section):
    """The benign examples, how they become text, and who gets which."""

    source: PluginChoice = PluginChoice(name="micro")
    """Where examples come from."""
    template: PluginChoice = PluginChoice(name="chat")
    """How an example becomes text."""
    partition: PluginChoice = PluginChoice(name="iid")
    """Which client gets which examples."""
    examples_per_client: Positive | None = None
    """At most this many for each client; None: all there are."""
    max_length: Annotated[int, Field(ge=8, le=10**7)] = 512
    """Tokens of prompt and response; longer responses are cut, and counted."""


class Federation(Section):
    """Who takes part, how often, and how their updates are combined."""

    clients: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Clients in all."""
    sampled: Positive | None = None
    """Clients a round; None: all of them."""
    rounds: Annotated[int, Field(ge=1, le=10**6)] = 10
    """Rounds of local training and aggregation."""
    early_stopping: EarlyStopping | None = None
    """Stop after a round whose small evaluation shows an unsafe model; None: run all rounds."""
    strategy: Strategy = Strategy()
    """Aggregation rule, with its filters and the server's optimizer."""
    root: PluginChoice | None = None
    """Source of the server's own trusted examples, for rules that compare with them (FLTrust)."""
    minimum_replies: Positive | None = None
    """A round with fewer accepted replies fails the run; None: half of those sampled."""
    deadline: Seconds = 3600.0
    """Seconds to wait for a round's replies. On separate machines as long is waited for clients
    to come back while fewer than ``minimum_replies`` are online."""
    grace: Seconds | None = 300.0
    """On separate machines: seconds to wait for stragglers once ``minimum_replies`` are in; None:
    until the deadline. Two minutes at most are spent on clients that went offline."""
    retries: Annotated[int, Field(ge=0, le=1000)] = 3
    """Times a client is asked again in a round whose machine, connection or trainer died."""
    wire: Literal["float32", "bfloat16", "int8"] = "float32"
    """How adapters travel: whole, or updates in half or a quarter of the bytes, the rounding
    error of ``int8`` being made up for in the next round."""
    max_update_norm: Annotated[float, Field(gt=0, le=1e30)] = 1e4
    """A reply whose update is longer (L2) is dropped as absurd."""
    weighting: Literal["equal", "examples"] = "equal"
    """``examples`` believes the clients' counts, clamped to ten times the median."""
    keep_checkpoints: Positive = 3
    """How many of the newest round checkpoints stay on disk."""


MEASURES = (
    *("refusal", "unsafe", "worst-topic", "new-skill", "old-skill", "utility"),
    *("over-refusal", "benign-refusal", "garbage"),
)
"""Measures that an evaluation takes unless told otherwise, in the order of tables."""


class Evaluation(Section):
    """What is asked of the model, and how its replies are judged."""

    suites: Choices = (PluginChoice(name="micro"),)
    """Where the prompts come from."""
    judge: PluginChoice = PluginChoice(name="micro-exact")
    """The judge whose verdicts count. A list of judges is taken too: its first is this one, the
    others are ``second_judges``."""
    second_judges: Choices = ()
    """Judges of the same replies; how far they agree with the first is in the summary."""
    max_new_tokens: Annotated[int, Field(ge=1, le=10**6)] = 64
    """Tokens after which a reply is cut."""
    batch_size: Annotated[int, Field(ge=1, le=10**6)] = 64
    """Prompts that are answered at once."""
    conditions: Conditions = (PluginChoice(name="plain"), PluginChoice(name="prefilled"))
    """How the prompts are put: plain, prefilled, triggered, shielded, or one of your own. Of
    prefilled conditions, a list of words or tokens is one condition for each."""
    shields: Choices = ()
    """What every stage is served through, with the shield beside its adapter if it has one.
    Condition ``shielded`` asks so; it is added where it is not listed."""
    measures: Choices = tuple(PluginChoice(name=name) for name in MEASURES)
    """What is counted in the judged replies, under every condition."""
    diagnostics: Choices = ()
    """What is read off the model itself, its replies aside: ``kl``, ``probe-score`` and others."""
    overlap: Literal["remove", "keep"] = "remove"
    """What becomes of attack and defense data that repeat an evaluation prompt, word for word or
    nearly; they are counted either way."""
    held_out: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Beginnings of words, of topics held out of all defenses: their data with one is left out."""
    probe_every: Count = 1
    """Rounds between two small evaluations of the aggregated model; 0: never."""
    probe_prompts: Positive = 40
    """Prompts of each kind in such a small evaluation, plainly asked."""

    @model_validator(mode="before")
    @classmethod
    def _without_prefilled(cls, value: Any) -> Any:
        if isinstance(value, dict) and "prefilled" in value:
            now = "[plain, prefilled]" if value["prefilled"] else "[plain]"
            raise ValueError(
                "'prefilled' is now a condition among others: in place of prefilled: "
                f"{str(value['prefilled']).lower()} write conditions: {now}"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _several_judges(cls, value: Any) -> Any:
        """Take the first of a list of judges for the one that counts."""
        listed = value.get("judge") if isinstance(value, dict) else None
        if not isinstance(listed, list | tuple) or not listed:
            return value
        more = value.get("second_judges", ())
        others = tuple(more) if isinstance(more, list | tuple) else (more,)
        return {**value, "judge": listed[0], "second_judges": (*listed[1:], *others)}


class Experiment(Section):
    """Everything a run depends on; equal experiments give equal runs."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = (
        "experiment"
    )
    """Names the run directory."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Every random draw comes from it."""
    red_team: bool = False
    """Declares that this federation is attacked on purpose; needed by any attack."""
    control: bool = True
    """With an attack: also run the same federation with every client honest."""
    model: Model = Model()
    adapter: Adapter = Adapter()
    data: Data = Data()
    training: Training = Training()
    federation: Federation = Federation()
    alignment: Alignment | None = None
    """The server aligns the base model before anything else; None: it is taken as it is."""
    attack: Attack | None = None
    """None: every client is honest."""
    defenses: Pipelines = ()
    """Post-hoc defenses of the last round's model, each one or a list in the order of applying."""
    second_attack: SecondAttack | None = None
    """More rounds of the attacked federation from each defended model; None: there are none."""
    evaluation: Evaluation = Evaluation()
    safety_probe: SafetyProbe | None = None
    """Requests for diagnostics and whatever else looks inside the model; None: there are none."""

    @property
    def sampled(self) -> int:
        """Clients a round."""
        return self.federation.sampled or self.federation.clients

    @property
    def contaminated(self) -> bool:
        """Whether malicious examples are put among those of honest clients."""
        return self.attack is not None and self.attack.contamination > 0

    @property
    def minimum_replies(self) -> int:
        """Accepted replies below which a round fails."""
        return self.federation.minimum_replies or max(1, self.sampled // 2)

    def as_json(self) -> str:
        """Return the resolved experiment, as it travels in messages."""
        return self.model_dump_json()

    def honest(self) -> "Experiment":
        """Return the same experiment with no attack and no defense: the control.

        It still says whether the red team is declared: attackers on machines of their own
        take part in its control, honestly.
        """
        return self.model_copy(update={"attack": None, "defenses": (), "second_attack": None})
