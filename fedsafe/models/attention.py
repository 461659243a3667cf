"""Which attention kernel a model runs with: what is installed, and what the device can do.

Knows nothing of loading. Dao, *FlashAttention-2*, ICLR 2024, needs the package
flash-attn, a GPU of compute capability 8.0 and a half-precision compute type.
"""

from dataclasses import dataclass
from typing import Any

from fedsafe.errors import MissingDependencyError, ModelError
from fedsafe.lazy import torch

FLASH = "flash_attention_2"
CAPABILITY = (8, 0)
"""Of the oldest GPUs that it runs on."""
WIDEST = 256
"""Width of an attention head that it can still work on."""


@dataclass(frozen=True)
class Ground:
    """What the choice of a kernel depends on."""

    device: str
    """Its type: cpu, cuda."""
    half: bool
    """Whether the compute type is float16 or bfloat16."""
    capability: tuple[int, int] | None = None
    """Of the GPU; None where there is none."""
    model: str = "this model"
    """Class of the model."""
    head: int = 64
    """Width of one attention head."""
    model_has_flash: bool = True
    model_has_sdpa: bool = True
    package: str = ""
    """Why flash-attn cannot be used; empty when it can."""


def survey(config: Any, device: "torch.device", dtype: "torch.dtype") -> Ground:
    """Look at a model's class, the device and the installed packages."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    kind = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)] if known else None
    cuda = device.type == "cuda"
    return Ground(
        device=device.type,
        half=dtype in (torch.float16, torch.bfloat16),
        capability=torch.cuda.get_device_capability(device) if cuda else None,
        model=getattr(kind, "__name__", "this model"),
        head=_head(config.get_text_config(decoder=True)),
        model_has_flash=bool(getattr(kind, "_supports_flash_attn", False)),
        model_has_sdpa=bool(getattr(kind, "_supports_sdpa", False)),
        package=_package() if cuda else "",
    )


def attention_of(wanted: str, ground: Ground) -> str:
    """Return the kernel to load a model with: flash attention, else sdpa, else eager.

    Raises:
        MissingDependencyError: Flash attention is asked for and not installed.
        ModelError: The kernel that is asked for cannot run here.
    """
    obstacle = _obstacle(ground)
    if wanted == FLASH and obstacle is None and ground.package:
        raise MissingDependencyError(
            f"model.attention is {FLASH}, but {ground.package}. Install it, or use auto."
        )
    if wanted == FLASH and obstacle is not None:
        raise ModelError(f"model.attention is {FLASH}, but {obstacle}. Use auto.")
    if wanted == "sdpa" and not ground.model_has_sdpa:
        raise ModelError(f"model.attention is sdpa, which {ground.model} does not have. Use auto.")
    if wanted != "auto":
        return wanted
    if obstacle is None and not ground.package:
        return FLASH
    return "sdpa" if ground.model_has_sdpa else "eager"


def _obstacle(ground: Ground) -> str | None:
    """Return what keeps flash attention from running even if its package is there."""
    if ground.device != "cuda":
        return f"that needs CUDA, and the model goes to {ground.device}"
    if not ground.half:
        return "that computes in half precision, and model.dtype is float32"
    if ground.capability is not None and ground.capability < CAPABILITY:
        version = ".".join(map(str, ground.capability))
        return f"that needs a GPU of compute capability 8.0, and this one has {version}"
    if ground.head > WIDEST:
        return f"that takes heads of at most {WIDEST}, and this model's are {ground.head} wide"
    if not ground.model_has_flash:
        return f"{ground.model} does not have it"
    return None


def _head(text: Any) -> int:
    own = getattr(text, "head_dim", None)
    hidden, heads = getattr(text, "hidden_size", 0), getattr(text, "num_attention_heads", 1)
    return int(own or hidden // heads)


def _package() -> str:
    """Return why flash-attn cannot be used; a build for another torch fails on import only."""
    from transformers.utils import is_flash_attn_2_available

    if not is_flash_attn_2_available():
        return "the package flash-attn, 2.3.3 or newer, is not installed"
    try:
        __import__("flash_attn")
    except Exception as error:  # noqa: BLE001 - whatever a broken binary brings about
        return f"flash-attn cannot be imported ({' '.join(str(error).split())[:120]})"
    return ""
