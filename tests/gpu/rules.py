"""Time and extra memory of the aggregation rules on one device's tensors.

``python -m tests.gpu.rules --device cuda`` : n = 10 and 50, d = 80 million, float32, which
are 3.2 and 16 GB; d falls where the device has not twice that free.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

RULES = ("mean", "median", "trimmed-mean", "krum", "multi-krum", "dnc", "geometric-median")
COHORTS = (10, 50)


def measure(device: str, d: int) -> list[dict[str, Any]]:
    """Return a row for each cohort and rule."""
    return [row for n in COHORTS for row in cohort(device, n, fitting(device, n, d))]


def cohort(device: str, n: int, d: int) -> list[dict[str, Any]]:
    """Return a row for each rule on n updates."""
    import torch

    from strategies import aggregate

    generator = torch.Generator(device).manual_seed(0)
    matrix = torch.empty(n, d, device=device).normal_(generator=generator)
    f = min(n // 5, (n - 3) // 4)
    one_pass, _ = timed(matrix.sum, device)
    rows = []
    for name in RULES:
        given = {} if name in {"mean", "median", "geometric-median"} else {"byzantine": f}
        call = partial(aggregate, name, matrix, **given)
        call()  # compiles, warms up
        seconds, extra = timed(call, device)
        rows.append({"rule": name, "n": n, "d": d, "seconds": seconds,
                     "passes": seconds / one_pass, "extra_bytes": extra})  # fmt: skip
    return rows


def fitting(device: str, n: int, d: int) -> int:
    """Return how many coordinates fit twice into what is free."""
    import torch

    from fedsafe.models.device_memory import free_bytes

    free = free_bytes(torch.device(device))
    return d if free is None else min(d, free // (8 * n))


def timed(call: Callable[[], Any], device: str) -> tuple[float, int | None]:
    """Return the best seconds of three calls, and the bytes above those held before."""
    import torch

    cuda = device.startswith("cuda")
    seconds = []
    before = 0
    if cuda:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        begun = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return min(seconds), torch.cuda.max_memory_allocated() - before if cuda else None


def show(rows: list[dict[str, Any]], device: str) -> None:
    write = sys.stdout.write
    write(f"\nRules on {device}, float32\n")
    write(f"{'rule':<20}{'n':>4}{'d':>14}{'seconds':>10}{'passes':>8}{'extra MB':>10}\n")
    for row in rows:
        extra = "-" if row["extra_bytes"] is None else f"{row['extra_bytes'] / 1e6:.0f}"
        write(f"{row['rule']:<20}{row['n']:>4}{row['d']:>14,}{row['seconds']:>10.4f}"
              f"{row['passes']:>8.1f}{extra:>10}\n")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--coordinates", type=int, default=80_000_000)
    parser.add_argument("--out", type=Path, help="write JSON here")
    chosen = parser.parse_args()
    rows = measure(chosen.device, chosen.coordinates)
    show(rows, chosen.device)
    if chosen.out:
        chosen.out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
