"""Kill a matrix with SIGKILL at random moments, go on with it, compare the bytes.

``python -m tests.end_to_end.matrix_kill [--kills 2] [--workers 2] [--seed 0]``

The same command is started again after each kill. No stage that was finished may be made again,
and every cell must end as in an undisturbed run, to the bit.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from fedsafe import run_matrix
from fedsafe.runs.files import read_lines
from fedsafe.runs.matrix_records import LEDGER
from tests.end_to_end.ray_cluster import MATRIX, compare, environment

SMALL = {**MATRIX, "axes": {"defenses": MATRIX["axes"]["defenses"]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        file = home / "matrix.json"
        file.write_text(json.dumps(SMALL), encoding="utf-8")
        killed = [attempt(file, home, chosen.workers, rng) for _ in range(chosen.kills)]
        attempt(file, home, chosen.workers, None)
        run_matrix(SMALL, home / "alone")
        told = compare(home / "alone", home / "killed")
        print(json.dumps({"stages done at each kill": killed, **told}, indent=1))


def attempt(file: Path, home: Path, workers: int, rng: random.Random | None) -> int:
    """Run the matrix; with draws, kill it a moment after another stage is done."""
    output = home / "killed"
    command = [sys.executable, "-W", "ignore", "-m", "fedsafe", "matrix", "run", str(file)]
    running = subprocess.Popen(
        [*command, "--workers", str(workers), "-o", str(output)], cwd=home, env=environment()
    )
    before = ended(output)
    while rng is not None and running.poll() is None:
        time.sleep(0.1)
        if ended(output) > before:
            time.sleep(rng.uniform(0.0, 4.0))
            running.kill()
            running.wait()
    if running.wait() and rng is None:
        raise SystemExit("The matrix failed.")
    return ended(output)


def ended(output: Path) -> int:
    """Return how many stages and cells have ended."""
    return len(read_lines(output / LEDGER)) if output.is_dir() else 0


if __name__ == "__main__":
    main()
