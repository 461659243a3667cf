"""Processor time until ``fedsafe --help`` has answered, beside an empty Python and ``flwr --help``.

    python -m tests.benchmarks.startup

The least of five processes each, one after the other in one run.
"""

import resource
import subprocess
import sys
from collections.abc import Sequence

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "fedsafe --help": ("-m", "fedsafe", "--help"),
    "flwr --help": ("-m", "flwr.cli.app", "--help"),
}


def seconds(command: Sequence[str]) -> float:
    """Return the processor seconds of one process."""
    before = _of_children()
    subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
    return _of_children() - before


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print each command's time, and what it is of the empty process's."""
    took = {name: min(seconds(command) for _ in range(5)) for name, command in COMMANDS.items()}
    empty = next(iter(took.values()))
    for name, spent in took.items():
        print(f"{name:<16} {spent:6.2f} cpu s  {spent / empty:5.1f} times an empty process")


if __name__ == "__main__":
    main()
