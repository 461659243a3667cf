"""Device and quantization (bitsandbytes) of the frozen base model.

nf4 is the QLoRA setting (Dettmers et al., NeurIPS 2023): 4 bit normal floats, double
quantization. int8 is LLM.int8() (Dettmers et al., NeurIPS 2022). Both are
bitsandbytes'.
"""

from typing import Any

from fedsafe.errors import MissingDependencyError, ModelError
from fedsafe.experiment.schema import Model
from fedsafe.lazy import torch


def device_of(spec: Model) -> "torch.device":
    """Return the device a model goes to.

    Raises:
        ModelError: CUDA is asked for and not there.
    """
    name = spec.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(
            f"model.device '{name}' is not a device. Use auto, cpu or cuda:N."
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"model.device is '{name}', but torch sees no CUDA device. Use cpu or auto."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"model.device is '{name}', but torch sees {torch.cuda.device_count()} CUDA devices, "
            "numbered from 0. Use one of them, or auto."
        )
    return device


def check_optimizer(name: str, device: "torch.device") -> None:
    """See that an optimizer exists for a device.

    Raises:
        MissingDependencyError: bitsandbytes is not installed.
        ModelError: It has no such optimizer for this device.
    """
    if name == "adamw":
        return
    try:
        import bitsandbytes  # noqa: F401 - registers its kernels
    except ImportError:
        raise MissingDependencyError(
            f"training.optimizer {name} needs bitsandbytes. pip install bitsandbytes"
        ) from None
    if name.startswith("paged") and device.type != "cuda":
        raise ModelError(
            f"training.optimizer {name} pages memory between GPU and host, and the model is on "
            f"{device}. Use adamw, or a CUDA device."
        )
    if not _has_kernel("bitsandbytes::optimizer_update_8bit_blockwise", device):
        raise ModelError(
            f"training.optimizer {name}: the installed bitsandbytes has no 8-bit optimizer for "
            f"{device}. Use adamw, a newer bitsandbytes, or a CUDA device."
        )


def _has_kernel(operator: str, device: "torch.device") -> bool:
    keys = {"cpu": "CPU", "cuda": "CUDA", "xpu": "XPU"}
    key = keys.get(device.type, "CompositeImplicitAutograd")
    has: bool = torch._C._dispatch_has_kernel_for_dispatch_key(operator, key)
    return has


def quantization_config(spec: Model, dtype: "torch.dtype") -> Any | None:
    """Return the transformers configuration of a quantization; None for plain weights."""
    if spec.quantization == "none":
        return None
    from transformers import BitsAndBytesConfig

    if spec.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_trainable(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for inference on the CPU.

    On a CPU with AVX512-BF16 it does so in place when the model first answers; through
    repacked weights no gradient flows, so the model would no longer train, and nothing
    would say so.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
