"""Run a matrix on a local Ray cluster of two nodes, kill one in the middle, compare the bytes.

``python -m tests.end_to_end.ray_cluster [--port 6399] [--results]``

The second node is killed with SIGKILL, workers included, while one of its stages is at work.
Every cell must end as in an undisturbed run in one process, to the bit, and no stage that was
finished may be made twice. With ``--results`` stages go through an address in place of the matrix
directory, which only this process sees then.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import ray

from fedsafe import read_matrix, run_matrix
from fedsafe.runs.files import read_lines
from fedsafe.runs.matrix_records import LEDGER
from tests.end_to_end.conftest import ROOT

MATRIX: dict[str, Any] = {
    "name": "two-nodes",
    "experiment": "micro-quick",
    "set": {
        "data.source.count": 128,
        "data.examples_per_client": 32,
        "evaluation.suites": {
            "name": "micro", "harmful": 8, "over_refusal": 8, "old_skills": 8, "new_skill": 8,
        },
        "evaluation.probe_prompts": 2,
        "training.steps": 2,
        "attack.examples": 16,
    },
    "axes": {
        "seed": [0, 1],
        "defenses": ["none", {"name": "fine-tune", "pairs": 8, "steps": 3}],
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=6399)
    parser.add_argument("--results", action="store_true")
    chosen = parser.parse_args()
    with TemporaryDirectory(prefix="ray-") as scratch:
        home = Path(scratch)
        os.environ["FEDSAFE_CACHE"] = str(home / "cache")
        run_matrix(MATRIX, home / "alone")
        through = ["--results", f"file://{home / 'results'}"] if chosen.results else []
        file = home / "matrix.json"
        file.write_text(json.dumps(MATRIX), encoding="utf-8")
        with node(home, "--head", f"--port={chosen.port}", "--include-dashboard=false"):
            address = f"127.0.0.1:{chosen.port}"
            with node(home, f"--address={address}") as second:
                both_are_there(address)
                where = ["--ray", address, *through]
                lost = killed_in_the_middle(file, home / "cluster", where, second)
        told = compare(home / "alone", home / "cluster")
        print(json.dumps({"killed while at work": lost, **told}, indent=1))


@contextmanager
def node(home: Path, *options: str) -> Iterator[psutil.Process]:
    """Start a Ray node of one CPU, and kill it with all of its processes at the end."""
    command = [Path(sys.executable).parent / "ray", "start", "--block", "--num-cpus=1", *options]
    if "--head" in options:
        command += [f"--temp-dir={home / 'ray'}", "--object-store-memory=100000000"]
    started = subprocess.Popen(
        list(map(str, command)), cwd=home, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    process = psutil.Process(started.pid)
    try:
        yield process
    finally:
        kill(process)
        started.wait()


def both_are_there(address: str) -> None:
    """Wait until the cluster has its two nodes."""
    for _ in range(60):
        time.sleep(2)
        with suppress(ConnectionError, RuntimeError):
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            alive = sum(one["Alive"] for one in ray.nodes())
            ray.shutdown()
            if alive == 2:
                return
    raise SystemExit("The cluster did not start.")


def environment() -> dict[str, str]:
    """Return the environment of a node, whose workers find this checkout."""
    ours = {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **ours}


def kill(process: psutil.Process) -> None:
    """Kill a process and those below it, in one go."""
    if process.is_running():
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def killed_in_the_middle(
    file: Path, output: Path, where: list[str], second: psutil.Process
) -> bool:
    """Run the matrix, and kill the second node when it has a stage at work."""
    command = [sys.executable, "-W", "ignore", "-m", "fedsafe", "matrix", "run", str(file)]
    running = subprocess.Popen(
        [*command, *where, "-o", str(output)], cwd=file.parent, env=environment()
    )
    lost = False
    while running.poll() is None and not lost:
        time.sleep(0.2)
        done = len(read_lines(output / LEDGER)) if output.is_dir() else 0
        works = {one.pid for one in second.children(recursive=True)}
        locks = [*output.glob("work/*/.lock"), *output.parent.glob("cache/matrix/*/work/*/.lock")]
        holders = {int(lock.read_text() or 0) for lock in locks}
        if done >= 2 and works & holders:
            kill(second)
            lost = True
    if running.wait(timeout=300):
        raise SystemExit("The matrix failed.")
    return lost


def compare(alone: Path, cluster: Path) -> dict[str, Any]:
    """Return how far two runs of the matrix are the same."""
    one, other = read_matrix(alone), read_matrix(cluster)
    measures = [name for name in one.frame.columns if name != "seconds"]
    adapters = [path.relative_to(alone) for path in sorted(alone.glob("cells/**/*.safetensors"))]
    same = [(alone / path).read_bytes() == (cluster / path).read_bytes() for path in adapters]
    done = Counter(row["stage"] for row in read_lines(cluster / LEDGER) if row["status"] == "done")
    return {
        "adapters": len(adapters),
        "equal adapters": sum(same),
        "equal measures": one.frame[measures].equals(other.frame[measures]),
        "stages": len(done),
        "made twice": sum(count > 1 for count in done.values()),
        "workers": sorted({row["worker"] for row in read_lines(cluster / LEDGER)}),
    }


if __name__ == "__main__":
    main()
