"""The checks on the hosting service are the project's own, and its file follows the rules."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from fedsafe.flower.internals import SUPPORTED
from tests.architecture.compose import ROOT

HOME = ROOT / ".github" / "workflows"
WORKFLOW, WEEKLY = HOME / "ci.yml", HOME / "flower.yml"


@pytest.mark.parametrize("path", sorted(HOME.iterdir()), ids=lambda path: path.name)
def test_workflow_follows_the_services_schema(path: Path) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).parent / "check-jsonschema",
            "--builtin-schema",
            "vendor.github-workflows",
            path,
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


def _weekly() -> dict[str, Any]:
    found = yaml.safe_load(WEEKLY.read_text())
    assert isinstance(found, dict)
    return found


def test_every_week_the_same_script_runs_under_another_flower() -> None:
    (job,) = _weekly()["jobs"].values()
    (step,) = [step for step in job["steps"] if "run" in step]
    assert (step["run"], step["env"]["FLOWER"]) == ("bash .ci/run", "${{ matrix.flower }}")
    (when,) = _weekly()[True]["schedule"]  # YAML reads the key "on" as true
    assert when["cron"].split()[2:4] == ["*", "*"]
    assert when["cron"].split()[4] != "*"


def test_every_week_the_newest_flower_and_the_oldest_supported_are_tried() -> None:
    (job,) = _weekly()["jobs"].values()
    newest, oldest = (Requirement(one) for one in job["strategy"]["matrix"]["flower"])
    assert not newest.specifier
    (first,) = [one for one in SpecifierSet(SUPPORTED) if one.operator == ">="]
    assert str(oldest.specifier) == f"=={first.version}.*"


def test_flower_of_the_environment_is_what_make_installs(tmp_path: Path) -> None:
    command = ["make", "--dry-run", f"VENV={tmp_path}", "setup", "FLOWER=flwr[simulation]==9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "pip install --quiet --upgrade 'flwr[simulation]==9'" in done.stdout


def test_without_it_make_installs_what_the_project_declares(tmp_path: Path) -> None:
    command = ["make", "--dry-run", f"VENV={tmp_path}", "setup"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "flwr" not in done.stdout
