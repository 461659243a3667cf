"""Load any Hugging Face causal language model, quantized or not, with its adapter."""

import logging
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsafe.errors import MissingDependencyError, ModelError
from fedsafe.experiment.schema import Adapter, Model
from fedsafe.lazy import torch
from fedsafe.models import adapters
from fedsafe.models.files import fingerprint, locate
from fedsafe.models.quantization import device_of, dtype_of, quantization_config

PLAIN_HEADS = frozenset({"llama", "mistral", "mixtral", "qwen2", "qwen3", "phi3", "olmo2"})
"""Architectures whose logits are the head's product and nothing else."""


@dataclass(frozen=True)
class LoadedModel:
    """A frozen base model with its trainable adapter, on its device."""

    model: Any
    """PEFT model; its base weights are frozen."""
    tokenizer: Any
    device: "torch.device"
    dtype: "torch.dtype"
    """Compute type."""
    directory: Path
    fingerprint: str
    """sha256 over base weights, configuration and tokenizer."""
    seconds: float
    """Time it took to load."""

    @property
    def plain_head(self) -> bool:
        """Whether logits may be taken at chosen positions only."""
        return self.model.config.model_type in PLAIN_HEADS


def load(spec: Model, adapter: Adapter, *, checkpointing: bool = False) -> LoadedModel:
    """Load base model and tokenizer and attach a LoRA adapter.

    Raises:
        ModelError: It cannot be found, read, or does not fit the device.
        MissingDependencyError: A chosen kernel's package is not installed.
    """
    begun = time.perf_counter()
    if spec.threads:
        torch.set_num_threads(spec.threads)
    device = device_of(spec)
    dtype = dtype_of(spec, device)
    directory = locate(spec)
    tokenizer = _tokenizer(directory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of each other is not the user's
        base = _base(spec, directory, device, dtype)
        base.requires_grad_(False)
        if checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
            base.enable_input_require_grads()
        model = adapters.attach(base, adapter)
    model.eval()
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
        directory=directory,
        fingerprint=fingerprint(directory),
        seconds=time.perf_counter() - begun,
    )


def _tokenizer(directory: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - whatever a broken file brings about
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"The tokenizer in {directory} cannot be loaded: {reason}") from None


def _base(spec: Model, directory: Path, device: "torch.device", dtype: "torch.dtype") -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as progress

    progress.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "trust_remote_code": False}
    if spec.attention != "auto":
        options["attn_implementation"] = spec.attention
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
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"The model in {directory} cannot be loaded: {reason}") from None
