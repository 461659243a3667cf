"""One small run that several tests look at, and small real models."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = (
    "name=tiny",
    "data.source.count=256",
    "evaluation.suites={name: micro, harmful: 12, over_refusal: 12, old_skills: 12, new_skill: 12}",
    "evaluation.probe_prompts=4",
    "federation.rounds=3",
    "training.steps=3",
)
"""Changes to micro-quick that make a run of seconds."""


def fedsafe(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "fedsafe", *map(str, arguments)],
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def changes(texts: Sequence[str] = TINY) -> list[str]:
    """Return --set options."""
    return [option for text in texts for option in ("--set", text)]


def rounds_apart_from_times(path: Path) -> list[dict[str, object]]:
    """Return the records of rounds without what the clock says."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if not k.endswith("seconds")}
        if isinstance(value, list):
            return [strip(item) for item in value]
        return value

    return [strip(json.loads(line)) for line in path.read_text().splitlines()]  # type: ignore[misc]


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few seconds, made by the command line."""
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    done = fedsafe("run", "micro-quick", *changes(), "-o", directory)
    assert done.returncode == 0, done.stderr
    return directory
