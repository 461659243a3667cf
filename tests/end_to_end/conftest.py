"""One small run that several tests look at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedsafe.experiment import Experiment, load
from fedsafe.launch import inline

ROOT = Path(__file__).parents[2]
TINY = (
    "name=tiny",
    "data.source.count=128",
    "data.examples_per_client=32",
    "attack.examples=16",
    "evaluation.suites={name: micro, harmful: 8, over_refusal: 8, old_skills: 8, new_skill: 8}",
    "evaluation.probe_prompts=2",
    "federation.rounds=3",
    "training.steps=2",
)
"""Changes to micro-quick that make a run of seconds."""
RUN = ("run", "micro-quick", *(option for text in TINY for option in ("--set", text)))
"""The same as a command line."""
OWN = """
from clients.algorithms.supervised import supervised as own_algorithm
from strategies.rules.mean import mean as own_rule
"""
"""A module of the user's with plug-ins that do what the presets' do."""
BY_PATH = ("training.algorithm=own_plugins:own_algorithm",
           "federation.strategy.name=own_plugins:own_rule")  # fmt: skip
INT8 = "federation.wire=int8"


def tiny() -> Experiment:
    """Return the experiment of the tiny run."""
    return load("micro-quick", TINY)


def fedsafe(
    *arguments: object, seconds: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, at most so many seconds."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "fedsafe", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def beside(directory: Path) -> Path:
    """Write an experiment and, beside it, the module that it names plug-ins of; return it."""
    directory.mkdir()
    (directory / "own_plugins.py").write_text(OWN, encoding="utf-8")
    file = directory / "my.yaml"
    file.write_text("preset: micro-quick\n", encoding="utf-8")
    return file


def rounds_apart_from_times(path: Path) -> list[object]:
    """Return the records of rounds without what the clock says."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if not k.endswith("seconds")}
        if isinstance(value, list):
            return [strip(item) for item in value]
        return value

    return [strip(json.loads(line)) for line in path.read_text().splitlines()]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few seconds."""
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    inline.run(tiny(), directory)
    return directory


@pytest.fixture(scope="session")
def int8_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with adapters in int8, whose clients keep rounding errors between rounds."""
    directory = tmp_path_factory.mktemp("runs") / "int8"
    inline.run(load("micro-quick", (*TINY, INT8)), directory)
    return directory
