"""What a model computes in: the dtype and the CPU threads that suit the processor and its size.

Decided by the processor's flags and the model's size, never by timing: the same machine always
decides the same, since both are part of what makes bits repeat.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsafe.experiment.schema import Model
from fedsafe.lazy import torch
from fedsafe.models.cgroups import cpu_limit

SMALL = 20_000_000
"""Parameters below which a model is kept on one thread and in float32."""
CPUINFO = Path("/proc/cpuinfo")
TOPOLOGY = Path("/sys/devices/system/cpu")
UNITS = {
    "bfloat16": frozenset({"amx_bf16", "avx512_bf16", "bf16"}),
    "float16": frozenset({"amx_fp16", "avx512_fp16", "asimdhp"}),
}
"""Flags of x86 and ARM processors that multiply in a type; without one it is emulated."""
MOST = 16
"""Most threads that auto gives to a model of less than a billion parameters."""


@dataclass(frozen=True)
class Compute:
    """What a model computes in, and why."""

    dtype: "torch.dtype"
    threads: int
    """CPU threads of torch; 0: its own choice."""
    device: str
    """Its type: cpu, cuda."""
    why: str
    small: bool = False
    """Whether the model has less than `SMALL` parameters."""

    @property
    def name(self) -> str:
        """The dtype by its short name."""
        return str(self.dtype).removeprefix("torch.")

    def __str__(self) -> str:
        """Return it as a sentence."""
        if self.device != "cpu":
            return f"Computes in {self.name} on {self.device}{self.why}."
        threads = "torch's own choice of" if self.threads == 0 else str(self.threads)
        plural = "" if self.threads == 1 else "s"
        return f"Computes in {self.name} on {threads} CPU thread{plural}{self.why}."


def compute_of(spec: Model, device: "torch.device", parameters: int) -> Compute:
    """Return what a model of a size computes in on a device.

    Args:
        spec: Its settings; ``dtype`` and ``threads`` may be auto.
        device: Where it goes.
        parameters: How many it has, roughly.
    """
    small = parameters < SMALL
    alone = small or device.type != "cpu"
    threads = (1 if alone else cores(parameters)) if spec.threads == "auto" else spec.threads
    if device.type != "cpu":
        dtype = torch.bfloat16 if spec.dtype == "auto" else getattr(torch, spec.dtype)
        return Compute(dtype, threads, device.type, "", small)
    if spec.dtype == "auto":
        found = units("bfloat16")
        if found and not small:
            return Compute(torch.bfloat16, threads, "cpu", f" (the processor has {found})")
        why = "" if small else " (the processor has no bfloat16 unit, which would be emulated)"
        return Compute(torch.float32, threads, "cpu", why, small)
    why = ""
    if spec.dtype in UNITS and not units(spec.dtype):
        why = (
            f". This processor emulates {spec.dtype}, several times slower than float32: set "
            "model.dtype auto"
        )
    return Compute(getattr(torch, spec.dtype), threads, "cpu", why, small)


def rough_parameters(config: Any) -> int:
    """Return about how many parameters a model has, from its configuration alone."""
    text = config.get_text_config(decoder=True)
    hidden = _number(text, "hidden_size", 1)
    layers = _number(text, "num_hidden_layers", 1)
    inner = _number(text, "intermediate_size", 4 * hidden)
    experts = _number(text, "num_local_experts", _number(text, "num_experts", 1))
    layer = 4 * hidden**2 + 3 * hidden * inner * experts
    return layers * layer + _number(text, "vocab_size", 1) * hidden


def units(dtype: str, cpuinfo: Path = CPUINFO) -> str:
    """Return the processor's flag for multiplying in a dtype; empty where it has none."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    line = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return min(UNITS[dtype] & set(line.partition(":")[2].split()), default="")


def cores(parameters: int) -> int:
    """Return the cores that a model of a size is worth, of those that this process may use.

    Hardware threads of one core count once; a container's share of processor time counts.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    found = len({_core(number) for number in allowed}) or os.cpu_count() or 1
    limit = cpu_limit()
    if limit is not None:
        found = min(found, max(1, int(limit)))
    return found if parameters >= 10**9 else min(found, MOST)


def _core(number: int) -> str:
    try:
        path = TOPOLOGY / f"cpu{number}" / "topology" / "thread_siblings_list"
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return str(number)


def _number(text: Any, name: str, default: int) -> int:
    found = getattr(text, name, None)
    return found if isinstance(found, int) and found > 0 else default
