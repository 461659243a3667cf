"""Load any Hugging Face causal language model, quantized or not, with its adapter."""

import logging
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsafe.errors import MissingDependencyError, ModelError, reason_of
from fedsafe.experiment.schema import Adapter, Model, Training
from fedsafe.lazy import torch
from fedsafe.models.attach import attach
from fedsafe.models.attention import FLASH, attention_of, survey
from fedsafe.models.compute import Compute, compute_of, rough_parameters
from fedsafe.models.device_memory import (
    FreedMemory,
    keep_few_kernels,
    one_at_a_time,
    reserve_memory,
)
from fedsafe.models.files import fingerprint, load_tokenizer, locate, name_of
from fedsafe.models.frozen_layers import FrozenLayers, limit_of
from fedsafe.models.limits import Positions, limits_of
from fedsafe.models.memory import Estimate, check_memory, estimate, workload
from fedsafe.models.model_size import read_config, shape_of
from fedsafe.models.quantization import (
    check_optimizer,
    device_of,
    keep_trainable,
    quantization_config,
)
from fedsafe.models.start_adapter import merge_start
from fedsafe.runs.files import digest

PLAIN_HEADS = frozenset({"llama", "mistral", "mixtral", "qwen2", "qwen3", "phi3", "olmo2"})
"""Architectures whose logits are the head's product and nothing else."""


@dataclass(frozen=True)
class LoadedModel:
    """A frozen base model with its trainable adapter, on its device."""

    model: Any
    """PEFT model; its base weights are frozen."""
    tokenizer: Any
    device: "torch.device"
    compute: Compute
    """Its dtype and threads, and why."""
    directory: Path
    fingerprint: str
    """sha256 over base weights, configuration and tokenizer."""
    seconds: float
    """Time it took to load."""
    rows: int | None = None
    """Rows of the input embedding; None: not known."""
    positions: Positions | None = None
    """Positions that the model has, and the setting's name; None: any number."""
    frozen: FrozenLayers | None = None
    """The layers below the adapter, and what they made of examples; None: it is not trained."""

    @property
    def dtype(self) -> "torch.dtype":
        """Compute type."""
        return self.compute.dtype

    @property
    def plain_head(self) -> bool:
        """Whether logits may be taken at chosen positions only."""
        return self.model.config.model_type in PLAIN_HEADS

    def freed_memory(self, every: int) -> FreedMemory:
        """Return what gives freed memory back at each so many ticks; none for a small model."""
        kept = self.device.type != "cpu" or self.compute.small
        return FreedMemory(0 if kept else every)

    def fitting(self, length: int) -> int:
        """Return a length in tokens, or the model's positions where it has fewer."""
        return length if self.positions is None else min(length, self.positions[0])


def load(
    spec: Model,
    adapter: Adapter,
    training: Training | None = None,
    *,
    max_length: int = 512,
    reserve: bool = False,
) -> LoadedModel:
    """Load base model and tokenizer and attach a LoRA adapter.

    Args:
        spec: Which model, and how its weights are stored.
        adapter: What to attach.
        training: How it will be trained; None: not at all.
        max_length: Tokens of the longest example.
        reserve: Refuse a training that does not fit into free memory, and on CUDA take
            the memory that it will need.

    Raises:
        ModelError: It cannot be found, read, or does not fit the device.
        MissingDependencyError: A chosen kernel's package is not installed.
    """
    begun = time.perf_counter()
    device = device_of(spec)
    if training is not None:
        check_optimizer(training.optimizer, device)
    directory = locate(spec)
    tokenizer = load_tokenizer(directory)
    config = read_config(directory)
    compute = _settled(spec, config, device)
    dtype = compute.dtype
    attention = attention_of(spec.attention, survey(config, device, dtype))
    with one_at_a_time(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of each other is not the user's
        facts = {"plain_head": config.model_type in PLAIN_HEADS, "eager": attention == "eager"}
        to_take = 0
        if training is not None and reserve:
            work = workload(spec, adapter, training, max_length, device, dtype, **facts)
            needed = check_memory(shape_of(config, adapter, directory), work, device)
            to_take = needed.counted - needed.weights
        base = _base(spec, directory, device, dtype, attention)
        base, identity, named = _begin(base, spec, adapter, fingerprint(directory, tokenizer))
        rows, positions = limits_of(base, tokenizer, directory)
        _freeze(base, checkpointing=training is not None and training.checkpointing)
        model = attach(base, adapter)
        (model.base_name, model.base_revision), model.base_fingerprint = named, identity
        reserve_memory(to_take, device)
    model.eval()
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        device=device,
        compute=compute,
        directory=directory,
        fingerprint=identity,
        seconds=time.perf_counter() - begun,
        rows=rows,
        positions=positions,
        frozen=None if training is None else FrozenLayers(model, limit_of(training.cache_frozen)),
    )


def _begin(
    base: Any, spec: Model, adapter: Adapter, identity: str
) -> tuple[Any, str, tuple[str, str | None]]:
    """Merge the start adapter, if it is to be; return model, fingerprint, name and revision."""
    name, revision = name_of(spec)
    if adapter.merged_start is None:
        return base, identity, (name, revision)
    base, merged = merge_start(base, adapter.merged_start)
    return base, digest(identity, merged), (f"{name} with {merged[:12]} merged into it", None)


def _settled(spec: Model, config: Any, device: "torch.device") -> Compute:
    """Return what the model computes in, with torch's threads set to it."""
    compute = compute_of(spec, device, rough_parameters(config))
    if compute.threads:
        torch.set_num_threads(compute.threads)
    if device.type == "cpu" and not compute.small:
        keep_few_kernels()
    return compute


def _freeze(base: Any, *, checkpointing: bool) -> None:
    """Take no gradients of the base weights, and recompute activations where that is asked."""
    base.requires_grad_(False)
    keep_trainable(base)
    if checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
        base.enable_input_require_grads()


def needed(
    spec: Model, adapter: Adapter, training: Training, max_length: int
) -> tuple[str, Estimate] | None:
    """Return the kind of device and the memory that training takes; None for no local model.

    Raises:
        ModelError: Its configuration cannot be read, or the adapter does not fit it.
    """
    directory = Path(spec.path).expanduser()
    if not (directory / "config.json").is_file():
        return None
    there = torch.cuda.is_available() if spec.device == "auto" else spec.device.startswith("cuda")
    device = torch.device("cuda" if there else "cpu")
    config = read_config(directory)
    facts = {"plain_head": config.model_type in PLAIN_HEADS, "eager": spec.attention == "eager"}
    dtype = compute_of(spec, device, rough_parameters(config)).dtype
    work = workload(spec, adapter, training, max_length, device, dtype, **facts)
    return device.type, estimate(shape_of(config, adapter, directory), work)


def _base(
    spec: Model,
    directory: Path,
    device: "torch.device",
    dtype: "torch.dtype",
    attention: str,
) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as progress

    progress.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
    if spec.attention != "auto" or attention == FLASH:
        options["attn_implementation"] = attention  # else transformers' sdpa, or its eager
    if (quantization := quantization_config(spec, dtype)) is not None:
        options["quantization_config"] = quantization
    options["device_map"] = {"": str(device)}
    try:
        return AutoModelForCausalLM.from_pretrained(directory, **options)
    except ImportError as error:
        raise MissingDependencyError(
            f"Loading {directory} needs a package that is not installed: "
            f"{' '.join(str(error).split())[:200]}"
        ) from None
    except torch.OutOfMemoryError:
        raise ModelError(
            f"The model in {directory} does not fit on {device}. Use model.quantization nf4, or a "
            "larger device."
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever a broken file brings about
        reason = reason_of(error)
        raise ModelError(f"The model in {directory} cannot be loaded: {reason}") from None
