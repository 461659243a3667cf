"""How the frozen base weights are stored, and what this machine can do.

nf4 is the QLoRA setting (Dettmers et al., NeurIPS 2023): 4 bit normal floats, double
quantization. int8 is LLM.int8() (Dettmers et al., NeurIPS 2022). Both are
bitsandbytes'.
"""

from typing import Any

from fedsafe.errors import ModelError
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
    return device


def dtype_of(spec: Model, device: "torch.device") -> "torch.dtype":
    """Return the compute type: bfloat16 on CUDA and float32 on the CPU, unless chosen."""
    if spec.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    found: torch.dtype = getattr(torch, spec.dtype)
    return found


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
