"""Checks of an experiment's model, its hardware, and what training begins with."""

from collections.abc import Iterator

from fedsafe.experiment.schema import Experiment
from fedsafe.validation_errors import Problem


def alignment_problems(experiment: Experiment) -> Iterator[Problem]:
    """Check where the server's own aligned data come from."""
    chosen = experiment.alignment
    if chosen is not None and chosen.source.name == "client":
        yield (
            "alignment.source",
            "'client' is data that lies with the clients, and the server aligns with its own. Name "
            "a source that it can read, such as {name: jsonl, path: aligned.jsonl}.",
        )


def hardware_problems(experiment: Experiment) -> Iterator[Problem]:
    """Check what no machine can do; what this one cannot is said when the model is loaded."""
    model, optimizer = experiment.model, experiment.training.optimizer
    if experiment.adapter.merged_start and model.quantization != "none":
        yield (
            "adapter.start_mode",
            f"merge writes into the base weights, and model.quantization {model.quantization} "
            "would round them once more. Use keep, or model.quantization: none.",
        )
    if optimizer.startswith("paged") and model.device == "cpu":
        yield (
            "training.optimizer",
            f"'{optimizer}' pages memory between GPU and host; model.device is cpu. Use adamw.",
        )
    if model.attention != "flash_attention_2":
        return
    if model.device == "cpu":
        yield (
            "model.attention",
            "flash_attention_2 needs CUDA; model.device is cpu. Use auto.",
        )
    if model.dtype == "float32":
        yield (
            "model.attention",
            "flash_attention_2 computes in half precision; model.dtype is float32. Use bfloat16, "
            "or attention auto.",
        )
