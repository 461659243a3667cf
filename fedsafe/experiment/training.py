"""A client's local training: the section ``training`` of an experiment."""

from typing import Annotated, Literal

from pydantic import Field

from fedsafe.experiment.section import PluginChoice, Section


class Training(Section):
    """A client's local fine-tuning."""

    algorithm: PluginChoice = PluginChoice(name="supervised")
    """Local algorithm of honest clients; an operator consents to one named by its path."""
    steps: Annotated[int, Field(ge=1, le=10**7)] = 10
    """Optimizer steps a round."""
    batch_size: Annotated[int, Field(ge=1, le=10**6)] = 16
    """Examples a batch; those of very unlike length go through the model in several passes."""
    accumulation: Annotated[int, Field(ge=1, le=10**6)] = 1
    """Batches an optimizer step."""
    group_by_length: bool = False
    """Share a round's examples out to batches by length: less padding, in other company."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-5
    """Of the first round."""
    final_learning_rate: Annotated[float, Field(ge=0, le=10)] = 1e-6
    """Where the cosine over rounds ends, one round after the last; constant in a round."""
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Of the optimizer, decoupled from the gradient."""
    clip: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    """Largest gradient norm."""
    optimizer: Literal["adamw", "adamw-8bit", "paged-adamw-8bit"] = "adamw"
    """The 8-bit ones are bitsandbytes'; the paged one needs CUDA."""
    checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    cache_frozen: Literal["auto", "off"] | Annotated[int, Field(ge=1, le=10**9)] = "auto"
    """Keep what the layers below the adapter make of each example: off, at most so many MiB, or
    auto (an eighth of the free memory, at most 2 GiB). Equal up to rounding."""
