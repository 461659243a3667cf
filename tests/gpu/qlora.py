"""QLoRA in a federation on one device: FedSafe beside the reference system's way, measured.

``python -m tests.gpu.qlora --size 7b --out results``             on a CUDA device
``python -m tests.gpu.qlora --size 7b --runtime deployment``      a trainer for each client
``python -m tests.gpu.qlora --size 7b --runtime shared``          one trainer for all clients
``python -m tests.gpu.qlora --size tiny --device cpu``            a minute: does it run at all

Needs what ``make setup TORCH=torch`` installs, nothing from the network, and about the
model's size on disk in ``--home``. A random Llama is written there in bfloat16, with a
tokenizer and instructions of 64 to 512 tokens; then each way of training it runs in
processes of its own, one after the other: the same base, adapter, examples, steps and
batch size; each client trains on all its examples in each round. In the table:

tokens/s     tokens without padding over the seconds of the rounds from the second on,
             aggregation and transport included, loading left out
padded       the same with padding: what the device was given to do
peak         most memory that tensors took (``torch.cuda.max_memory_allocated``), in the
             process that took most
said         what FedSafe's estimate said that one process needs, before it loaded
all          most memory in use on the GPU above what was before (``nvidia-smi``, all
             processes); on a CPU the processes' own (PSS)

``exact`` is FedSafe with the reference's batches; ``grouped`` shares the same examples of
a round out to batches by length (``training.group_by_length``), which is also what the
ratio in the last line is taken from. `tests.gpu.reference` says what the baseline does.
"""

import argparse
import json
import os
import platform
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.gpu import rules, watch
from tests.gpu.setting import SIZES, Setting

PARTS = ("reference", "exact", "grouped", "rules")
write = sys.stdout.write


def main() -> None:
    chosen = arguments()
    device = chosen.device or default_device()
    with TemporaryDirectory() as scratch:
        setting = Setting(
            home=str(chosen.home or Path(scratch) / chosen.size),
            size=chosen.size, device=device, clients=chosen.clients, rounds=chosen.rounds,
            steps=chosen.steps, batch_size=chosen.batch_size, longest=chosen.longest,
            checkpointing=not chosen.no_checkpointing, runtime=chosen.runtime,
            quantization=chosen.quantization,
            reference_quantization=chosen.reference_quantization,
        )  # fmt: skip
        watch.run(
            module("world", setting.write(Path(scratch) / "setting.json")), environment(device)
        )
        found = {part: train(part, setting, Path(scratch))
                 for part in PARTS if part in chosen.parts and part != "rules"}  # fmt: skip
    result: dict[str, Any] = {"machine": machine(device), "setting": vars(chosen) | {
        "home": None, "out": None, "device": device}, "ways": found}  # fmt: skip
    show(found, result["machine"], chosen)
    if "rules" in chosen.parts:
        d = chosen.coordinates or (80_000_000 if device != "cpu" else 200_000)
        result["rules"] = rules.measure(device, d)
        rules.show(result["rules"], result["machine"]["device"])
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        name = f"qlora-{chosen.size}-{device.partition(':')[0]}-{chosen.runtime}.json"
        (chosen.out / name).write_text(json.dumps(result, indent=1))
        write(f"\nwritten to {chosen.out / name}\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--size", choices=tuple(SIZES), default="tiny")
    add("--clients", type=int, default=3)
    add("--rounds", type=int, default=3)
    add("--steps", type=int, help="of a client in a round; 10, or 3 of the tiny size")
    add("--batch-size", type=int, help="16, or 8 of the tiny size")
    add("--longest", type=int, default=512, help="tokens of the longest example")
    add("--device", choices=("cuda", "cpu"))
    add("--runtime", choices=("inline", "deployment", "shared"), default="inline",
        help="of FedSafe; shared: a deployment whose clients share one trainer")  # fmt: skip
    add("--quantization", choices=("nf4", "int8", "none"), default="nf4", help="of FedSafe")
    add("--reference-quantization", choices=("int8", "none"), default="int8")
    add("--no-checkpointing", action="store_true", help="FedSafe keeps all activations")
    add("--parts", nargs="+", choices=PARTS, default=PARTS)
    add("--coordinates", type=int, help="of the rules' updates; 80 million on CUDA")
    add("--home", type=Path, help="keep model and data here, for another run")
    add("--out", type=Path, help="directory for the results as JSON")
    chosen = parser.parse_args()
    tiny = chosen.size == "tiny"
    chosen.steps = chosen.steps or (3 if tiny else 10)
    chosen.batch_size = chosen.batch_size or (8 if tiny else 16)
    return chosen


def default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def machine(device: str) -> dict[str, Any]:
    import torch
    import transformers

    name = torch.cuda.get_device_name() if device != "cpu" else f"CPU, {os.cpu_count()} cores"
    return {"device": name, "torch": torch.__version__, "transformers": transformers.__version__,
            "python": platform.python_version()}  # fmt: skip


def train(part: str, setting: Setting, scratch: Path) -> dict[str, Any]:
    """Run one way of training in processes of its own; return what was measured."""
    setting = replace(setting, group_by_length=part == "grouped")
    asked = setting.write(scratch / f"{part}.json")
    answer = scratch / f"{part}-result.json"
    way = "reference" if part == "reference" else "federated"
    used = watch.run(module(way, asked, answer), environment(setting.device))
    found: dict[str, Any] = json.loads(answer.read_text()) | used
    later = found["rounds"][1:] or found["rounds"]
    seconds = sum(one["seconds"] for one in later)
    found["seconds_per_round"] = seconds / len(later)
    found["tokens_per_second"] = sum(one["tokens"] for one in later) / seconds
    busy = sum(one.get("cpu_seconds", 0) for one in later)
    found["tokens_per_cpu_second"] = sum(one["tokens"] for one in later) / busy if busy else None
    found["padded_per_second"] = sum(one["padded"] for one in later) / seconds
    return found


def module(name: str, *files: Path) -> list[str]:
    return [sys.executable, "-m", f"tests.gpu.{name}", *map(str, files)]


def environment(device: str) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": "1"} if device == "cpu" else {}
    return {"CUDA_VISIBLE_DEVICES": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
            "FLWR_TELEMETRY_ENABLED": "0", **os.environ, **threads}  # fmt: skip


def show(found: dict[str, Any], where: dict[str, Any], chosen: argparse.Namespace) -> None:
    write(f"\n{chosen.size}, {chosen.clients} clients, {chosen.rounds} rounds, {chosen.runtime}, "
          f"on {where['device']} (torch {where['torch']})\n")  # fmt: skip
    write(f"{'':<12}{'tokens/s':>10}{'padded':>10}{'s/round':>9}{'load s':>8}{'peak MB':>9}"
          f"{'said MB':>9}{'all MB':>9}{'MB/round':>10}\n")  # fmt: skip
    for name, one in found.items():
        everything = one["gpu_bytes"] if one["gpu_bytes"] is not None else one["process_bytes"]
        write(f"{name:<12}{one['tokens_per_second']:>10.0f}{one['padded_per_second']:>10.0f}"
              f"{one['seconds_per_round']:>9.2f}{one['load_seconds']:>8.1f}"
              f"{one['peak_bytes'] / 1e6:>9.0f}{one.get('said_bytes', 0) / 1e6:>9.0f}"
              f"{everything / 1e6:>9.0f}"
              f"{one['bytes_per_round'] / 1e6:>10.2f}\n")  # fmt: skip
    figures = {
        "tokens_per_second": "tokens/s",
        "tokens_per_cpu_second": "tokens per second of processor time",
    }
    for figure, what in figures.items():
        base = found.get("reference", {}).get(figure)
        ratios = [f"{name} x {one[figure] / base:.2f}" for name, one in found.items()
                  if base and one[figure] and name != "reference"]  # fmt: skip
        if ratios and (figure == "tokens_per_second" or chosen.device == "cpu"):
            write(f"{what} over the reference's: {', '.join(ratios)}\n")


if __name__ == "__main__":
    main()
