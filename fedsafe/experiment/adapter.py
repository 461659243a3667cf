"""The sections of an experiment that say what adapter is trained, and what it begins with."""

from typing import Annotated, Any, Literal

from pydantic import Field

from fedsafe.experiment.section import PluginChoice, Positive, Section


class Adapter(Section):
    """The LoRA adapter that is trained and sent."""

    rank: Annotated[int, Field(ge=1, le=65_536)] = 8
    """Rank of the product of the two factors."""
    alpha: Annotated[float, Field(gt=0, le=1e6)] = 16
    """Scale; the product of the two factors is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs that training zeroes."""
    targets: Literal["auto", "all-linear"] | tuple[str, ...] = "all-linear"
    """Module names; all-linear is every linear layer but the head, auto is PEFT's choice."""
    peft: dict[str, Any] = Field(default_factory=dict)
    """Further settings of PEFT's LoraConfig, such as use_rslora, use_dora, rank_pattern,
    modules_to_save, bias or init_lora_weights (pissa, olora)."""
    ranks: tuple[Positive, ...] = ()
    """Ranks of the clients' own adapters, client k the k-th, over and over; none: all ``rank``.
    Lower ones are padded with zeros, which rules but lora-product average as such."""
    cut: Literal["rows", "svd"] = "rows"
    """How a lower rank is made of ``rank``: its first components, or the best approximation of
    the product, which suits rule lora-product."""
    start: str | None = None
    """Directory of a PEFT adapter of the same base model to begin with; None: a fresh adapter."""
    start_mode: Literal["keep", "merge"] = "keep"
    """keep: the federation goes on training ``start``, which has this rank, alpha and targets;
    merge: ``start``, of any rank, becomes part of the base weights under a fresh adapter. On
    separate machines each client then needs it: ``fedsafe client --start-adapter``."""

    @property
    def kept_start(self) -> str | None:
        """Directory of the adapter that the federation goes on training, if there is one."""
        return self.start if self.start_mode == "keep" else None

    @property
    def merged_start(self) -> str | None:
        """Directory of the adapter that becomes part of the base weights, if there is one."""
        return self.start if self.start_mode == "merge" else None

    def for_session(self) -> "Adapter":
        """Return what loading a model depends on: no ranks of clients, no start that is kept."""
        return self.model_copy(update={"ranks": (), "start": self.merged_start})


class Alignment(Section):
    """The server's own fine-tuning before the federation: the base aligned to a policy."""

    source: PluginChoice
    """Aligned examples: refusals, look-alikes that are answered, and ordinary help."""
    examples: Positive | None = None
    """At most this many, drawn from the seed; None: all there are."""
    steps: Annotated[int, Field(ge=1, le=10**7)] = 60
    """Optimizer steps."""
    batch_size: Annotated[int, Field(ge=1, le=10**6)] = 8
    """Examples a step."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-3
    """Constant over the steps."""
    objective: PluginChoice = PluginChoice(name="supervised")
    """Loss; what else training needs is as in ``training``."""
