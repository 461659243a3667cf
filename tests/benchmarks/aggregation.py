"""Time and memory of the rules beside their peers, in one run.

    python -m tests.benchmarks.aggregation            # 10 x 20 million and 50 x 5 million
    python -m tests.benchmarks.aggregation --quick    # a tenth of that
    python -m tests.benchmarks.aggregation --byzfl F  # F: a folder with byzfl unpacked

Each measurement has a process of its own, forked with the updates in memory: the best of
three calls after one that warms up (peers: of one or two), and the peak of memory above
what it began with, the result included. "passes" is the time over that of summing the
matrix, measured just before in the same process; "cpu s" and "cpu passes" are the same of
processor time, which other work on the machine disturbs less. Flower's strategies get their replies
decoded from records, as in a run; building those is not counted.
"""

import argparse
import importlib
import itertools
import multiprocessing
import re
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from strategies.kernels.blockwise import cores

THREADS = cores()
SHAPES = ((10, 20_000_000), (50, 5_000_000))
Call = Callable[[], Any]
Prepare = Callable[[np.ndarray, int], tuple[Call, int]]
"""Makes (a call, how often to repeat it) of a matrix and f."""


def resident(field: str) -> float:
    """One of the kernel's memory figures of this process, in MB."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", text).group(1)) / 1024


def ours(name: str, **settings: Any) -> Prepare:
    def prepare(rows: np.ndarray, f: int) -> tuple[Call, int]:
        from fedsafe.contracts import rules
        from strategies import aggregate

        known = rules[name].schema.model_fields
        given = {"byzantine": f, **settings} if "byzantine" in known else settings
        return lambda: aggregate(name, rows, **given), 3

    return prepare


def flower(name: str, **settings: Any) -> Prepare:
    def prepare(rows: np.ndarray, f: int) -> tuple[Call, int]:
        from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
        from flwr.serverapp import strategy
        from flwr.supercore.task_identity import TaskIdentity

        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        given = {key: value(f, len(rows)) for key, value in settings.items()}
        made = getattr(strategy, name)(**given)
        tensors = np.array_split(np.arange(rows.shape[1] + 1), 100)
        bounds = [int(part[0]) for part in tensors] + [rows.shape[1]]
        pieces = list(itertools.pairwise(bounds))

        def reply(row: np.ndarray) -> Message:
            arrays = {str(a): Array(row[a:b].reshape(-1, 1)) for a, b in pieces}
            content = RecordDict({"arrays": ArrayRecord(arrays)})
            content["metrics"] = MetricRecord({"num-examples": 1})
            return Message(content, reply_to=Message(RecordDict(), 1, "train"))

        replies = [reply(row) for row in rows]
        return lambda: made.aggregate_train(1, replies), 1  # some take the arrays out

    return prepare


def byzfl_median(folder: str) -> Prepare:
    def prepare(rows: np.ndarray, f: int) -> tuple[Call, int]:
        import torch

        from strategies import aggregate

        package = types.ModuleType("byzfl")  # its own __init__ wants torchvision
        package.__path__ = [str(Path(folder) / "byzfl")]
        sys.modules["byzfl"] = package
        found = importlib.import_module("byzfl.aggregators.aggregators")
        steps = int(aggregate("geometric-median", rows).metrics["steps"]) + 1  # it starts at zero
        rule = found.GeometricMedian(nu=1e-10, T=steps)
        tensor = torch.from_numpy(rows)
        return lambda: rule(tensor), 1

    return prepare


def reference_dnc(rows: np.ndarray, f: int) -> tuple[Call, int]:
    """DnC as the reference system does it: a permutation of all d, and the full SVD."""
    import torch

    tensor = torch.from_numpy(rows)

    def call() -> Any:
        part = tensor[:, torch.randperm(tensor.shape[1])[:10_000].sort().values]
        part = part - part.mean(dim=0)
        direction = torch.linalg.svd(part).Vh[0]
        kept = (part @ direction).square().sort().indices[: len(rows) - f]
        return tensor[kept].mean(dim=0)

    return call, 1


def plan(byzfl: str | None) -> list[tuple[str, Prepare, list[tuple[str, Prepare]]]]:
    """Return rule, our way and the peers' ways."""
    krum = {"num_malicious_nodes": lambda f, n: f}
    trim = {"beta": lambda f, n: f / n + 1e-9}
    keep = {"num_nodes_to_select": lambda f, n: n - f}
    torch_median = [("byzfl", byzfl_median(byzfl))] if byzfl else []
    return [
        ("mean", ours("mean"), [("flower", flower("FedAvg"))]),
        ("median", ours("median"), [("flower", flower("FedMedian"))]),
        ("trimmed-mean", ours("trimmed-mean"), [("flower", flower("FedTrimmedAvg", **trim))]),
        ("krum", ours("krum"), [("flower", flower("Krum", **krum))]),
        ("multi-krum", ours("multi-krum"), [("flower", flower("MultiKrum", **krum, **keep))]),
        ("bulyan", ours("bulyan"), [("flower", flower("Bulyan", **krum))]),
        ("geometric-median", ours("geometric-median"), torch_median),
        ("nnm, geometric-median", ours("geometric-median", filters=["nnm"]), []),
        ("dnc", ours("dnc"), [("reference", reference_dnc)]),
        ("meamed", ours("meamed"), []),
        ("foolsgold", ours("foolsgold"), []),
        ("centered-clipping", ours("centered-clipping"), []),
        ("residual", ours("residual"), []),
        ("caf", ours("caf"), []),
        ("norm-threshold", ours("norm-threshold"), []),
        ("robust-learning-rate", ours("robust-learning-rate"), []),
    ]


def measured(prepare: Prepare, rows: np.ndarray, f: int, pipe: Any) -> None:
    """Send (seconds, processor seconds, passes, cpu passes, extra MB) of this process."""
    import torch

    torch.set_num_threads(THREADS)
    call, repeats = prepare(rows, f)
    tensor = torch.from_numpy(rows)
    one_pass, busy_pass = best(tensor.sum, 5)
    if repeats > 1:
        call()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
    seconds, busy = best(call, repeats)
    extra = resident("VmHWM") - before
    pipe.send((seconds, busy, seconds / one_pass, busy / busy_pass, extra))


def best(call: Call, repeats: int) -> tuple[float, float]:
    """Return the least seconds and the least processor seconds of some calls."""
    seconds, busy = zip(*(timed(call) for _ in range(repeats)), strict=True)
    return min(seconds), min(busy)


def timed(call: Call) -> tuple[float, float]:
    start, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - busy


def forked(prepare: Prepare, rows: np.ndarray, f: int) -> tuple[float, ...]:
    """Measure in a process of its own; numpy alone has been used before it forks."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=measured, args=(prepare, rows, f, sender))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        child.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the coordinates")
    parser.add_argument("--byzfl", help="folder with byzfl unpacked")
    parser.add_argument("--rule", action="append", help="only this rule; may be repeated")
    options = parser.parse_args()
    write = sys.stdout.write
    for n, full in SHAPES:
        d = full // 10 if options.quick else full
        f = min(n // 5, (n - 3) // 4)
        rows = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
        write(f"\nn = {n}, d = {d:,}, f = {f}, {THREADS} threads\n")
        write(f"{'rule':<24}{'seconds':>9}{'cpu s':>8}{'passes':>8}{'cpu':>6}{'extra MB':>10}")
        write("   peers\n")
        for name, prepare, peers in plan(options.byzfl):
            if options.rule and name not in options.rule:
                continue
            seconds, busy, passes, steps, extra = forked(prepare, rows, f)
            write(f"{name:<24}{seconds:>9.3f}{busy:>8.3f}{passes:>8.1f}{steps:>6.1f}")
            write(f"{extra:>10.0f}   ")
            for peer, theirs in peers:
                other, used, _, _, more = forked(theirs, rows, f)
                write(f"{peer} {other:.2f} s, cpu {used:.2f} s, {more:.0f} MB: ")
                write(f"x {other / seconds:.0f}, cpu x {used / busy:.0f}   ")
            write("\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
