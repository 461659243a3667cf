"""The checks on the hosting service are the project's own, and its file follows the rules."""

import subprocess
import sys
from pathlib import Path

import yaml

from tests.architecture.compose import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def test_workflow_follows_the_services_schema() -> None:
    done = subprocess.run(
        [
            Path(sys.executable).parent / "check-jsonschema",
            "--builtin-schema",
            "vendor.github-workflows",
            WORKFLOW,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflow_runs_the_same_script_as_every_other_machine() -> None:
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["checks"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run"]
